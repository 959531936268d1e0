//! How long no byte may move in a case: one small function for each cause.
//!
//! A retransmission timer that has found no answer doubles, so after a silence of any length the next attempt comes
//! within as much time again. That gives a bound that no dice can break: once no byte has moved for [`quiet`], the links
//! are healed, and whatever waits must move within as long again ([`patience`]). How often packets are lost in a row by
//! chance only matters for how rarely the healing comes into play.
//!
//! Sources: RFC 6298 (the retransmission timer), RFC 9293 section 3.8.6.1 (zero-window probes), and Linux:
//! net/ipv4/tcp_timer.c, net/ipv4/tcp_input.c, include/net/tcp.h. The figures are the kernel's defaults, which no knob
//! of a case changes. Every term errs on the long side: a stall is reported later for it, never wrongly.

use std::time::Duration;

use super::losses;
use crate::case::{Action, Case, Chunks, Endpoint, Impairments, Jitter, Outage, Pattern};

/// What a clean case is given: MPTCP on some kernels rests for 0.2 to 0.8 s by itself; a delayed acknowledgement
/// (40 to 200 ms), a corked segment (200 ms) and a zero-window probe or two come on top.
pub const CLEAN: Duration = Duration::from_secs(4);

/// The least retransmission timeout (TCP_RTO_MIN, include/net/tcp.h).
pub const RTO_MIN: Duration = Duration::from_millis(200);

/// The most that backing off makes of it (TCP_RTO_MAX).
const RTO_MAX: Duration = Duration::from_secs(120);

/// The timeout of a SYN, and of a SYN/ACK (TCP_TIMEOUT_INIT).
const SYN_TIMEOUT: Duration = Duration::from_secs(1);

/// How many SYNs are sent again at that distance before it doubles (net.ipv4.tcp_syn_linear_timeouts).
const SYN_LINEAR: u32 = 4;

/// How long no byte may move before the links are healed: on an unimpaired path, before the transfer is stalled.
pub fn quiet(case: &Case) -> Duration {
    // While a reader rests, the peer's zero-window probes back off; the one that finds the window open again may come
    // as long after the rest as the rest was.
    CLEAN + longest_rest(case) + longest_reading_rest(case) + by_links(case)
}

/// How long no byte may move, the healing of the links after [`quiet`] included, before the transfer is stalled.
pub fn patience(case: &Case) -> Duration {
    if losses::any(case) { 2 * quiet(case) + rto(case) } else { quiet(case) }
}

/// What the links of `case` add to the time that no byte moves.
pub fn by_links(case: &Case) -> Duration {
    handshake(case)
        + 2 * (outage(case) + out_of_order(case))
        + backed_off(rto(case), losses::in_a_row(case))
        + 4 * round_trip(case)
}

/// For how long on end the links of `case` may let nothing through: what a kernel's patience has to outlast.
pub fn blackout(case: &Case) -> Duration {
    handshake(case) + outage(case) + out_of_order(case) + backed_off(rto(case), losses::in_a_row(case))
}

/// How long packets take through the links and back: delay, the slower end of jitter, late packets, full queues.
pub fn round_trip(case: &Case) -> Duration {
    losses::directions(case).map(|impairments| one_way(&impairments)).sum()
}

/// How long a packet takes through one direction of a link.
fn one_way(impairments: &Impairments) -> Duration {
    let jitter = match impairments.jitter {
        None => Duration::ZERO,
        Some(Jitter::Uniform(spread)) => spread,
        // Beyond six standard deviations: once in a billion packets.
        Some(Jitter::Normal(deviation)) => deviation * 6,
    };
    let faults = impairments.faults.iter().map(|fault| fault.action);
    let late = faults.chain(impairments.rules.iter().map(|rule| rule.action)).filter_map(|action| match action {
        Action::Late(by) => Some(by),
        Action::Merge(merge) => Some(merge.within),
        _ => None,
    });
    impairments.delay + jitter + late.max().unwrap_or_default() + queue(impairments)
}

/// How long a full queue of full frames takes to drain.
fn queue(impairments: &Impairments) -> Duration {
    const FRAME_BITS: f64 = 1514.0 * 8.0;
    impairments.rate.map_or(Duration::ZERO, |rate| {
        seconds(f64::from(rate.queue.saturating_add(1)) * FRAME_BITS / (f64::from(rate.kbit.max(1)) * 1000.0))
    })
}

/// The first retransmission timeout: the smoothed round trip and four times its deviation, at least [`RTO_MIN`] above
/// it. After one sample the deviation is half of it, so three round trips (RFC 6298 section 2.2).
fn rto(case: &Case) -> Duration {
    RTO_MIN + 3 * round_trip(case)
}

/// How long a connect may take: each lost SYN costs a timeout, the first few the same one, later ones twice the one
/// before. A server's SYN/ACK timer doubles from the start, but every SYN that comes in again is answered as well.
fn handshake(case: &Case) -> Duration {
    let lost = losses::of_handshake(case);
    let linear = SYN_TIMEOUT * lost.min(SYN_LINEAR);
    linear + backed_off(SYN_TIMEOUT, lost.saturating_sub(SYN_LINEAR)) + 2 * round_trip(case)
}

/// How long it takes until a packet gets through of which `lost` carriages are lost in a row, where the first timeout is
/// `first` and each next one twice the one before, up to [`RTO_MAX`]. One timeout more than that is counted, for the
/// acknowledgement that is lost with it.
fn backed_off(first: Duration, lost: u32) -> Duration {
    if lost == 0 {
        return Duration::ZERO;
    }
    let mut timeout = first.min(RTO_MAX);
    let mut sum = Duration::ZERO;
    for _ in 0..=lost {
        sum += timeout;
        timeout = (timeout * 2).min(RTO_MAX);
    }
    sum
}

/// The longest span of time in which outages let nothing through. A timer that doubled all through an outage fires
/// within as much time after it, so outages that begin before that belong to the same span.
fn outage(case: &Case) -> Duration {
    let mut outages: Vec<Outage> =
        losses::directions(case).flat_map(|impairments| impairments.outages).filter(|o| o.to > o.from).collect();
    outages.sort_by_key(|outage| outage.from);
    let mut longest = Duration::ZERO;
    let mut span: Option<Outage> = None;
    for outage in outages {
        let joined = match span {
            Some(before) if outage.from <= heard_again(before) => {
                Outage { from: before.from, to: before.to.max(outage.to) }
            }
            _ => outage,
        };
        longest = longest.max(joined.to - joined.from);
        span = Some(joined);
    }
    longest
}

/// For how long in all events keep packets from links: one may follow the other.
fn out_of_order(case: &Case) -> Duration {
    case.events.iter().filter_map(|event| event.what.outage()).sum()
}

/// When the last retransmission timer that ran during `outage` has fired.
fn heard_again(outage: Outage) -> Duration {
    outage.to + (outage.to - outage.from) + RTO_MIN
}

/// The longest planned rest of either endpoint: between reads, between writes, before the shutdown. A rest that ends
/// counts as movement, so rests do not add up.
fn longest_rest(case: &Case) -> Duration {
    let writing = [&case.client, &case.server].map(|endpoint| rests(&endpoint.write).max().unwrap_or_default());
    writing.into_iter().max().unwrap_or_default().max(longest_reading_rest(case)).max(case.ending.pause)
}

/// The longest planned rest between two reads.
fn longest_reading_rest(case: &Case) -> Duration {
    let reading = |endpoint: &Endpoint| rests(&endpoint.read).max().unwrap_or_default();
    reading(&case.client).max(reading(&case.server))
}

/// The lengths of the rests that `chunks` speaks of, each kind once.
fn rests(chunks: &Chunks) -> impl Iterator<Item = Duration> {
    let burst = match chunks.pattern {
        Pattern::Bursts { rest, .. } => Some(rest),
        _ => None,
    };
    chunks.pauses.iter().map(|pause| pause.lasts).chain(burst)
}

/// A duration of this many seconds; absurd ones end at about 30 years.
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Host, LinkId, Loss, Pause, Rate};

    fn across(forward: Impairments) -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        case.links.entry(LinkId::Ns1Ns2).or_default().forward = forward;
        case
    }

    fn outages(spans: &[(u64, u64)]) -> Case {
        let span = |&(from, to)| Outage { from: Duration::from_secs(from), to: Duration::from_secs(to) };
        across(Impairments { outages: spans.iter().map(span).collect(), ..Impairments::default() })
    }

    #[test]
    fn a_clean_case_is_given_the_base_and_no_healing() {
        assert_eq!((quiet(&Case::default()), patience(&Case::default())), (CLEAN, CLEAN));
    }

    #[test]
    fn lost_carriages_double_the_timeout_each() {
        let timeout = Duration::from_millis(200);
        assert_eq!(backed_off(timeout, 0), Duration::ZERO);
        assert_eq!(backed_off(timeout, 4), Duration::from_millis(6200));
        assert_eq!(backed_off(timeout, 12).as_secs(), 204 + 3 * 120);
    }

    #[test]
    fn a_lossy_path_is_given_more_than_what_it_may_lose() {
        let loss = Some(Loss::Independent(0.02));
        let case = across(Impairments { loss, ..Impairments::default() });
        assert_eq!(quiet(&case), CLEAN + 4 * SYN_TIMEOUT + Duration::from_millis(6200));
        assert_eq!(patience(&case), 2 * quiet(&case) + RTO_MIN);
    }

    #[test]
    fn an_outage_counts_twice_and_near_ones_count_as_one() {
        assert_eq!(by_links(&outages(&[(1, 4)])), Duration::from_secs(6));
        assert_eq!(outage(&outages(&[(1, 4), (6, 8)])), Duration::from_secs(7));
        assert_eq!(outage(&outages(&[(1, 4), (8, 9)])), Duration::from_secs(3));
        assert_eq!(outage(&outages(&[(4, 1)])), Duration::ZERO);
    }

    #[test]
    fn a_round_trip_is_all_that_takes_time_on_the_path() {
        let rate = Some(Rate { kbit: 12_112, queue: 99 });
        let jitter = Some(Jitter::Uniform(Duration::from_millis(5)));
        let case = across(Impairments { rate, jitter, delay: Duration::from_millis(10), ..Impairments::default() });
        assert_eq!(round_trip(&case), Duration::from_millis(115));
    }

    #[test]
    fn a_reader_s_rest_counts_twice_and_a_writer_s_once() {
        let rest = Chunks { pauses: vec![Pause { at: 1, lasts: Duration::from_secs(3) }], ..Chunks::default() };
        let mut case = Case::default();
        case.client.write = rest.clone();
        assert_eq!(quiet(&case), CLEAN + Duration::from_secs(3));
        case.server.read = rest;
        assert_eq!(quiet(&case), CLEAN + Duration::from_secs(6));
    }
}
