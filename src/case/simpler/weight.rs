//! How far a case is from the plainest one.

use std::time::Duration;

use crate::case::{
    Action, Address, Backend, Case, Chunks, Congestion, Direction, Endpoint, Event, Family, First, Happening, Host,
    Impairments, Io, Jitter, Knobs, Leave, Link, Loss, Manner, Merge, Moment, Offloads, PathManager, Pattern, Pick,
    PmEndpoint, Protocol, Receiving, Removal, Rule, Second, Sending, SocketOptions, Strip, Syncookies, Topology,
    Towards,
};
use crate::payload::Sender;

/// What each thing that is not plain weighs, whatever its number: more than any number does.
const THING: u128 = 1 << 40;

/// Where buffers are headed: about what the kernel gives by itself.
pub(super) const PLAIN_BUFFER: u64 = 65_536;
/// Where TCP_MAXSEG is headed: what Ethernet gives.
pub(super) const PLAIN_MAXSEG: u64 = 1460;
/// Where rates are headed, in kilobits a second.
pub(super) const PLAIN_RATE: u64 = 1_000_000;
/// Where queues are headed, in packets.
pub(super) const PLAIN_QUEUE: u64 = 1000;

/// How far `case` is from the plainest one. Smaller is simpler; seed and finding weigh nothing.
pub fn weight(case: &Case) -> u128 {
    let place = place(case.client.host, case.server.host);
    let family = match case.family {
        Family::V4 => 0,
        Family::V6 => 1,
        Family::V4Mapped => 2,
    };
    let ending = THING * u128::from(case.ending.first != First::Both)
        + THING * u128::from(case.ending.second != Second::AtOnce)
        + duration(case.ending.pause)
        + case.ending.leave.map_or(0, leave)
        + number(case.rounds.count.into(), 1)
        + thing(case.rounds.reuse);
    place
        + topology(case.topology)
        + family * THING
        + address(case.address)
        + thing(case.bound)
        + number(case.refusals.into(), 0)
        + number(case.cpus.into(), 1)
        + ending
        + endpoint(&case.client)
        + endpoint(&case.server)
        + case.hosts.values().map(knobs).sum::<u128>()
        + case.links.values().map(link).sum::<u128>()
        + case.events.iter().map(event).sum::<u128>()
}

/// One host is plainer than a short way, a short way than a long one, and the way from left to right than the way back.
fn place(client: Host, server: Host) -> u128 {
    let hops = client.index().abs_diff(server.index()) as u128;
    hops * 1000 * THING + u128::from(client > server) * 100 * THING + (client.index() + server.index()) as u128 * THING
}

fn address(address: Address) -> u128 {
    match address {
        Address::Near => 0,
        Address::Far => THING,
        Address::Beyond => 2 * THING,
    }
}

/// Several paths are less plain than any place in the chain; a router between is one thing more.
fn topology(topology: Topology) -> u128 {
    let paths = u128::from(topology.paths()) * 500 * THING;
    match topology {
        Topology::Chain => 0,
        Topology::Parallel(_) => 5000 * THING + paths,
        Topology::Diamond => 5200 * THING + paths,
    }
}

fn event(event: &Event) -> u128 {
    let when = match event.when {
        Moment::Client(at) | Moment::Server(at) => u128::from(at),
        Moment::After(at) => at.as_nanos(),
    };
    let what = match event.what {
        Happening::Block { lasts, .. } => lasts.as_nanos(),
        Happening::Down { lasts, .. } => THING + lasts.as_nanos(),
        // Less plain than what is taken from one link.
        Happening::Flush { .. } | Happening::Fullmesh { .. } | Happening::Destroy { .. } => THING,
        Happening::Add { .. } | Happening::Remove { .. } | Happening::Backup { .. } => 0,
    };
    20 * THING + when + what
}

fn path_manager(pm: &PathManager) -> u128 {
    let endpoint = |endpoint: &PmEndpoint| {
        let PmEndpoint { signal, subflow, backup, fullmesh, laminar, other_family, port, id, .. } = *endpoint;
        let flags = [signal, subflow, backup, fullmesh, laminar, other_family, port.is_some(), id.is_some()];
        10 * THING + flags.into_iter().map(thing).sum::<u128>()
    };
    let limit = |limit: Option<u8>| limit.map_or(0, |limit| THING + u128::from(limit));
    5 * thing(pm.userspace) + limit(pm.subflows) + limit(pm.accepted) + pm.endpoints.iter().map(endpoint).sum::<u128>()
}

fn thing(there: bool) -> u128 {
    u128::from(there) * THING
}

/// A number that is plain at `plain`.
fn number(value: u64, plain: u64) -> u128 {
    thing(value != plain) + u128::from(value.abs_diff(plain))
}

/// A setting that is plain where it is not made, and then at `plain`.
fn setting(value: Option<impl Into<u64>>, plain: u64) -> u128 {
    value.map_or(0, |value| THING + u128::from(value.into().abs_diff(plain)))
}

fn duration(value: Duration) -> u128 {
    thing(!value.is_zero()) + value.as_nanos()
}

/// In parts of 10^9.
pub(super) fn parts(probability: f64) -> u64 {
    (probability * 1e9).round() as u64
}

fn probability(value: f64) -> u128 {
    thing(value != 0.0) + u128::from(parts(value))
}

fn endpoint(endpoint: &Endpoint) -> u128 {
    let protocol = 10 * thing(endpoint.protocol == Protocol::Mptcp);
    protocol
        + u128::from(endpoint.payload)
        + chunks(&endpoint.write)
        + chunks(&endpoint.read)
        + io(endpoint.io)
        + endpoint.changes.iter().map(|change| THING + u128::from(change.at)).sum::<u128>()
        + options(&endpoint.options)
}

fn chunks(chunks: &Chunks) -> u128 {
    let (kind, numbers) = match chunks.pattern {
        Pattern::Whole => (0, 0),
        Pattern::Fixed(size) => (1, u128::from(size)),
        Pattern::Dribble { bytes } => (2, u128::from(bytes)),
        Pattern::PowersOfTwo { max } => (3, u128::from(max)),
        Pattern::Around { unit } => (4, u128::from(unit)),
        Pattern::Uniform { min, max } => (5, u128::from(min) + u128::from(max)),
        Pattern::Bursts { chunk, rest, .. } => (6, u128::from(chunk) + duration(rest)),
    };
    let pauses = chunks.pauses.iter().map(|pause| THING + u128::from(pause.at) + pause.lasts.as_nanos());
    kind * THING + numbers + pauses.sum::<u128>()
}

/// To leave is plain at the very beginning: where nothing has to happen before.
fn leave(leave: Leave) -> u128 {
    let how = match leave.how {
        Manner::Close => 1,
        Manner::Linger => 2,
        Manner::Unread => 3,
    };
    how * THING + u128::from(leave.by == Sender::Server) + number(leave.sent, 0) + number(leave.received, 0)
}

fn io(io: Io) -> u128 {
    thing(io.send != Sending::default())
        + thing(io.receive != Receiving::default())
        + thing(io.timestamps)
        + thing(io.inq)
}

fn options(options: &SocketOptions) -> u128 {
    let buffers = [options.sndbuf, options.rcvbuf, options.sndbuf_late, options.rcvbuf_late, options.notsent_lowat];
    let congestion = match options.congestion {
        None => 0,
        Some(Congestion::Reno) => 1,
        Some(Congestion::Cubic) => 2,
        Some(Congestion::Bbr) => 3,
    };
    buffers.into_iter().map(|value| setting(value, PLAIN_BUFFER)).sum::<u128>()
        + thing(options.nodelay)
        + thing(options.cork)
        + setting(options.rcvlowat, 1)
        + setting(options.maxseg, PLAIN_MAXSEG)
        + congestion * THING
        + thing(options.fastopen)
        + THING * options.extra.len() as u128
}

fn knobs(knobs: &Knobs) -> u128 {
    thing(knobs.tcp_rmem.is_some())
        + thing(knobs.tcp_wmem.is_some())
        + thing(!knobs.sack)
        + thing(!knobs.timestamps)
        + thing(!knobs.window_scaling)
        + thing(knobs.syncookies != Syncookies::OnOverflow)
        + thing(knobs.mptcp_checksum)
        + thing(knobs.scheduler.is_some())
        + thing(knobs.stale_loss_cnt.is_some())
        + thing(knobs.add_addr_timeout.is_some())
        + thing(!knobs.join_initial)
        + path_manager(&knobs.pm)
        + THING * knobs.sysctls.len() as u128
}

fn link(link: &Link) -> u128 {
    100 * thing(link.backend != Backend::default())
        + number(link.mtu.into(), Link::default().mtu.into())
        + offloads(link.left)
        + offloads(link.right)
        + Direction::BOTH.into_iter().map(|direction| impairments(link.impairments(direction))).sum::<u128>()
}

fn offloads(offloads: Offloads) -> u128 {
    thing(!offloads.tso) + thing(!offloads.gso) + thing(!offloads.gro)
}

fn impairments(impairments: &Impairments) -> u128 {
    let loss = match impairments.loss {
        None => 0,
        Some(Loss::Independent(share)) => THING + probability(share),
        Some(Loss::Cells { probability: share, carriages }) => 3 * THING + probability(share) + u128::from(carriages),
        Some(Loss::GilbertElliott { to_bad, to_good, good, bad }) => {
            5 * THING + [to_bad, to_good, good, bad].map(probability).into_iter().sum::<u128>()
        }
    };
    let outages = impairments
        .outages
        .iter()
        .map(|outage| THING + outage.from.as_nanos() + outage.to.saturating_sub(outage.from).as_nanos());
    let jitter = match impairments.jitter {
        None => 0,
        Some(Jitter::Uniform(spread)) => THING + spread.as_nanos(),
        Some(Jitter::Normal(spread)) => 2 * THING + spread.as_nanos(),
    };
    let rate = impairments
        .rate
        .map_or(0, |rate| THING + number(rate.kbit.into(), PLAIN_RATE) + number(rate.queue.into(), PLAIN_QUEUE));
    let reorder = impairments.reorder.map_or(0, |reorder| {
        THING + probability(reorder.probability) + probability(reorder.correlation) + number(reorder.gap.into(), 0)
    });
    let faults = impairments.faults.iter().map(|fault| THING + action(fault.action));
    let rules = impairments.rules.iter().map(rule);
    thing(impairments.spare_handshake)
        + thing(impairments.renumber != 0)
        + loss
        + outages.sum::<u128>()
        + probability(impairments.corrupt)
        + probability(impairments.duplicate)
        + rate
        + duration(impairments.delay)
        + jitter
        + reorder
        + faults.sum::<u128>()
        + rules.sum::<u128>()
}

/// What an action weighs beside being there: nothing, where it has no number.
fn action(action: Action) -> u128 {
    match action {
        Action::Late(by) | Action::Early(by) => by.as_nanos(),
        Action::Split(at) | Action::Alter(at) => at.into(),
        Action::Merge(Merge { within, options }) => within.as_nanos() + u128::from(options.loses()),
        Action::Clamp(mss) => PLAIN_MAXSEG.abs_diff(mss.into()).into(),
        Action::Strip(Strip { by: Removal::Nothing, .. }) => 1,
        Action::Reset(Towards::Receiver | Towards::Sender) => 1,
        Action::Strip(_) | Action::Reset(Towards::Both) | Action::Refuse | Action::Mark => 0,
        Action::Drop | Action::Flip(_) | Action::Duplicate => 0,
    }
}

/// A rule weighs more than a single fault: it may act many times. Doing it always is plainer than doing it now and then,
/// and once is plainer than always.
fn rule(rule: &Rule) -> u128 {
    let from = match rule.on {
        Pick::Data(from) => u128::from(from),
        _ => 0,
    };
    let times = match rule.times {
        None => THING,
        Some(times) => u128::from(times),
    };
    let sometimes = if rule.chance < 1.0 { THING + u128::from(parts(rule.chance)) } else { 0 };
    3 * THING + from + u128::from(rule.skip) + times + sometimes + action(rule.action)
}
