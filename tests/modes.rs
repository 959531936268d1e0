//! What the endpoints of a case do is what the kernel sees of them: counters and calls say so, in every world there is.

mod common;

use std::time::Duration;

use common::asking::sure;
use whitewater::case::{
    Action, Address, Case, Change, Family, First, Host, Io, Leave, LinkId, Manner, Pattern, Pick, PmEndpoint, Protocol,
    Rate, Receiving, Rounds, Rule, Sending, SocketOption, Sysctl, Topology, Way,
};
use whitewater::observation::Observation;
use whitewater::oracle::{Kind, judge};
use whitewater::payload::Sender;
use whitewater::seed::Seed;

fn case(client: Protocol, server: Protocol, bytes: u64) -> Case {
    let mut case = Case { seed: Seed(21), ..Case::default() };
    case.server.host = Host::Ns2;
    (case.client.protocol, case.server.protocol) = (client, server);
    (case.client.payload, case.server.payload) = (bytes, bytes);
    case
}

fn counter(seen: &Observation, host: Host, name: &str) -> i64 {
    seen.hosts[&host].counters.get(name).copied().unwrap_or(0)
}

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Mptcp];

#[test]
fn every_way_to_send_and_receive_works_over_tcp_and_mptcp() {
    for protocol in BOTH {
        for (send, receive) in Sending::ALL.into_iter().zip(Receiving::ALL.into_iter().rev()) {
            let mut case = case(protocol, protocol, 100_000);
            case.client.io = Io { send, receive, inq: true, timestamps: true };
            case.server.io = case.client.io;
            common::passes_everywhere(&case, |seen| {
                let refused = &seen.client.refused_options;
                let may = send == Sending::Zerocopy && protocol == Protocol::Mptcp;
                assert!(refused.is_empty() || may && refused.len() == 1, "{protocol} {send}: {refused:?}");
                let sent = match send {
                    Sending::Send => None,
                    Sending::Gather => Some("sendmsg"),
                    Sending::Sendfile => Some("sendfile"),
                    Sending::Splice => Some("splice to the socket"),
                    Sending::Mmap => Some("send from a mapping"),
                    Sending::Zerocopy if protocol == Protocol::Mptcp => None,
                    Sending::Zerocopy => Some("zerocopy completed"),
                };
                let received: &[&str] = match receive {
                    Receiving::Recv | Receiving::Scatter | Receiving::WaitAll => {
                        &["recvmsg", "TCP_INQ", "SO_TIMESTAMPNS"]
                    }
                    Receiving::SaveWithPeek | Receiving::SaveAfterPeek => &["peek", "recvmsg", "TCP_INQ"],
                    Receiving::Splice => &["splice from the socket"],
                };
                for story in [&seen.client, &seen.server] {
                    for name in sent.iter().chain(received) {
                        let calls = story.calls.get(*name).copied().unwrap_or(0);
                        assert!(calls > 0, "{protocol} {send} {receive}: no {name} in {:?}", story.calls);
                    }
                }
            });
        }
    }
}

#[test]
fn leaving_with_bytes_unread_resets_tcp_and_fastcloses_mptcp() {
    for protocol in BOTH {
        for by in [Sender::Client, Sender::Server] {
            let mut case = case(protocol, protocol, 300_000);
            case.ending.leave = Some(Leave { by, how: Manner::Unread, sent: 1000, received: 1000 });
            // Less than there is to send: neither end is through before the other leaves.
            for end in [&mut case.client, &mut case.server] {
                (end.options.sndbuf, end.options.rcvbuf) = (Some(30_000), Some(30_000));
            }
            common::passes_everywhere(&case, |seen| {
                let (leaver, peer, host) = match by {
                    Sender::Client => (&seen.client, &seen.server, Host::Ns1),
                    Sender::Server => (&seen.server, &seen.client, Host::Ns2),
                };
                assert!(leaver.left && leaver.unread, "{leaver:?}");
                assert!(peer.error.is_some() && peer.received <= leaver.sent, "{peer:?}");
                let fastclose = counter(seen, host, "MPTcpExt.MPFastcloseTx");
                assert_eq!(fastclose > 0, protocol == Protocol::Mptcp, "{protocol} {}: {fastclose}", by.name());
            });
        }
    }
}

#[test]
fn no_time_to_linger_is_a_reset() {
    let mut case = case(Protocol::Tcp, Protocol::Tcp, 0);
    case.client.payload = 100;
    case.ending.leave = Some(Leave { by: Sender::Client, how: Manner::Linger, sent: 100, received: 0 });
    common::passes_everywhere(&case, |seen| {
        let error = seen.server.error.as_ref().expect("the server learns of it");
        let reset = ["ECONNRESET", "EPIPE", "ENOTCONN"].contains(&error.errno.as_str());
        assert!(reset, "{error:?}");
        assert!(counter(seen, Host::Ns1, "Tcp.OutRsts") > 0);
    });
}

#[test]
fn closing_in_place_of_a_shutdown_loses_nothing() {
    for protocol in BOTH {
        let mut case = case(protocol, protocol, 0);
        case.client.payload = 200_000;
        case.ending.leave = Some(Leave { by: Sender::Client, how: Manner::Close, sent: 200_000, received: 0 });
        common::passes_everywhere(&case, |seen| {
            assert!(seen.client.left && !seen.client.shut_down);
            assert_eq!((seen.server.received, seen.server.end_of_stream), (200_000, true));
        });
    }
}

#[test]
fn rounds_are_as_many_connections_on_new_sockets_or_on_one() {
    for protocol in BOTH {
        for reuse in [false, true] {
            let mut case = case(protocol, protocol, 20_000);
            case.rounds = Rounds { count: 3, reuse };
            common::passes_everywhere(&case, |seen| {
                assert_eq!((seen.client.rounds, seen.server.rounds), (3, 3));
                assert_eq!(counter(seen, Host::Ns2, "Tcp.PassiveOpens"), 3);
                if protocol == Protocol::Mptcp {
                    assert_eq!(counter(seen, Host::Ns2, "MPTcpExt.MPCapableSYNRX"), 3);
                }
            });
        }
    }
}

#[test]
fn the_second_connection_sends_data_with_its_syn() {
    for protocol in BOTH {
        let mut case = case(protocol, protocol, 20_000);
        case.rounds.count = 2;
        case.client.options.fastopen = true;
        case.server.options.fastopen = true;
        case.hosts.entry(Host::Ns2).or_default().sysctls.insert(Sysctl::TcpFastopen, 3);
        common::passes_everywhere(&case, |seen| {
            assert_eq!(seen.client.refused_options, Vec::<String>::new());
            assert_eq!(counter(seen, Host::Ns2, "TcpExt.TCPFastOpenCookieReqd"), 1, "{protocol}");
            assert_eq!(counter(seen, Host::Ns1, "TcpExt.TCPFastOpenActive"), 1, "{protocol}");
            assert_eq!(counter(seen, Host::Ns2, "TcpExt.TCPFastOpenPassive"), 1, "{protocol}");
        });
    }
}

#[test]
fn a_server_stands_in_for_the_host_beyond_it() {
    for protocol in BOTH {
        for family in Family::ALL {
            let mut case = Case { family, address: Address::Beyond, ..case(protocol, protocol, 50_000) };
            case.rounds.count = 2;
            common::passes_everywhere(&case, |seen| {
                assert_eq!(counter(seen, Host::Ns2, "Tcp.PassiveOpens"), 2, "{protocol} {family}");
                assert_eq!(counter(seen, Host::Ns4, "Tcp.InSegs"), 0, "{protocol} {family}: it was not ns4's to take");
            });
        }
    }
}

#[test]
fn a_host_without_mptcp_refuses_its_sockets() {
    for host in [Host::Ns1, Host::Ns2] {
        let mut case = case(Protocol::Mptcp, Protocol::Mptcp, 10);
        case.hosts.entry(host).or_default().sysctls.insert(Sysctl::MptcpEnabled, 0);
        common::passes_everywhere(&case, |seen| {
            let story = if host == Host::Ns1 { &seen.client } else { &seen.server };
            assert_eq!(story.error.as_ref().map(|error| error.errno.as_str()), Some("ENOPROTOOPT"));
        });
    }
}

#[test]
fn options_change_on_the_way() {
    for protocol in BOTH {
        let mut case = case(protocol, protocol, 100_000);
        let change = |at, of, option, value| Change { at, of, option, value };
        case.client.options.extra = [(SocketOption::SoMark, 7), (SocketOption::IpTos, 0x10)].into();
        case.client.changes = vec![
            change(0, Way::Sent, SocketOption::TcpCork, 1),
            change(20_000, Way::Sent, SocketOption::SoSndbuf, 8192),
            change(50_000, Way::Sent, SocketOption::TcpCork, 0),
        ];
        common::passes_everywhere(&case, |seen| {
            assert_eq!(seen.client.refused_options, Vec::<String>::new());
            assert_eq!(seen.client.calls.get("options changed"), Some(&3));
        });
    }
}

#[test]
fn a_smaller_segment_means_more_of_them() {
    for protocol in BOTH {
        let mut case = case(protocol, protocol, 0);
        case.client.payload = 100_000;
        case.client.options.maxseg = Some(200);
        common::passes_everywhere(&case, |seen| {
            assert!(counter(seen, Host::Ns1, "Tcp.OutSegs") > 100_000 / 200, "{protocol}");
        });
    }
}

#[test]
fn a_reader_that_waits_for_many_bytes_is_woken_less_often() {
    for protocol in BOTH {
        let reads = |lowest: Option<u32>| {
            let mut case = case(protocol, protocol, 0);
            case.client.payload = 200_000;
            case.client.write.pattern = Pattern::Fixed(1000);
            case.links.entry(LinkId::Ns1Ns2).or_default().forward.rate = Some(Rate { kbit: 10_000, queue: 1000 });
            case.server.io.inq = true;
            case.server.options.rcvlowat = lowest;
            case
        };
        for world in common::worlds() {
            sure(world, || {
                let calls = |lowest| {
                    let seen = world.run(&reads(lowest), &|_| None).expect("the case runs");
                    assert_eq!(seen.server.received, 200_000);
                    seen.server.calls["recvmsg"]
                };
                let (eager, patient) = (calls(None), calls(Some(20_000)));
                assert!(2 * patient < eager, "{protocol}: {eager} reads, {patient} of at least 20000 bytes");
            });
        }
    }
}

/// A hundred bytes each millisecond from the client, which an acknowledgement takes ten to answer.
fn dripping(protocol: Protocol) -> Case {
    let mut case = case(protocol, protocol, 0);
    case.client.payload = 20_000;
    case.client.write.pattern = Pattern::Bursts { chunk: 100, every: 100, rest: Duration::from_millis(1) };
    case.links.entry(LinkId::Ns1Ns2).or_default().backward.delay = Duration::from_millis(10);
    case
}

/// What `count` says of the runs of these cases, in every world.
fn compare<const N: usize>(cases: &[Case; N], count: impl Fn(&Observation) -> i64, check: impl Fn([i64; N])) {
    for world in common::worlds() {
        sure(world, || {
            check(cases.each_ref().map(|case| {
                assert_eq!(case.validate(), Ok(()));
                let seen = world.run(case, &|_| None).expect("the case runs");
                assert_eq!(judge(case, &seen).kind, Kind::Pass, "{seen:#?}");
                assert!(
                    seen.client.mptcp.is_none_or(|state| !state.fallback) && seen.client.refused_options.is_empty()
                );
                count(&seen)
            }));
        });
    }
}

#[test]
fn small_writes_leave_at_once_or_wait_for_an_answer_or_for_a_full_segment() {
    for protocol in BOTH {
        let with = |nodelay, cork| {
            let mut case = dripping(protocol);
            (case.client.options.nodelay, case.client.options.cork) = (nodelay, cork);
            case
        };
        let cases = [with(true, false), with(false, false), with(true, true)];
        let segments = |seen: &Observation| counter(seen, Host::Ns1, "TcpExt.TCPOrigDataSent");
        compare(&cases, segments, |[at_once, nagled, corked]| {
            assert!(at_once >= 200, "{protocol}: {at_once} segments of 200 writes with TCP_NODELAY");
            assert!(nagled < at_once / 4, "{protocol}: {nagled} segments without TCP_NODELAY, {at_once} with it");
            assert!(corked < at_once / 4, "{protocol}: {corked} segments with TCP_CORK, {at_once} without");
        });
    }
}

#[test]
fn a_limit_on_unsent_bytes_makes_writes_small() {
    let with = |lowest| {
        let mut case = case(Protocol::Mptcp, Protocol::Mptcp, 0);
        case.client.payload = 200_000;
        case.client.io.send = Sending::Gather;
        case.client.options.notsent_lowat = lowest;
        case.links.entry(LinkId::Ns1Ns2).or_default().forward.rate = Some(Rate { kbit: 10_000, queue: 1000 });
        case
    };
    let writes = |seen: &Observation| seen.client.calls.get("sendmsg").map_or(0, |calls| *calls as i64);
    compare(&[with(None), with(Some(4096))], writes, |[free, bound]| {
        assert!(bound > 2 * free, "{free} writes, {bound} with TCP_NOTSENT_LOWAT");
    });
}

#[test]
fn subflows_have_the_mark_of_their_socket() {
    let mut case = Case { topology: Topology::Parallel(2), ..case(Protocol::Mptcp, Protocol::Mptcp, 0) };
    case.client.payload = 400_000;
    case.client.options.extra = [(SocketOption::SoMark, 7)].into();
    case.hosts.entry(Host::Ns1).or_default().pm.endpoints =
        vec![PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) }];
    for way in [LinkId::Path1, LinkId::Path2] {
        case.links.entry(way).or_default().forward.rate = Some(Rate { kbit: 10_000, queue: 1000 });
    }
    // A server that shuts down at once is joined no more.
    case.ending.first = First::Client;
    // Who was sent a wrong byte keeps what its sockets were.
    case.server.payload = 100;
    let alter = Rule::once(Pick::Data(0), Action::Alter(10));
    for way in [LinkId::Path1, LinkId::Path2] {
        case.links.entry(way).or_default().backward.rules = vec![alter.clone()];
    }
    common::seen_everywhere(&case, |seen| {
        let subflows = seen.client.sockets.iter().filter(|socket| socket.details.contains_key("mptcp_subflow"));
        let marks: Vec<_> = subflows.map(|socket| socket.details.get("mark")).collect();
        assert!(marks.len() == 2 && marks.iter().all(|mark| *mark == Some(&7)), "{:#?}", seen.client.sockets);
    });
}
