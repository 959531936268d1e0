//! Both ways of impairing a link, by a program of ours and by the kernel's network emulator, do what the case says: what
//! goes into the link is compared with what comes out of it.

mod common;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use whitewater::case::{
    Backend, Case, Direction, Host, Impairments, Jitter, Link, LinkId, Loss, Offloads, Rate, Reorder,
};
use whitewater::link::log::read::{Captured, read};
use whitewater::observation::Observation;
use whitewater::oracle::{Kind, judge};
use whitewater::seed::Seed;
use whitewater::world::World;
use whitewater::world::uml::{UmlOptions, UmlWorld};

/// About 2000 packets.
const PAYLOAD: u64 = 3_000_000;
/// Every part of an Ethernet and an IPv4 header.
const HEADERS: usize = 34;
/// What comes within this time was not delayed.
const SOON: Duration = Duration::from_millis(1);

fn world() -> Option<UmlWorld> {
    let kernel = common::kernel()?;
    let agent = Some(env!("CARGO_BIN_EXE_whitewater").into());
    Some(UmlWorld::with(kernel, UmlOptions { agent, ..UmlOptions::default() }).expect("a world on an installed kernel"))
}

/// From ns1 to ns4 by TCP, with this on the way from ns2 to ns3. The links before and after it carry single frames.
fn case(backend: Backend, forward: Impairments) -> Case {
    let mut case = Case { seed: Seed(5), ..Case::default() };
    (case.client.host, case.server.host, case.client.payload) = (Host::Ns1, Host::Ns4, PAYLOAD);
    let off = Offloads { tso: false, gso: false, gro: false };
    for id in [LinkId::Ns1Ns2, LinkId::Ns3Ns4] {
        case.links.insert(id, Link { left: off, right: off, ..Link::default() });
    }
    case.links.insert(LinkId::Ns2Ns3, Link { backend, forward, ..Link::default() });
    assert_eq!(case.validate(), Ok(()));
    case
}

/// What became of the packets with data.
#[derive(Debug, Default)]
struct Passage {
    /// Shares of what was sent.
    lost: f64,
    doubled: f64,
    damaged: f64,
    /// How many of the lost came directly behind another, as a share of the lost.
    in_bursts: f64,
    /// The share of the segments that overtook others: on their first way, where the link counts those.
    at_once: f64,
    /// Milliseconds.
    mean: f64,
    deviation: f64,
    /// Kilobits a second, Ethernet headers included.
    kbit: f64,
}

/// Runs the case, and compares what went into the link with what came out of it.
fn passage(world: &UmlWorld, case: &Case) -> Passage {
    let folder = tempfile::tempdir().expect("a folder");
    let seen = world.run(case, &|_| Some(folder.path().to_owned())).expect("a run");
    let verdict = judge(case, &seen);
    assert_eq!(verdict.kind, Kind::Pass, "{verdict:?}");
    let [into, out] = ["ns1-ns2", "ns3-ns4"].map(|link| data(&folder.path().join(format!("{link}.pcapng"))));
    compare(case.link(LinkId::Ns2Ns3).backend, &into, &out, &seen)
}

/// A packet with data: what it is known by, when it was seen, and its length.
struct Packet {
    key: [u8; 6],
    at: Duration,
    bytes: f64,
}

fn data(path: &Path) -> Vec<Packet> {
    let Captured { packets, unseen, .. } = read(path).expect("a capture");
    assert_eq!(unseen, 0, "the capture has all packets");
    let forward = packets.into_iter().filter(|packet| packet.direction == Direction::Forward);
    let packet = |at, frame: &[u8]| {
        let total = usize::from(u16::from_be_bytes(frame[16..18].try_into().expect("two bytes")));
        let header = usize::from(frame.get(HEADERS + 12)? >> 4) * 4;
        // Identification of the IPv4 header and sequence number: a retransmission has another identification.
        let key = [&frame[18..20], &frame[HEADERS + 4..HEADERS + 8]].concat().try_into().expect("six bytes");
        (total > 20 + header).then_some(Packet { key, at, bytes: (total + 14) as f64 })
    };
    forward.filter_map(|carried| packet(carried.at, &carried.frame)).collect()
}

fn compare(backend: Backend, into: &[Packet], out: &[Packet], seen: &Observation) -> Passage {
    let mut arrivals: HashMap<[u8; 6], Vec<Duration>> = HashMap::new();
    for packet in out {
        arrivals.entry(packet.key).or_default().push(packet.at);
    }
    let sent = into.len() as f64;
    assert!(sent > 2000.0, "{sent} packets are too few");
    let arrived = |packet: &Packet| arrivals.get(&packet.key);
    let delays: Vec<f64> =
        into.iter().filter_map(|packet| Some((arrived(packet)?[0] - packet.at).as_secs_f64() * 1e3)).collect();
    let count = delays.len() as f64;
    let mean = delays.iter().sum::<f64>() / count;
    let more = into.iter().filter_map(arrived).map(|times| times.len() - 1).sum::<usize>() as f64;
    let pairs = into.windows(2).filter(|pair| arrived(&pair[0]).is_none() && arrived(&pair[1]).is_none()).count();
    // A link of ours counts the gap in the byte stream, where a retransmission has the place of the first transmission; netem
    // counts packets.
    let mut sequences = HashSet::new();
    let counted: Vec<&Packet> = if backend == Backend::Netem {
        into.iter().collect()
    } else {
        into.iter().filter(|packet| sequences.insert(&packet.key[2..])).collect()
    };
    let soon = |packet: &&&Packet| arrived(packet).is_some_and(|times| times[0] - packet.at < SOON);
    let damaged = seen.hosts[&Host::Ns4].counters.get("Tcp.InCsumErrors").copied().unwrap_or(0) as f64;
    let time = (out[out.len() - 1].at - out[0].at).as_secs_f64();
    Passage {
        lost: 1.0 - count / sent,
        doubled: more / sent,
        at_once: counted.iter().filter(soon).count() as f64 / counted.len() as f64,
        damaged: damaged / sent,
        in_bursts: pairs as f64 / (sent - count),
        mean,
        deviation: (delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / count).sqrt(),
        kbit: out.iter().map(|packet| packet.bytes * 8.0).sum::<f64>() / 1e3 / time,
    }
}

/// Has both backends carry out the same, and holds a figure of each against what the case says.
fn both(impairments: Impairments, wanted: f64, within: f64, figure: impl Fn(&Passage) -> f64) {
    let Some(world) = world() else { return };
    for backend in [Backend::UserSpace, Backend::Netem] {
        let passage = passage(&world, &case(backend, impairments.clone()));
        let is = figure(&passage);
        assert!((is - wanted).abs() <= within, "{backend}: {is}, not {wanted} ± {within}: {passage:?}");
    }
}

/// Four standard deviations of a share of 2000 packets.
fn tolerance(share: f64) -> f64 {
    4.0 * (share * (1.0 - share) / 2000.0).sqrt()
}

const DELAY: Duration = Duration::from_millis(10);

fn late() -> Impairments {
    Impairments { delay: DELAY, ..Impairments::default() }
}

#[test]
fn loss_is_alike() {
    let loss = Some(Loss::Independent(0.05));
    both(Impairments { loss, ..Impairments::default() }, 0.05, tolerance(0.05), |passage| passage.lost);
}

#[test]
fn loss_in_bursts_is_alike() {
    // A sixth of the packets meets the bad state, and half of those are lost, as is the next one where the state stays.
    let loss = Some(Loss::GilbertElliott { to_bad: 0.05, to_good: 0.25, good: 0.0, bad: 0.5 });
    let impairments = Impairments { loss, ..Impairments::default() };
    // Losses that hang together vary more.
    both(impairments.clone(), 0.083, 3.0 * tolerance(0.083), |passage| passage.lost);
    both(impairments, 0.375, 0.15, |passage| passage.in_bursts);
}

#[test]
fn duplicates_are_alike() {
    both(Impairments { duplicate: 0.2, ..Impairments::default() }, 0.2, tolerance(0.2), |passage| passage.doubled);
}

#[test]
fn damage_is_alike() {
    // Damage of the IP header, which is a 75th of a packet, shows elsewhere.
    both(Impairments { corrupt: 0.05, ..Impairments::default() }, 0.049, tolerance(0.05), |passage| passage.damaged);
}

#[test]
fn delay_is_alike() {
    both(late(), 10.0, 0.05, |passage| passage.mean);
    both(late(), 0.0, 0.05, |passage| passage.deviation);
}

#[test]
fn jitter_is_alike() {
    let uniform = Impairments { jitter: Some(Jitter::Uniform(Duration::from_millis(6))), ..late() };
    both(uniform.clone(), 10.0, 0.4, |passage| passage.mean);
    // 6 by the root of three.
    both(uniform, 3.46, 0.25, |passage| passage.deviation);
    let normal = Impairments { jitter: Some(Jitter::Normal(Duration::from_millis(2))), ..late() };
    both(normal, 2.0, 0.2, |passage| passage.deviation);
}

#[test]
fn reordering_is_alike() {
    let every =
        |gap, probability| Impairments { reorder: Some(Reorder { probability, correlation: 0.0, gap }), ..late() };
    both(every(5, 1.0), 0.2, tolerance(0.2), |passage| passage.at_once);
    both(every(0, 0.25), 0.25, tolerance(0.25), |passage| passage.at_once);
}

#[test]
fn rates_are_alike() {
    let rate = Some(Rate { kbit: 20_000, queue: 1000 });
    both(Impairments { rate, ..Impairments::default() }, 20_000.0, 400.0, |passage| passage.kbit);
}

#[test]
fn what_the_kernel_does_is_the_same_each_time_and_hangs_on_the_seed() {
    let Some(world) = world() else { return };
    let rough = Impairments {
        loss: Some(Loss::Independent(0.05)),
        corrupt: 0.02,
        jitter: Some(Jitter::Normal(Duration::from_millis(2))),
        ..late()
    };
    let mut case = case(Backend::Netem, rough);
    let print = |case: &Case| world.fingerprint(case).expect("a run").1;
    let first = print(&case);
    assert_eq!(print(&case), first);
    case.seed = Seed(6);
    assert_ne!(print(&case), first);
}

#[test]
fn losses_without_a_bound_are_healed() {
    let Some(world) = world() else { return };
    // Nothing passes until the agent gives up waiting and heals the links.
    let mut case = case(Backend::Netem, Impairments { loss: Some(Loss::Independent(1.0)), ..Impairments::default() });
    case.client.payload = 1000;
    let seen = world.run(&case, &|_| None).expect("a run");
    assert_eq!(judge(&case, &seen).kind, Kind::Pass, "{seen:#?}");
    assert!(seen.timings.silence > Duration::from_secs(1), "{:?}", seen.timings);
}
