//! The worlds agree: the same fixed cases have the same verdict and the same facts on this machine's kernel in real time
//! and on a deterministic kernel in virtual time, and both are as they should be.

mod common;

use common::asking::sure;
use whitewater::case::{
    Action, Case, Family, Fault, First, Host, Impairments, Link, LinkId, Packet, Pairing, Protocol, Second,
};
use whitewater::observation::{Observation, Story};
use whitewater::oracle::{Kind, judge};
use whitewater::world::World;

/// What both ends send.
const PAYLOAD: [u64; 2] = [70_001, 30_000];

/// What is the same in every world, of one endpoint.
#[derive(Debug, PartialEq)]
struct Side {
    sent: u64,
    received: u64,
    end_of_stream: bool,
    error: Option<String>,
    /// Whether the socket is MPTCP's, and whether it has fallen back to TCP.
    fallback: Option<bool>,
}

impl Side {
    fn of(story: &Story) -> Side {
        Side {
            sent: story.sent,
            received: story.received,
            end_of_stream: story.end_of_stream,
            error: story.error.as_ref().map(|error| format!("{} {}", error.call, error.errno)),
            fallback: story.mptcp.map(|state| state.fallback),
        }
    }
}

/// What is the same in every world.
#[derive(Debug, PartialEq)]
struct Facts {
    verdict: (Kind, String),
    client: Side,
    server: Side,
    /// Whether the server's host met an MP_CAPABLE SYN.
    capable: bool,
    /// Whether what was lost was sent again. (In real time things are sent again for no more than a late answer.)
    sent_again: bool,
}

impl Facts {
    fn of(case: &Case, seen: &Observation) -> Facts {
        let verdict = judge(case, seen);
        let grew = |host: Host, name: &str| seen.hosts.get(&host).is_some_and(|host| host.counters.contains_key(name));
        Facts {
            verdict: (verdict.kind, verdict.what),
            client: Side::of(&seen.client),
            server: Side::of(&seen.server),
            capable: grew(case.server.host, "MPTcpExt.MPCapableSYNRX"),
            sent_again: !case.links.is_empty() && grew(case.client.host, "Tcp.RetransSegs"),
        }
    }

    /// What a healthy kernel shows.
    fn expected(case: &Case) -> Facts {
        let [client, server] = PAYLOAD;
        let both = case.is_mptcp();
        let side = |own: Protocol, sent, received| Side {
            sent,
            received,
            end_of_stream: true,
            error: None,
            fallback: (own == Protocol::Mptcp).then_some(!both),
        };
        Facts {
            verdict: (Kind::Pass, String::new()),
            client: side(case.client.protocol, client, server),
            server: side(case.server.protocol, server, client),
            capable: both,
            sent_again: !case.links.is_empty(),
        }
    }
}

/// Every pairing with every family and every ending, and a lost packet with each pairing.
fn cases() -> Vec<(String, Case)> {
    let endings = [(First::Both, Second::AtOnce), (First::Client, Second::AtOnce), (First::Server, Second::AfterEnd)];
    let mut cases = Vec::new();
    for pairing in Pairing::ALL {
        for family in Family::ALL {
            for (first, second) in endings {
                let mut case = plain(pairing);
                case.family = family;
                (case.ending.first, case.ending.second) = (first, second);
                cases.push((format!("{pairing} {family:?}, first {first:?}, second {second:?}"), case));
            }
        }
        let mut case = plain(pairing);
        let lost = Fault { flow: 0, packet: Packet::Cell(3), carriage: 0, action: Action::Drop };
        let forward = Impairments { faults: vec![lost], ..Impairments::default() };
        case.links.insert(LinkId::Ns2Ns3, Link { forward, ..Link::default() });
        cases.push((format!("{pairing}, a packet lost"), case));
    }
    cases
}

fn plain(pairing: Pairing) -> Case {
    let mut case = Case::default();
    (case.client.protocol, case.server.protocol) = (pairing.client, pairing.server);
    (case.client.host, case.server.host) = (Host::Ns1, Host::Ns4);
    [case.client.payload, case.server.payload] = PAYLOAD;
    case
}

/// The one body of all: what `world` shows of every case.
fn conforms(world: &dyn World) {
    for (name, case) in cases() {
        sure(world, || {
            let seen = world.run(&case, &|_| None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Facts::of(&case, &seen), Facts::expected(&case), "{name} in the {} world", world.name());
        });
    }
}

#[test]
fn the_worlds_conform() {
    std::thread::scope(|scope| {
        for world in common::worlds() {
            scope.spawn(move || conforms(world));
        }
    });
}
