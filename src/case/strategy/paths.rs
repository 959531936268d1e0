//! Draws cases with several paths: the topology, the configuration of the path managers, and how unlike the paths are.

use super::draw::Draw;
use super::{Group, Space, cost};
use crate::case::{
    Case, Direction, Event, Family, First, Happening, Host, Impairments, LinkId, Moment, PathManager, PmEndpoint,
    Protocol, Rate, Sysctl, Topology,
};
use crate::payload::Sender;
use crate::seed::Seed;

/// The share of cases with several paths where the space leaves the choice. Most of what MPTCP does needs them.
const SHARE: f64 = 0.25;
/// The share of those with an impaired link. Two veth pairs alone show little: what is sent first has arrived first.
pub(super) const IMPAIRED_SHARE: f64 = 0.75;
/// How much slower one path may be than another, in round trip or rate.
const RATIOS: [u32; 5] = [1, 2, 5, 10, 25];
/// The share of transfers that are long enough for joins to carry data.
const LONG_SHARE: f64 = 0.85;
/// The share of cases in which something happens to a path on the way.
const EVENTS_SHARE: f64 = 0.35;
/// The share of cases in which a path manager is a program in user space.
const USER_SPACE_SHARE: f64 = 0.2;
/// The share of the events that take the client's first subflow from it.
const FIRST_SHARE: f64 = 0.12;
/// The share of hindrances that are of all paths, of which one recovers soon.
const ALL_DOWN_SHARE: f64 = 0.2;
/// What a long transfer has at least in one direction, where the links let so much through.
const LONG: u64 = 128 << 10;

/// Whether a case has several paths, and how they lie.
pub(super) fn topology(space: &Space, seed: Seed) -> Option<Topology> {
    let mptcp = space.pairings.iter().any(|pair| [pair.client, pair.server] == [Protocol::Mptcp; 2]);
    let several: Vec<u8> = space.paths.iter().copied().filter(|paths| *paths > 1).collect();
    if !mptcp || several.is_empty() || !space.allows(Group::Paths) {
        return None;
    }
    let mut draw = Draw::new(seed, "topology");
    if space.paths.contains(&1) && !draw.chance(SHARE) {
        return None;
    }
    // Two paths are enough for most faults, and show them in the smallest cases.
    let paths = if several.contains(&2) && draw.chance(0.5) { 2 } else { draw.pick(&several) };
    Some(if paths == 2 && draw.chance(0.2) { Topology::Diamond } else { Topology::Parallel(paths) })
}

/// Puts the endpoints where the topology wants them.
pub(super) fn place(case: &mut Case, topology: Topology) {
    case.topology = topology;
    if let Some((client, server)) = topology.ends() {
        (case.client.host, case.server.host) = (client, server);
    }
    (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
}

/// Makes the paths unlike each other, or slow enough for a join to come before the end.
pub(super) fn shape(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "shape");
    let ways = case.topology.ways();
    if draw.chance(0.6) {
        let fast = draw.micros_log(100, 8_000);
        let times = ratios(&mut draw, ways.len());
        for (way, ratio) in ways.iter().zip(times) {
            // Half of the round trip in each direction.
            for direction in Direction::BOTH {
                let to = impairments(case, *way, direction);
                to.delay = to.delay.max(fast * ratio / 2);
            }
        }
    }
    if draw.chance(0.5) {
        let slow = draw.bounded(&[1_000, 4_000, 10_000], 1_000, 40_000) as u32;
        let times = ratios(&mut draw, ways.len());
        let queue = draw.bounded(&[20, 50, 100, 1000], 16, 1000) as u32;
        let both = draw.chance(0.5);
        let direction = draw.pick(&Direction::BOTH);
        for (way, ratio) in ways.iter().zip(times) {
            for each in Direction::BOTH.into_iter().filter(|each| both || *each == direction) {
                impairments(case, *way, each).rate = Some(Rate { kbit: slow * ratio, queue });
            }
        }
    }
}

/// How much more each path takes than the least, in random order.
fn ratios(draw: &mut Draw, paths: usize) -> Vec<u32> {
    let ratio = draw.pick(&RATIOS);
    let mut ratios: Vec<u32> = (0..paths).map(|_| if draw.chance(0.5) { 1 } else { ratio }).collect();
    let odd = draw.even(0, paths as u64 - 1) as usize;
    ratios[odd] = ratio;
    ratios
}

pub(super) fn impairments(case: &mut Case, way: LinkId, direction: Direction) -> &mut Impairments {
    case.links.entry(way).or_default().impairments_mut(direction)
}

/// Who makes the further subflows.
#[derive(Clone, Copy, PartialEq)]
enum Joins {
    /// The client, from its other addresses.
    Client,
    /// The client, to addresses that the server announces.
    Announced,
    /// The client, from each of its addresses to each that the server announces.
    FullMesh,
    /// Each path is one of the above.
    Mixed,
}

/// Tells the path managers what makes the connection use its paths.
pub(super) fn path_managers(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "path managers");
    let ways = case.topology.ways();
    let diamond = case.topology == Topology::Diamond;
    let joins = match draw.even(0, 7) {
        0..=3 => Joins::Client,
        // Behind the router of a diamond the server has a single address.
        _ if diamond => Joins::Client,
        4 | 5 => Joins::Announced,
        6 => Joins::FullMesh,
        _ => Joins::Mixed,
    };
    let (mut client, mut server) = (Vec::new(), Vec::new());
    for (nth, way) in ways.iter().enumerate() {
        let announced = match joins {
            Joins::Client => false,
            Joins::Announced | Joins::FullMesh => true,
            Joins::Mixed => draw.chance(0.5),
        };
        // The first path is that of the first subflow: an endpoint for its address changes little but flags and ids.
        if nth == 0 && !(joins == Joins::FullMesh || draw.chance(0.2)) {
            continue;
        }
        if joins == Joins::FullMesh || !announced || draw.chance(0.2) {
            let fullmesh = joins == Joins::FullMesh;
            client.push(PmEndpoint { subflow: true, fullmesh, ..PmEndpoint::on(*way) });
        }
        if announced && nth > 0 {
            let port = draw.chance(0.1).then(|| draw.pick(&[10_100, 12_001]));
            server.push(PmEndpoint { signal: true, port, ..PmEndpoint::on(*way) });
        }
    }
    let backups = draw.chance(0.3);
    for endpoint in client.iter_mut().chain(&mut server) {
        endpoint.backup = backups && draw.chance(0.6);
        endpoint.laminar = endpoint.subflow && draw.chance(0.1);
    }
    if draw.chance(0.1) {
        client.iter_mut().zip([1, 9, 200, 255]).for_each(|(endpoint, id)| endpoint.id = Some(id));
    }
    // IPv6 sockets take IPv4 as well.
    if case.family != Family::V4 && draw.chance(0.25) {
        for endpoint in client.iter_mut().chain(&mut server).filter(|endpoint| Some(&endpoint.link) != ways.first()) {
            endpoint.other_family = draw.chance(0.6);
        }
    }
    let most = if joins == Joins::FullMesh { 8 } else { ways.len() as u8 };
    let limits = |draw: &mut Draw| match draw.even(0, 9) {
        0 => draw.even(0, u64::from(most)) as u8,
        1 | 2 => 8,
        _ => most,
    };
    for (host, endpoints) in [(case.client.host, client), (case.server.host, server)] {
        let (subflows, accepted) = (Some(limits(&mut draw)), Some(limits(&mut draw)));
        knobs(case, host).pm = PathManager { userspace: false, subflows, accepted, endpoints };
    }
    case.bound |= draw.chance(0.08);
    kernel_knobs(case, &mut draw);
    in_user_space(case);
}

/// Has programs in user space manage paths instead of the kernel, at one end or both.
fn in_user_space(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "user space");
    if !draw.chance(USER_SPACE_SHARE) {
        return;
    }
    let which = draw.even(1, 3);
    for (bit, host) in [(1, case.client.host), (2, case.server.host)] {
        if which & bit != 0 {
            let pm = &mut knobs(case, host).pm;
            pm.userspace = true;
            for endpoint in &mut pm.endpoints {
                (endpoint.fullmesh, endpoint.laminar) = (false, false);
            }
        }
    }
}

fn kernel_knobs(case: &mut Case, draw: &mut Draw) {
    for host in [case.client.host, case.server.host] {
        if draw.chance(0.15) {
            knobs(case, host).stale_loss_cnt = Some(draw.pick(&[0, 1, 1, 2, 8]));
        }
        if draw.chance(0.15) {
            knobs(case, host).add_addr_timeout = Some(draw.pick(&[1, 1, 2]));
        }
    }
    for host in [case.client.host, case.server.host] {
        if draw.chance(0.05) {
            // The only one that every kernel has.
            knobs(case, host).scheduler = Some("default".to_owned());
        }
    }
    if draw.chance(0.08) {
        let server = case.server.host;
        knobs(case, server).join_initial = false;
    }
    for host in [case.client.host, case.server.host] {
        if draw.chance(0.15) {
            let (sysctl, values) = draw.pick(&[
                (Sysctl::MptcpBlackholeTimeout, &[0, 1][..]),
                (Sysctl::MptcpCloseTimeout, &[0, 1, 10]),
                (Sysctl::MptcpSynRetransBeforeTcpFallback, &[3, 6]),
            ]);
            let value = draw.pick(values);
            knobs(case, host).sysctls.insert(sysctl, value);
        }
    }
}

/// Draws what happens to paths on the way. Links are kept from working only where `rough`, and only for a while.
pub(super) fn events(case: &mut Case, rough: bool) {
    let mut draw = Draw::new(case.seed, "events");
    if !draw.chance(EVENTS_SHARE) {
        return;
    }
    let (client, server) = (case.client.payload, case.server.payload);
    for _ in 0..draw.pick(&[1, 1, 2, 2, 3]) {
        let when = match draw.even(0, 3) {
            0 => Moment::After(draw.micros_log(500, 400_000)),
            _ if client >= server => Moment::Client(draw.even(0, client)),
            _ => Moment::Server(draw.even(0, server)),
        };
        if rough && draw.chance(0.5 * ALL_DOWN_SHARE) {
            let last = draw.millis(300, 1_500);
            let spared = draw.pick(case.topology.ways());
            for link in case.topology.ways() {
                let lasts = if *link == spared { draw.millis(20, 200) } else { last };
                case.events.push(Event { when, what: Happening::Down { link: *link, lasts } });
            }
            continue;
        }
        let what = if rough && draw.chance(0.5) { hindrance(case, &mut draw) } else { told(case, &mut draw) };
        case.events.extend(what.map(|what| Event { when, what }));
    }
    first(case, &mut draw);
}

/// Makes the first subflow go, instead of others: what is left is a subflow that has joined.
fn first(case: &mut Case, draw: &mut Draw) {
    let host = case.client.host;
    let boxed = case.links.values().any(|link| !(link.forward.rules.is_empty() && link.backward.rules.is_empty()));
    let Some(at) = case.events.iter().position(|event| event.what.host().is_some()) else { return };
    if boxed || !draw.chance(FIRST_SHARE) {
        return;
    }
    let link = case.topology.ways()[0];
    let destroys = case.knobs(host).pm.userspace && draw.chance(0.5);
    case.events[at].what = if destroys { Happening::Destroy { host, link } } else { Happening::Remove { host, link } };
    let mut nth = 0..;
    case.events.retain(|event| nth.next() == Some(at) || !event.what.retires());
    for knobs in case.hosts.values_mut() {
        knobs.sysctls.remove(&Sysctl::MptcpCloseTimeout);
    }
}

/// A link that does not work for a while.
fn hindrance(case: &Case, draw: &mut Draw) -> Option<Happening> {
    let link = draw.pick(case.topology.ways());
    let lasts = draw.millis(20, 1_500);
    Some(if draw.chance(0.5) { Happening::Block { link, lasts } } else { Happening::Down { link, lasts } })
}

/// Something that a path manager is told: endpoints other than that of the first path come, go and change.
fn told(case: &Case, draw: &mut Draw) -> Option<Happening> {
    let others = case.topology.ways().get(1..).filter(|others| !others.is_empty())?;
    let (client, server) = (case.client.host, case.server.host);
    let all: Vec<(Host, PmEndpoint)> = [client, server]
        .into_iter()
        .flat_map(|host| case.knobs(host).pm.endpoints.into_iter().map(move |endpoint| (host, endpoint)))
        .filter(|(_, endpoint)| others.contains(&endpoint.link))
        .collect();
    if all.is_empty() || draw.chance(0.25) {
        let link = draw.pick(others);
        let signal = case.topology != Topology::Diamond && draw.chance(0.3);
        let other_family = case.family != Family::V4 && draw.chance(0.15);
        let backup = draw.chance(0.2);
        let endpoint = PmEndpoint { signal, subflow: !signal, backup, other_family, ..PmEndpoint::on(link) };
        return Some(Happening::Add { host: if signal { server } else { client }, endpoint });
    }
    let (host, PmEndpoint { link, backup, subflow, fullmesh, .. }) = draw.pick(&all);
    let userspace = case.knobs(host).pm.userspace;
    Some(match draw.even(0, 9) {
        2..=5 if userspace => Happening::Destroy { host, link },
        0..=3 => Happening::Remove { host, link },
        4 if subflow => Happening::Fullmesh { host, link, on: !fullmesh },
        5 => Happening::Flush { host },
        _ => Happening::Backup { host, link, on: !backup },
    })
}

pub(super) fn knobs(case: &mut Case, host: Host) -> &mut crate::case::Knobs {
    case.hosts.entry(host).or_default()
}

/// Makes most transfers long enough for the joins to carry data: a join takes a round trip or two, and who has shut down
/// takes no part in it. So an end with little to send waits for the other's end, mostly.
pub(super) fn sizes(case: &mut Case, most: u64) {
    let mut draw = Draw::new(case.seed, "long");
    if !draw.chance(LONG_SHARE) {
        return;
    }
    let sides = draw.pick(&[&[Sender::Client][..], &[Sender::Server], &[Sender::Client, Sender::Server]]);
    for side in sides {
        let limit = cost::payload_limit(case, *side).min(most);
        let bytes = draw.log(LONG.min(limit), limit.min(4 << 20));
        let endpoint = match side {
            Sender::Client => &mut case.client,
            Sender::Server => &mut case.server,
        };
        endpoint.payload = endpoint.payload.max(bytes);
    }
    if let [side] = sides
        && draw.chance(LONG_SHARE)
    {
        case.ending.first = match side {
            Sender::Client => First::Client,
            Sender::Server => First::Server,
        };
    }
}
