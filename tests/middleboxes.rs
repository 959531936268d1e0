//! What middleboxes do is real: counters, socket states and errors of the kernel show it.

mod common;

use std::time::Duration;

use whitewater::case::{
    Action, Case, Direction, Host, LinkId, Pick, Protocol, Removal, Rule, Strip, TcpOption, Towards,
};
use whitewater::observation::Observation;
use whitewater::oracle::{Kind, judge};
use whitewater::world::World;

const PAYLOAD: u64 = 100_000;

/// Both ways between two neighbours, with a rule for what goes from the client to the server, or back.
fn case(protocol: Protocol, direction: Direction, rule: Rule) -> Case {
    let mut case = Case::default();
    case.server.host = Host::Ns2;
    for endpoint in [&mut case.client, &mut case.server] {
        endpoint.protocol = protocol;
        endpoint.payload = PAYLOAD;
    }
    case.links.entry(LinkId::Ns1Ns2).or_default().impairments_mut(direction).rules = vec![rule];
    case
}

fn seen(case: &Case) -> Observation {
    assert_eq!(case.validate(), Ok(()));
    common::host_world().run(case, &|_| None).expect("the case runs")
}

/// What was seen of a case that has to pass.
fn passed(case: &Case) -> Observation {
    let seen = seen(case);
    let verdict = judge(case, &seen);
    assert_eq!(verdict.kind, Kind::Pass, "{verdict:?}");
    seen
}

fn counter(seen: &Observation, host: Host, name: &str) -> i64 {
    seen.hosts[&host].counters.get(name).copied().unwrap_or(0)
}

fn strip(option: TcpOption, by: Removal) -> Action {
    Action::Strip(Strip { option, by })
}

#[test]
fn without_mp_capable_in_the_handshake_both_ends_fall_back_and_nothing_is_lost() {
    for by in [Removal::Nops, Removal::Nothing] {
        for (direction, on) in [
            (Direction::Forward, Pick::Syn),
            (Direction::Backward, Pick::SynAck),
            (Direction::Forward, Pick::Any),
            (Direction::Backward, Pick::Any),
        ] {
            let seen = passed(&case(Protocol::Mptcp, direction, Rule::always(on, strip(TcpOption::Mptcp, by))));
            // A server that was never asked for MPTCP has accepted a socket of TCP.
            let fallen = [&seen.client, &seen.server].map(|story| story.mptcp.is_none_or(|state| state.fallback));
            assert_eq!(fallen, [true, true], "{on:?} {by:?}");
            assert_eq!((seen.server.received, seen.client.received), (PAYLOAD, PAYLOAD));
        }
    }
}

#[test]
fn split_segments_are_twice_as_many() {
    let rule = |chance| Rule { chance, ..Rule::always(Pick::Data(0), Action::Split(700)) };
    let segments =
        |chance| counter(&passed(&case(Protocol::Tcp, Direction::Forward, rule(chance))), Host::Ns2, "Tcp.InSegs");
    let (whole, split) = (segments(0.0), segments(1.0));
    assert!(split - whole > PAYLOAD as i64 / 1448 / 2, "{whole} segments, {split} where all are split");
    passed(&case(Protocol::Mptcp, Direction::Forward, rule(1.0)));
}

#[test]
fn a_lower_mss_makes_segments_small() {
    let rule = Rule::always(Pick::Syn, Action::Clamp(200));
    let seen = passed(&case(Protocol::Tcp, Direction::Forward, rule));
    let segments = counter(&seen, Host::Ns2, "Tcp.OutSegs");
    assert!(segments > PAYLOAD as i64 / 200, "{segments} segments");
}

#[test]
fn marks_are_counted_by_the_receiver() {
    let seen = passed(&case(Protocol::Tcp, Direction::Forward, Rule::always(Pick::Data(0), Action::Mark)));
    assert!(counter(&seen, Host::Ns2, "IpExt.InCEPkts") > 10);
}

#[test]
fn an_altered_byte_passes_tcp_and_not_a_checksum_of_mptcp() {
    let rule = Rule::once(Pick::Data(0), Action::Alter(10));
    let tcp = seen(&case(Protocol::Tcp, Direction::Forward, rule.clone()));
    assert!(tcp.server.mismatch.is_some(), "nothing in TCP catches it");
    assert_eq!(counter(&tcp, Host::Ns2, "Tcp.InCsumErrors"), 0);

    let mut checked = case(Protocol::Mptcp, Direction::Forward, rule);
    checked.hosts.entry(Host::Ns1).or_default().mptcp_checksum = true;
    let seen = seen(&checked);
    assert!(counter(&seen, Host::Ns2, "MPTcpExt.DataCsumErr") > 0);
}

#[test]
fn a_rst_both_ways_ends_the_connection() {
    for protocol in [Protocol::Tcp, Protocol::Mptcp] {
        let rule = Rule::once(Pick::Data(50_000), Action::Reset(Towards::Both));
        let seen = passed(&case(protocol, Direction::Forward, rule));
        assert!(seen.client.error.is_some() || seen.server.error.is_some(), "{protocol}");
        assert!(seen.server.received < PAYLOAD, "{protocol}");
    }
}

#[test]
fn a_refused_syn_is_a_refused_connect() {
    let rule = Rule::once(Pick::Syn, Action::Refuse);
    let seen = passed(&case(Protocol::Tcp, Direction::Forward, rule));
    let error = seen.client.error.expect("the connect fails");
    assert_eq!((error.call.as_str(), error.errno.as_str()), ("connect", "ECONNREFUSED"));
}

#[test]
fn a_dropped_fin_is_sent_again_and_a_held_packet_comes_late() {
    let seen = passed(&case(Protocol::Tcp, Direction::Forward, Rule::once(Pick::Fin, Action::Drop)));
    assert!(counter(&seen, Host::Ns1, "Tcp.RetransSegs") > 0);
    let late = Duration::from_millis(400);
    let seen = passed(&case(Protocol::Tcp, Direction::Backward, Rule::once(Pick::SynAck, Action::Late(late))));
    assert!(seen.timings.transfer >= late, "{:?}", seen.timings);
}
