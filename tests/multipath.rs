//! Several paths: joins carry data, links fail and heal on the way, and what the case asks of paths really happens. Each
//! scenario runs in the host world and, where a kernel for it is installed, in the deterministic one.

mod common;

use std::time::Duration;

use whitewater::case::{
    Action, Case, Direction, Event, Family, First, Happening, Host, Impairments, Leave, Link, LinkId, Manner, Moment,
    PathManager, Pick, PmEndpoint, Protocol, Rate, Removal, Rounds, Rule, Strip, TcpOption, Topology, Towards,
};
use whitewater::observation::{HostStory, Observation, PmEvent, PmEventKind};
use whitewater::payload::Sender;

/// The payload of a scenario's client: about half a second on two slow paths.
const PAYLOAD: u64 = 1_500_000;

/// Two paths that are slow enough for a join to matter; `client` is what ns1's path manager is told to do with the second.
fn two_paths(topology: Topology, endpoint: PmEndpoint) -> Case {
    let mut case = Case { topology, ..Case::default() };
    (case.client.host, case.server.host) = topology.ends().expect("fixed ends");
    (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
    case.client.payload = PAYLOAD;
    // A server that shuts down at once is joined no more.
    case.ending.first = First::Client;
    let slow = Impairments {
        delay: Duration::from_millis(5),
        rate: Some(Rate { kbit: 12_000, queue: 300 }),
        ..Impairments::default()
    };
    for way in topology.ways() {
        case.links.insert(*way, Link { forward: slow.clone(), ..Link::default() });
    }
    let limits = PathManager { subflows: Some(4), accepted: Some(4), ..PathManager::default() };
    for host in [case.client.host, case.server.host] {
        case.hosts.entry(host).or_default().pm = limits.clone();
    }
    let owner = if endpoint.signal { case.server.host } else { case.client.host };
    case.hosts.entry(owner).or_default().pm.endpoints.push(endpoint);
    case
}

fn joining() -> PmEndpoint {
    PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) }
}

fn counter(seen: &Observation, host: Host, name: &str) -> i64 {
    seen.hosts[&host].counters.get(&format!("MPTcpExt.{name}")).copied().unwrap_or(0)
}

/// How much of the payload went into a path from the client's side.
fn forward(seen: &Observation, link: LinkId) -> u64 {
    seen.links[&link].bytes[0]
}

#[test]
fn a_join_from_the_client_carries_data_on_the_second_path() {
    for topology in [Topology::Parallel(2), Topology::Diamond] {
        common::passes_everywhere(&two_paths(topology, joining()), |seen| {
            assert_eq!(counter(seen, Host::Ns1, "MPJoinSynAckRx"), 1);
            for link in [LinkId::Path1, LinkId::Path2] {
                assert!(forward(seen, link) > PAYLOAD / 5, "{link}: {:?}", seen.links);
            }
        });
    }
}

#[test]
fn an_announced_address_is_joined_and_carries_data() {
    let endpoint = PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) };
    common::passes_everywhere(&two_paths(Topology::Parallel(2), endpoint), |seen| {
        assert_eq!(counter(seen, Host::Ns1, "AddAddr"), 1);
        assert!(forward(seen, LinkId::Path2) > PAYLOAD / 5, "{:?}", seen.links);
    });
}

#[test]
fn a_backup_rests_until_the_first_path_fails() {
    let backup = PmEndpoint { backup: true, ..joining() };
    let calm = two_paths(Topology::Parallel(2), backup);
    common::passes_everywhere(&calm, |seen| {
        assert_eq!(counter(seen, Host::Ns2, "MPJoinSynBackupRx"), 1);
        assert!(forward(seen, LinkId::Path2) < 30_000, "{:?}", seen.links);
    });
    let what = Happening::Block { link: LinkId::Path1, lasts: Duration::from_secs(20) };
    let broken = Case { events: vec![Event { when: Moment::Client(PAYLOAD / 3), what }], ..calm };
    common::passes_everywhere(&broken, |seen| assert!(forward(seen, LinkId::Path2) > PAYLOAD / 5, "{:?}", seen.links));
}

#[test]
fn a_link_that_goes_down_on_the_way_costs_no_byte() {
    for lasts in [Duration::from_millis(300), Duration::from_secs(30)] {
        let mut case = two_paths(Topology::Parallel(2), joining());
        let what = Happening::Down { link: LinkId::Path2, lasts };
        case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
        common::passes_everywhere(&case, |seen| {
            assert!(forward(seen, LinkId::Path1) > PAYLOAD / 2, "{:?}", seen.links)
        });
    }
}

#[test]
fn an_endpoint_added_on_the_way_joins_and_one_removed_leaves() {
    let mut case = two_paths(Topology::Parallel(2), PmEndpoint::on(LinkId::Path2));
    case.hosts.entry(Host::Ns1).or_default().pm.endpoints.clear();
    let add = Happening::Add { host: Host::Ns1, endpoint: joining() };
    let remove = Happening::Remove { host: Host::Ns1, link: LinkId::Path2 };
    case.events = vec![
        Event { when: Moment::Client(PAYLOAD / 8), what: add },
        Event { when: Moment::Client(PAYLOAD / 2), what: remove },
    ];
    common::passes_everywhere(&case, |seen| {
        assert_eq!(counter(seen, Host::Ns1, "MPJoinSynAckRx"), 1);
        assert_eq!(counter(seen, Host::Ns2, "RmAddr"), 1);
    });
}

/// `rule` in one direction of the second path; forward is from the client.
fn ruled(endpoint: PmEndpoint, direction: Direction, rule: Rule) -> Case {
    let mut case = two_paths(Topology::Parallel(2), endpoint);
    case.links.entry(LinkId::Path2).or_default().impairments_mut(direction).rules.push(rule);
    case
}

#[test]
fn a_join_that_a_firewall_refuses_or_swallows_leaves_the_connection_alone() {
    let refused = ruled(joining(), Direction::Forward, Rule::once(Pick::Syn, Action::Refuse));
    common::passes_everywhere(&refused, |seen| {
        assert_eq!((counter(seen, Host::Ns1, "MPJoinSynTx"), counter(seen, Host::Ns1, "MPJoinSynAckRx")), (1, 0));
    });
    let on = Pick::Carries(TcpOption::MpJoin);
    common::passes_everywhere(&ruled(joining(), Direction::Forward, Rule::always(on, Action::Drop)), |seen| {
        assert_eq!(counter(seen, Host::Ns2, "MPJoinSynRx"), 0);
        assert!(forward(seen, LinkId::Path1) > PAYLOAD, "{:?}", seen.links);
    });
}

#[test]
fn a_subflow_that_is_reset_midway_loses_nothing_to_the_other() {
    for towards in [Towards::Both, Towards::Receiver, Towards::Sender] {
        let rule = Rule::once(Pick::Data(100_000), Action::Reset(towards));
        common::passes_everywhere(&ruled(joining(), Direction::Forward, rule), |seen| {
            assert!(forward(seen, LinkId::Path1) > PAYLOAD / 2, "{:?}", seen.links);
            let reset = |host: &HostStory| host.counters.get("Tcp.EstabResets").is_some_and(|resets| *resets > 0);
            assert!(seen.hosts.values().any(reset), "{towards}: {:?}", seen.hosts);
            assert_eq!(seen.client.mptcp.map(|state| state.fallback), Some(false));
        });
    }
}

#[test]
fn an_announcement_that_is_lost_is_made_again_and_so_is_one_whose_echo_is() {
    let announcing = PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) };
    let lost = [(Direction::Backward, TcpOption::AddAddr), (Direction::Forward, TcpOption::AddAddrEcho)];
    for (direction, option) in lost {
        let mut case = two_paths(Topology::Parallel(2), announcing);
        let to = case.links.entry(LinkId::Path1).or_default().impairments_mut(direction);
        to.rules.push(Rule::once(Pick::Carries(option), Action::Drop));
        to.rate = Some(Rate { kbit: 4_000, queue: 300 });
        case.hosts.entry(Host::Ns2).or_default().add_addr_timeout = Some(1);
        common::passes_everywhere(&case, |seen| {
            assert_eq!(counter(seen, Host::Ns2, "AddAddrTx"), 2, "{:?}", seen.hosts);
            assert_eq!(counter(seen, Host::Ns2, "MPJoinAckRx"), 1, "{:?}", seen.hosts);
        });
    }
}

#[test]
fn a_path_that_becomes_a_backup_or_is_removed_rests_from_then_on() {
    let (host, link) = (Host::Ns1, LinkId::Path2);
    for what in [Happening::Backup { host, link, on: true }, Happening::Remove { host, link }] {
        let mut case = two_paths(Topology::Parallel(2), joining());
        case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
        common::passes_everywhere(&case, |seen| {
            let before = seen.events[0].bytes[&link][0];
            assert!(before > PAYLOAD / 20, "{:?}", seen.events);
            assert!(forward(seen, link) - before < PAYLOAD / 5, "{:?} {:?}", seen.events, seen.links);
        });
    }
}

#[test]
fn a_changed_byte_costs_its_subflow_and_nothing_else() {
    let mut case = ruled(joining(), Direction::Forward, Rule::once(Pick::Data(100_000), Action::Alter(10)));
    case.hosts.entry(Host::Ns1).or_default().mptcp_checksum = true;
    common::passes_everywhere(&case, |seen| {
        let told = ["DataCsumErr", "MPFailTx", "InfiniteMapTx"].map(|name| counter(seen, Host::Ns2, name));
        assert_eq!((told, counter(seen, Host::Ns1, "MPFailRx")), ([1, 1, 0], 1));
        assert_eq!(seen.server.mptcp.map(|state| state.fallback), Some(false));
    });
}

#[test]
fn a_path_that_loses_its_mappings_or_its_joins_leaves_the_connection_alone() {
    let strip = |option| Action::Strip(Strip { option, by: Removal::Nops });
    let bare = ruled(joining(), Direction::Forward, Rule::always(Pick::Data(100_000), strip(TcpOption::Dss)));
    common::passes_everywhere(&bare, |seen| {
        assert_eq!((counter(seen, Host::Ns2, "MPJoinAckRx"), counter(seen, Host::Ns2, "MPRstTx")), (1, 1));
        assert_eq!(seen.server.mptcp.map(|state| state.fallback), Some(false));
    });
    let opening =
        [(Direction::Forward, Pick::Syn), (Direction::Backward, Pick::SynAck), (Direction::Forward, Pick::ThirdAck)];
    for (direction, on) in opening {
        let case = ruled(joining(), direction, Rule::always(on, strip(TcpOption::MpJoin)));
        common::passes_everywhere(&case, |seen| {
            let joined = [counter(seen, Host::Ns1, "MPJoinSynTx"), counter(seen, Host::Ns2, "MPJoinAckRx")];
            assert_eq!(joined, [1, 0], "{on:?}");
            assert!(forward(seen, LinkId::Path1) > PAYLOAD, "{on:?}: {:?}", seen.links);
        });
    }
}

#[test]
fn leaving_two_paths_with_bytes_unread_resets_both() {
    let mut case = two_paths(Topology::Parallel(2), joining());
    case.ending.leave = Some(Leave { by: Sender::Server, how: Manner::Unread, sent: 0, received: PAYLOAD / 2 });
    common::passes_everywhere(&case, |seen| {
        assert_eq!(counter(seen, Host::Ns2, "MPJoinAckRx"), 1);
        let resets = [(Host::Ns2, "MPFastcloseTx"), (Host::Ns1, "MPFastcloseRx")];
        assert!(resets.iter().all(|(host, name)| counter(seen, *host, name) > 0), "{:?}", seen.hosts);
        assert!(seen.server.left && seen.client.error.is_some());
    });
}

#[test]
fn each_of_several_connections_has_its_join() {
    for reuse in [false, true] {
        let case = Case { rounds: Rounds { count: 3, reuse }, ..two_paths(Topology::Parallel(2), joining()) };
        common::passes_everywhere(&case, |seen| {
            assert_eq!((seen.server.rounds, counter(seen, Host::Ns2, "MPJoinAckRx")), (3, 3));
        });
    }
}

/// Which kinds of events the kernel told on a host.
fn told(seen: &Observation, host: Host) -> Vec<PmEventKind> {
    seen.hosts[&host].pm_events.iter().map(|event| event.kind).collect()
}

#[test]
fn the_kernel_reports_connections_and_subflows() {
    use PmEventKind::{Closed, Created, Established, SubflowEstablished};
    common::passes_everywhere(&two_paths(Topology::Parallel(2), joining()), |seen| {
        for host in [Host::Ns1, Host::Ns2] {
            let told = told(seen, host);
            assert!(!seen.hosts[&host].pm_events_lost);
            for kind in [Created, Established, SubflowEstablished, Closed] {
                assert_eq!(told.iter().filter(|each| **each == kind).count(), 1, "{host} {kind:?}: {told:?}");
            }
        }
    });
}

#[test]
fn the_first_subflow_goes_and_the_others_carry_on() {
    for userspace in [false, true] {
        let mut case = two_paths(Topology::Parallel(2), joining());
        case.hosts.entry(Host::Ns1).or_default().pm.userspace = userspace;
        let what = Happening::Remove { host: Host::Ns1, link: LinkId::Path1 };
        case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
        common::passes_everywhere(&case, |seen| {
            assert_eq!(counter(seen, Host::Ns2, "RmAddr"), 1);
            assert!(forward(seen, LinkId::Path2) > PAYLOAD / 2, "{:?}", seen.links);
            let before = seen.events[0].bytes[&LinkId::Path1][0];
            assert!(forward(seen, LinkId::Path1) - before < PAYLOAD / 5, "{:?} {:?}", seen.events, seen.links);
        });
    }
}

#[test]
fn the_only_subflow_is_never_taken() {
    let mut case = two_paths(Topology::Parallel(2), PmEndpoint::on(LinkId::Path2));
    let what = Happening::Remove { host: Host::Ns1, link: LinkId::Path1 };
    case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
    common::passes_everywhere(&case, |seen| {
        assert_eq!((seen.events.len(), counter(seen, Host::Ns2, "RmAddr")), (1, 0));
    });
}

#[test]
fn flushed_endpoints_leave_the_first_path_alone() {
    let mut case = two_paths(Topology::Parallel(3), joining());
    let more = PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path3) };
    case.hosts.entry(Host::Ns1).or_default().pm.endpoints.push(more);
    case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what: Happening::Flush { host: Host::Ns1 } }];
    common::passes_everywhere(&case, |seen| {
        assert_eq!((counter(seen, Host::Ns2, "MPJoinAckRx"), counter(seen, Host::Ns1, "RmSubflow")), (2, 2));
        let before = &seen.events[0].bytes;
        for link in [LinkId::Path2, LinkId::Path3] {
            assert!(forward(seen, link) - before[&link][0] < PAYLOAD / 5, "{:?} {:?}", seen.events, seen.links);
        }
    });
}

#[test]
fn an_endpoint_that_begins_to_make_a_full_mesh_joins_anew() {
    let mut case = two_paths(Topology::Parallel(2), joining());
    case.hosts.entry(Host::Ns2).or_default().pm.endpoints =
        vec![PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) }];
    let what = Happening::Fullmesh { host: Host::Ns1, link: LinkId::Path2, on: true };
    let plain = case.clone();
    case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
    for world in common::worlds() {
        common::asking::sure(world, || {
            let joins = |case: &Case| counter(&world.run(case, &|_| None).expect("it runs"), Host::Ns2, "MPJoinAckRx");
            let (before, meshed) = (joins(&plain), joins(&case));
            assert!(meshed > before, "{before} joins, {meshed} with a full mesh");
        });
    }
    common::passes_everywhere(&case, |_| ());
}

#[test]
fn all_links_go_down_and_one_comes_back() {
    let mut case = two_paths(Topology::Parallel(2), joining());
    let down = |link, seconds| {
        let what = Happening::Down { link, lasts: Duration::from_secs(seconds) };
        Event { when: Moment::Client(PAYLOAD / 4), what }
    };
    case.events = vec![down(LinkId::Path1, 30), down(LinkId::Path2, 1)];
    common::passes_everywhere(&case, |seen| {
        assert!(forward(seen, LinkId::Path2) > PAYLOAD / 2, "{:?}", seen.links);
    });
}

/// Two paths that a program in user space manages at `host`.
fn in_user_space(host: Host, endpoint: PmEndpoint) -> Case {
    let mut case = two_paths(Topology::Parallel(2), endpoint);
    case.hosts.entry(host).or_default().pm.userspace = true;
    case
}

#[test]
fn a_path_manager_in_user_space_joins_and_announces() {
    let signal = PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) };
    for case in
        [in_user_space(Host::Ns1, joining()), in_user_space(Host::Ns1, signal), in_user_space(Host::Ns2, signal)]
    {
        for family in Family::ALL {
            common::passes_everywhere(&Case { family, ..case.clone() }, |seen| {
                assert_eq!(counter(seen, Host::Ns2, "MPJoinAckRx"), 1, "{family}: {:?}", seen.hosts);
                assert!(forward(seen, LinkId::Path2) > PAYLOAD / 5, "{family}: {:?}", seen.links);
            });
        }
    }
}

#[test]
fn a_path_manager_in_user_space_takes_back_and_destroys_and_prefers() {
    let (host, link) = (Host::Ns1, LinkId::Path2);
    let happenings = [
        (Happening::Remove { host, link }, "RmAddr", 1),
        (Happening::Destroy { host, link }, "RmAddr", 0),
        (Happening::Backup { host, link, on: true }, "MPPrioRx", 1),
    ];
    for (what, name, heard) in happenings {
        let mut case = in_user_space(Host::Ns1, joining());
        case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
        common::passes_everywhere(&case, |seen| {
            assert_eq!(counter(seen, Host::Ns2, name), heard, "{what:?}");
            let before = seen.events[0].bytes[&link][0];
            assert!(before > PAYLOAD / 20, "{:?}", seen.events);
            assert!(forward(seen, link) - before < PAYLOAD / 5, "{what:?} {:?} {:?}", seen.events, seen.links);
        });
    }
}

#[test]
fn a_path_manager_in_user_space_listens_where_it_announces_a_port() {
    let signal = PmEndpoint { signal: true, port: Some(10_100), ..PmEndpoint::on(LinkId::Path2) };
    for family in Family::ALL {
        let mut case = Case { family, ..in_user_space(Host::Ns2, signal) };
        // An IPv6 address with a port has no room beside timestamps, which older kernels do not leave out for it.
        case.hosts.entry(Host::Ns2).or_default().timestamps = family != Family::V6;
        common::passes_everywhere(&case, |seen| {
            let joins = ["MPJoinAckRx", "MPJoinPortAckRx"].map(|name| counter(seen, Host::Ns2, name));
            assert_eq!(joins, [1, 1], "{family}: {:?}", seen.hosts);
            assert!(forward(seen, LinkId::Path2) > PAYLOAD / 5, "{family}: {:?}", seen.links);
        });
    }
}

#[test]
fn a_connection_over_ipv6_is_joined_over_ipv4_and_the_other_way_round() {
    let signal = PmEndpoint { signal: true, other_family: true, ..PmEndpoint::on(LinkId::Path2) };
    let subflow = PmEndpoint { other_family: true, ..joining() };
    let cases = [two_paths(Topology::Parallel(2), signal), in_user_space(Host::Ns1, subflow)];
    for (family, v6) in [(Family::V6, true), (Family::V4Mapped, false)] {
        for case in &cases {
            common::passes_everywhere(&Case { family, ..case.clone() }, |seen| {
                let first =
                    seen.hosts[&Host::Ns1].pm_events.iter().find(|event| event.kind == PmEventKind::Established);
                let joined = |event: &&PmEvent| event.kind == PmEventKind::SubflowEstablished;
                let joined = seen.hosts[&Host::Ns1].pm_events.iter().find(joined);
                let is_v6 = |event: Option<&PmEvent>| {
                    event.and_then(|event| event.local).map(|local| local.ip().to_canonical().is_ipv6())
                };
                assert_eq!((is_v6(first), is_v6(joined)), (Some(v6), Some(!v6)), "{family}: {:?}", seen.hosts);
                assert!(forward(seen, LinkId::Path2) > PAYLOAD / 5, "{family}: {:?}", seen.links);
            });
        }
    }
}

#[test]
fn a_server_that_listens_on_one_address_is_joined_there_alone() {
    let signal = PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) };
    for (endpoint, joins) in [(joining(), 1), (signal, 0)] {
        for family in Family::ALL {
            let case = Case { bound: true, family, ..two_paths(Topology::Parallel(2), endpoint) };
            common::passes_everywhere(&case, |seen| {
                let asked = counter(seen, Host::Ns1, "MPJoinSynTx");
                assert_eq!((asked, counter(seen, Host::Ns2, "MPJoinAckRx")), (1, joins), "{family}: {:?}", seen.hosts);
            });
        }
    }
}

#[test]
fn an_endpoint_takes_the_place_of_the_implicit_one() {
    let signal = PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) };
    let mut case = two_paths(Topology::Parallel(2), signal);
    // The kernel has made an endpoint by itself for the address that the client has joined from.
    let what = Happening::Add { host: Host::Ns1, endpoint: signal };
    case.events = vec![Event { when: Moment::Client(PAYLOAD / 4), what }];
    common::passes_everywhere(&case, |seen| {
        let told = (counter(seen, Host::Ns1, "AddAddrTx"), counter(seen, Host::Ns2, "AddAddr"));
        assert_eq!((counter(seen, Host::Ns2, "MPJoinAckRx"), told), (1, (1, 1)), "{:?}", seen.hosts);
    });
}

#[test]
fn a_scheduler_is_set_and_one_that_the_kernel_lacks_is_named() {
    let scheduled = |name: &str| {
        let mut case = two_paths(Topology::Parallel(2), joining());
        case.hosts.entry(Host::Ns1).or_default().scheduler = Some(name.to_owned());
        case
    };
    common::passes_everywhere(&scheduled("default"), |seen| assert_eq!(counter(seen, Host::Ns2, "MPJoinAckRx"), 1));
    for world in common::worlds() {
        let told = world.run(&scheduled("round-about"), &|_| None).expect_err("no kernel has it").to_string();
        assert!(told.contains("net.mptcp.scheduler") && told.contains("round-about"), "{told}");
    }
}
