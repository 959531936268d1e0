//! Two paths carry what they can together: the five pairs of the kernel selftest simult_flows.sh, and what it demands of each.
//! Virtual time makes its limit exact, so this runs in the deterministic world alone.

mod common;

use std::time::Duration;

use whitewater::case::{
    Case, First, Host, Impairments, Knobs, Link, LinkId, PathManager, PmEndpoint, Protocol, Rate, Second, Topology,
};
use whitewater::oracle::{Kind, judge};
use whitewater::world::World;
use whitewater::world::uml::{UmlOptions, UmlWorld};

/// What the selftest sends in one direction.
const PAYLOAD: u64 = 16 << 20;
/// What it grants beside the time that nine tenths of both rates take.
const SLACK: Duration = Duration::from_millis(450);

/// A diamond whose paths have these rates (Mbit/s), delays (ms) and queues (packets), as `run_test` makes it.
fn diamond(rates: [u32; 2], delays: [u64; 2], queues: [u32; 2], from_client: bool) -> Case {
    let mut case = Case { topology: Topology::Diamond, ..Case::default() };
    (case.client.host, case.server.host) = case.topology.ends().expect("fixed ends");
    (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
    (case.client.payload, case.server.payload) = if from_client { (PAYLOAD, 64) } else { (64, PAYLOAD) };
    case.ending.first = if from_client { First::Client } else { First::Server };
    case.ending.second = Second::AfterEnd;
    for (nth, way) in LinkId::PATHS.into_iter().take(2).enumerate() {
        let (kbit, queue) = (rates[nth] * 1000, queues[nth]);
        let (rate, delay) = (Some(Rate { kbit, queue }), Duration::from_millis(delays[nth]));
        let limited = Impairments { rate, delay, ..Impairments::default() };
        case.links.insert(way, Link { forward: limited.clone(), backward: limited, ..Link::default() });
    }
    let endpoints = vec![PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) }];
    let limits = PathManager { subflows: Some(1), accepted: Some(1), ..PathManager::default() };
    case.hosts.insert(Host::Ns1, Knobs { pm: PathManager { endpoints, ..limits.clone() }, ..Knobs::default() });
    case.hosts.insert(Host::Ns3, Knobs { pm: limits, ..Knobs::default() });
    case
}

/// The longest that a transfer may take: 16 MiB at nine tenths of both rates together, and 450 ms.
fn limit(rates: [u32; 2]) -> Duration {
    let bits_per_ms = u64::from(rates[0] + rates[1]) * 1000;
    Duration::from_millis(PAYLOAD * 8 * 10 / (bits_per_ms * 9)) + SLACK
}

#[test]
fn two_paths_carry_what_the_kernel_selftest_demands() {
    let Some(kernel) = common::kernel() else { return };
    let agent = Some(env!("CARGO_BIN_EXE_whitewater").into());
    let world = UmlWorld::with(kernel, UmlOptions { agent, ..UmlOptions::default() }).expect("a world");
    let pairs = [
        ("balanced bandwidth", [10, 10], [0, 0], [20, 20]),
        ("balanced bandwidth, unbalanced delay", [10, 10], [1, 25], [20, 50]),
        ("unbalanced bandwidth", [10, 3], [0, 0], [30, 20]),
        ("unbalanced bandwidth, unbalanced delay", [10, 3], [1, 25], [40, 30]),
        ("unbalanced bandwidth, opposed unbalanced delay", [10, 3], [25, 1], [50, 30]),
    ];
    for (name, rates, delays, queues) in pairs {
        for from_client in [true, false] {
            let case = diamond(rates, delays, queues, from_client);
            let seen = world.run(&case, &|_| None).expect("a run in the deterministic world");
            let verdict = judge(&case, &seen);
            assert_eq!(verdict.kind, Kind::Pass, "{name}: {verdict:?}");
            let (took, limit) = (seen.timings.transfer, limit(rates));
            println!("{name}, from the {}: {took:?} of {limit:?}", if from_client { "client" } else { "server" });
            assert!(took <= limit, "{name}: {took:?} of {limit:?}");
        }
    }
}
