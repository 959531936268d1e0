//! What middleboxes do is real: counters, socket states and errors of the kernel show it, in every world there is.

mod common;

use std::time::Duration;

use common::asking::sure;
use common::{passes_everywhere, seen_everywhere};
use whitewater::case::{
    Action, Case, Direction, Host, Kept, LinkId, Merge, Outage, Pattern, Pick, Protocol, Rate, Removal, Rule, Strip,
    TcpOption, Towards,
};
use whitewater::observation::Observation;
use whitewater::oracle::{Kind, judge};

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
            let case = case(Protocol::Mptcp, direction, Rule::always(on, strip(TcpOption::Mptcp, by)));
            passes_everywhere(&case, |seen| {
                // A server that was never asked for MPTCP has accepted a socket of TCP.
                let fallen = [&seen.client, &seen.server].map(|story| story.mptcp.is_none_or(|state| state.fallback));
                assert_eq!(fallen, [true, true], "{on:?} {by:?}");
                assert_eq!((seen.server.received, seen.client.received), (PAYLOAD, PAYLOAD));
            });
        }
    }
}

#[test]
fn split_segments_are_twice_as_many() {
    let split = |protocol, chance| {
        let rule = Rule { chance, ..Rule::always(Pick::Data(0), Action::Split(700)) };
        case(protocol, Direction::Forward, rule)
    };
    for world in common::worlds() {
        sure(world, || {
            let segments = |chance| {
                let seen = world.run(&split(Protocol::Tcp, chance), &|_| None).expect("the case runs");
                counter(&seen, Host::Ns2, "Tcp.InSegs")
            };
            let (whole, split) = (segments(0.0), segments(1.0));
            assert!(split - whole > PAYLOAD as i64 / 1448 / 2, "{whole} segments, {split} where all are split");
        });
    }
    passes_everywhere(&split(Protocol::Mptcp, 1.0), |_| ());
}

/// The client sends small segments, 400 bytes at a time, which are merged where `options` says how.
fn merged(protocol: Protocol, options: Option<Kept>) -> Case {
    let small = Rule::always(Pick::SynAck, Action::Clamp(536));
    let mut case = case(protocol, Direction::Backward, small);
    case.client.write.pattern = Pattern::Fixed(400);
    case.client.options.nodelay = true;
    let merge =
        |options| Rule::always(Pick::Data(0), Action::Merge(Merge { within: Duration::from_millis(1), options }));
    case.links.entry(LinkId::Ns1Ns2).or_default().forward.rules.extend(options.map(merge));
    case
}

#[test]
fn merged_segments_are_fewer_and_mptcp_does_not_notice_where_one_mapping_covers_them() {
    for protocol in [Protocol::Tcp, Protocol::Mptcp] {
        for world in common::worlds() {
            sure(world, || {
                let segments = |options| {
                    let case = merged(protocol, options);
                    let seen = world.run(&case, &|_| None).expect("the case runs");
                    assert_eq!(judge(&case, &seen).kind, Kind::Pass, "{seen:#?}");
                    assert!(seen.client.mptcp.is_none_or(|state| !state.fallback), "{seen:#?}");
                    counter(&seen, Host::Ns2, "Tcp.InSegs")
                };
                let (whole, merged) = (segments(None), segments(Some(Kept::Same)));
                assert!(merged < whole * 9 / 10, "{protocol}: {whole} segments, {merged} where they are merged");
            });
        }
    }
}

#[test]
fn where_a_mapping_is_lost_in_a_merge_mptcp_falls_back_and_no_byte_is_wrong() {
    for options in [Kept::First, Kept::Second] {
        passes_everywhere(&merged(Protocol::Mptcp, Some(options)), |seen| {
            let fallen = seen.server.mptcp.is_some_and(|state| state.fallback);
            let reset = seen.server.error.is_some();
            assert!(fallen || reset, "{options:?}: {seen:#?}");
        });
    }
}

#[test]
fn a_lower_mss_makes_segments_small() {
    let rule = Rule::always(Pick::Syn, Action::Clamp(200));
    passes_everywhere(&case(Protocol::Tcp, Direction::Forward, rule), |seen| {
        let segments = counter(seen, Host::Ns2, "Tcp.OutSegs");
        assert!(segments > PAYLOAD as i64 / 200, "{segments} segments");
    });
}

#[test]
fn marks_are_counted_by_the_receiver() {
    let rule = Rule::always(Pick::Data(0), Action::Mark);
    passes_everywhere(&case(Protocol::Tcp, Direction::Forward, rule), |seen| {
        assert!(counter(seen, Host::Ns2, "IpExt.InCEPkts") > 10);
    });
}

#[test]
fn an_altered_byte_passes_tcp_and_not_a_checksum_of_mptcp() {
    let rule = Rule::once(Pick::Data(0), Action::Alter(10));
    seen_everywhere(&case(Protocol::Tcp, Direction::Forward, rule.clone()), |seen| {
        assert!(seen.server.mismatch.is_some(), "nothing in TCP catches it");
        assert_eq!(counter(seen, Host::Ns2, "Tcp.InCsumErrors"), 0);
    });
    let mut checked = case(Protocol::Mptcp, Direction::Forward, rule);
    checked.hosts.entry(Host::Ns1).or_default().mptcp_checksum = true;
    seen_everywhere(&checked, |seen| assert!(counter(seen, Host::Ns2, "MPTcpExt.DataCsumErr") > 0));
}

#[test]
fn a_rst_both_ways_ends_the_connection() {
    for protocol in [Protocol::Tcp, Protocol::Mptcp] {
        let rule = Rule::once(Pick::Data(50_000), Action::Reset(Towards::Both));
        passes_everywhere(&case(protocol, Direction::Forward, rule), |seen| {
            assert!(seen.client.error.is_some() || seen.server.error.is_some(), "{protocol}");
            assert!(seen.server.received < PAYLOAD, "{protocol}");
        });
    }
}

#[test]
fn a_refused_syn_is_a_refused_connect() {
    let rule = Rule::once(Pick::Syn, Action::Refuse);
    passes_everywhere(&case(Protocol::Tcp, Direction::Forward, rule), |seen| {
        let error = seen.client.error.as_ref().expect("the connect fails");
        assert_eq!((error.call.as_str(), error.errno.as_str()), ("connect", "ECONNREFUSED"));
    });
}

#[test]
fn a_dropped_fin_is_sent_again_and_a_held_packet_comes_late() {
    let rule = Rule::once(Pick::Fin, Action::Drop);
    passes_everywhere(&case(Protocol::Tcp, Direction::Forward, rule), |seen| {
        assert!(counter(seen, Host::Ns1, "Tcp.RetransSegs") > 0);
    });
    let late = Duration::from_millis(400);
    let rule = Rule::once(Pick::SynAck, Action::Late(late));
    passes_everywhere(&case(Protocol::Tcp, Direction::Backward, rule), |seen| {
        assert!(seen.timings.transfer >= late, "{:?}", seen.timings);
    });
}

#[test]
fn segments_that_end_the_data_are_lost_by_number_and_sent_again() {
    for (skip, times) in [(0, 2), (1, 1)] {
        let rule = Rule { skip, times: Some(times), ..Rule::always(Pick::DataFin, Action::Drop) };
        passes_everywhere(&case(Protocol::Mptcp, Direction::Forward, rule), |seen| {
            let lost = seen.links[&LinkId::Ns1Ns2].lost;
            assert!(lost == u64::from(times) || skip > 0 && lost <= 1, "{skip} {times}: {lost}");
            assert_eq!((seen.server.received, seen.server.end_of_stream), (PAYLOAD, true));
        });
    }
}

#[test]
fn what_a_link_swallows_for_a_while_comes_once_it_is_healed() {
    let healed = Duration::from_millis(300);
    for protocol in [Protocol::Tcp, Protocol::Mptcp] {
        let mut case = case(protocol, Direction::Forward, Rule::always(Pick::Data(0), Action::Mark));
        let outage = Outage { from: Duration::from_millis(1), to: healed };
        let forward = &mut case.links.entry(LinkId::Ns1Ns2).or_default().forward;
        forward.rules.clear();
        // Slow enough for the outage to come midway.
        (forward.outages, forward.rate) = (vec![outage], Some(Rate { kbit: 20_000, queue: 1000 }));
        passes_everywhere(&case, |seen| {
            assert!(seen.links[&LinkId::Ns1Ns2].lost > 0, "{protocol}");
            assert!(seen.timings.transfer >= healed, "{protocol}: {:?}", seen.timings);
        });
    }
}
