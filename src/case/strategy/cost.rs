//! What a case costs: how many bytes each direction may carry so that a healthy kernel ends the case within about a
//! second, for what its links, buffers and segment sizes let through.
//!
//! These are rules of thumb for drawing, not bounds for judging: the oracles derive theirs on their own.

use std::time::Duration;

use super::draw::Draw;
use crate::case::{
    Action, Case, Direction, Endpoint, Impairments, LinkId, Loss, Protocol, SocketOption, Strip, Sysctl, TcpOption,
};
use crate::payload::Sender;

/// How long the bytes of a direction may take on a rated link, or for want of window.
const TARGET: f64 = 1.0;
/// How many packets one direction of a large case may need. A packet costs some microseconds of CPU on each hop.
const PACKETS: u64 = 8_000;
/// How many one direction of any other case may need: most bugs want a circumstance, not megabytes, and of these cases a
/// second sees several for each large one.
const USUAL_PACKETS: u64 = PACKETS / 8;
/// How many calls one chunk pattern of a large case may need.
const CALLS: u64 = 8_192;
/// And that of any other case.
const USUAL_CALLS: u64 = CALLS / 8;
/// The share of large cases.
const LARGE_SHARE: f64 = 1.0 / 8.0;
/// How many packets may be expected to be lost.
const LOSSES: f64 = 10.0;
/// How many packets may be expected to be lost where a retransmission is lost as well: each waits for a timer.
const HARD_LOSSES: f64 = 3.0;
/// A queue below this many packets drops from the first window on.
const SHORT_QUEUE: u32 = 10;
/// How much more a case with several ways may carry than its worst way alone.
const WORST_WAY: u64 = 4;
/// How many packets a direction may need through a short queue.
const SHORT_QUEUE_PACKETS: u64 = 50;

/// The most bytes that `sender` should send in `case`, but for the payloads complete.
pub(super) fn payload_limit(case: &Case, sender: Sender) -> u64 {
    let (from, to) = match sender {
        Sender::Client => (&case.client, &case.server),
        Sender::Server => (&case.server, &case.client),
    };
    let direction = match sender {
        Sender::Client => case.client_direction(),
        Sender::Server => case.client_direction().reverse(),
    };
    let segment = segment(case, from, to);
    let mut limit = segment * if is_large(case) { PACKETS } else { USUAL_PACKETS };
    limit = limit.min(window_limit(case, from, to));
    let through = |links: &[LinkId]| {
        let both = links.iter().flat_map(|id| [(*id, direction, 1.0), (*id, direction.reverse(), 0.5)]);
        both.map(|(id, way, weight)| impairment_limit(case.link(id).impairments(way), segment, weight)).min()
    };
    let ways: Vec<u64> = ways(case).iter().filter_map(|way| through(way)).collect();
    // Of several ways the best counts, but what was given to the worst has to come through as well.
    let (best, worst) = (ways.iter().max(), ways.iter().min());
    if let (Some(best), Some(worst)) = (best, worst) {
        limit = limit.min(*best).min(worst.saturating_mul(WORST_WAY));
    }
    limit
}

/// How many calls one chunk pattern of `case` may need. In a guest, a call costs more than a packet.
pub(super) fn calls_limit(case: &Case) -> u64 {
    if is_large(case) { CALLS } else { USUAL_CALLS }
}

/// Whether this is one of the large cases.
fn is_large(case: &Case) -> bool {
    Draw::new(case.seed, "large").chance(LARGE_SHARE)
}

/// The ways that packets may take from the client to the server, each with its links.
pub(super) fn ways(case: &Case) -> Vec<Vec<LinkId>> {
    let path = case.path();
    let ways = case.topology.ways();
    if ways.is_empty() {
        return vec![path];
    }
    let shared = || path.iter().copied().filter(|link| !ways.contains(link));
    ways.iter().map(|way| std::iter::once(*way).chain(shared()).collect()).collect()
}

/// The payload of a full segment, in bytes, towards `to`.
fn segment(case: &Case, from: &Endpoint, to: &Endpoint) -> u64 {
    let mtu = case.path().into_iter().map(|id| case.link(id).mtu).min().unwrap_or(u16::MAX);
    let asked = [&case.client, &case.server].into_iter().filter_map(|end| end.options.maxseg).min();
    let rules = case.links.values().flat_map(|link| [&link.forward, &link.backward]).flat_map(|way| &way.rules);
    let clamped = rules.filter_map(|rule| match rule.action {
        Action::Clamp(mss) => Some(mss),
        // Without the option, TCP takes 536 for granted (RFC 9293 section 3.7.1).
        Action::Strip(Strip { option: TcpOption::Mss, .. }) => Some(536),
        _ => None,
    });
    let asked = asked.into_iter().chain(clamped).min();
    // Headers of IPv6 and TCP with the options of timestamps and MPTCP; a TCP_MAXSEG counts without the IP header.
    let segment = u64::from(asked.unwrap_or(u16::MAX).saturating_sub(32).min(mtu.saturating_sub(92)).max(40));
    // A sender never puts more than half of the largest window it was offered into a segment.
    segment.min(buffer(case, from, to) / 2)
}

/// The smallest buffer between two endpoints, in bytes as SO_RCVBUF counts them, at least what the kernel makes of it.
fn buffer(case: &Case, from: &Endpoint, to: &Endpoint) -> u64 {
    let number = |end: &Endpoint, option: SocketOption| end.smallest(option);
    let knob = |triple: Option<[u32; 3]>| triple.map(|[_, _, most]| most / 2);
    [
        from.options.sndbuf,
        from.options.sndbuf_late,
        to.options.rcvbuf,
        to.options.rcvbuf_late,
        number(from, SocketOption::SoSndbuf),
        number(to, SocketOption::SoRcvbuf),
        number(to, SocketOption::TcpWindowClamp),
        knob(case.knobs(from.host).tcp_wmem),
        knob(case.knobs(to.host).tcp_rmem),
    ]
    .into_iter()
    .flatten()
    .min()
    .map_or(u64::MAX, |least| u64::from(least).max(1152))
}

/// What the window between two endpoints lets through.
fn window_limit(case: &Case, from: &Endpoint, to: &Endpoint) -> u64 {
    let buffer = buffer(case, from, to);
    let rounds = rounds(case);
    let mut limit = buffer.saturating_mul(rounds);
    if to.protocol == Protocol::Mptcp {
        // A small window at an MPTCP receiver moves by a timer of 200 ms: measured on Linux 6.18, about every two
        // buffers below 8 KiB, every four to ten above. On TCP nothing of the kind was seen.
        limit = limit.min(match buffer {
            0..=8_191 => buffer * 6,
            8_192..=65_535 => buffer * 16,
            _ => u64::MAX,
        });
    }
    let sysctl = case.knobs(from.host).sysctls.get(&Sysctl::TcpNotsentLowat).copied();
    if let Some(lowat) = from.options.notsent_lowat.or(sysctl).filter(|_| from.protocol == Protocol::Mptcp) {
        // An MPTCP sender takes no more than this at once, and waits for it to leave.
        limit = limit.min(u64::from(lowat).saturating_mul(rounds));
    }
    limit
}

/// How many round trips there may be.
pub(super) fn rounds(case: &Case) -> u64 {
    (TARGET / round_trip(case).as_secs_f64().max(0.001)) as u64
}

/// What the links of the slowest way add to a round trip.
fn round_trip(case: &Case) -> Duration {
    let delays = |id: LinkId| Direction::BOTH.map(|way| case.link(id).impairments(way).delay).iter().sum::<Duration>();
    ways(case).iter().map(|way| way.iter().copied().map(delays).sum()).max().unwrap_or_default()
}

/// What one direction of a link lets through. `weight` is how much a loss there matters: that of an acknowledgement
/// is mostly made good by the next.
fn impairment_limit(impairments: &Impairments, segment: u64, weight: f64) -> u64 {
    let packets = |expected: f64, share: f64| (expected / share.max(1e-9)) as u64;
    let mut limit = u64::MAX;
    let (share, hard) = lost_share(impairments);
    if share > 0.0 {
        limit = limit.min(packets(LOSSES, share * weight).saturating_mul(segment));
    }
    if hard > 0.0 {
        limit = limit.min(packets(HARD_LOSSES, hard * weight).saturating_mul(segment));
    }
    if let Some(rate) = impairments.rate {
        limit = limit.min((f64::from(rate.kbit) * 125.0 * TARGET / 2.0) as u64);
        if rate.queue < SHORT_QUEUE {
            limit = limit.min(SHORT_QUEUE_PACKETS * segment);
        }
    }
    limit
}

/// Which share of packets is lost, and which is lost again when retransmitted.
fn lost_share(impairments: &Impairments) -> (f64, f64) {
    let corrupt = impairments.corrupt;
    match impairments.loss {
        None => (corrupt, corrupt * corrupt),
        Some(Loss::Independent(share)) => (share + corrupt, (share + corrupt).powi(2)),
        Some(Loss::GilbertElliott { to_bad, to_good, good, bad }) => {
            let in_bad = if to_bad > 0.0 { to_bad / (to_bad + to_good).max(1e-9) } else { 0.0 };
            (in_bad * bad + good + corrupt, in_bad * bad)
        }
        Some(Loss::Cells { probability, carriages }) => {
            (probability + corrupt, if carriages > 1 { probability } else { 0.0 })
        }
    }
}
