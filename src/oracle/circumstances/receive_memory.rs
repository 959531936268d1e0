//! Full receive memory as the cause of a stall, provided the case itself makes memory scarce.
//!
//! Memory that fills up for no reason in the case excuses nothing: what fills it may be the bug.

use crate::case::{Chunks, Host, Pattern, SocketOption, Sysctl};
use crate::observation::{HostStory, SocketState};
use crate::oracle::expectation::budget;
use crate::oracle::{BOTH, Run};
use crate::payload::Sender;

/// A receive buffer up to this size is small: an MPTCP mapping, which may be as long as the largest packet that TCP builds,
/// may not fit into it.
const SMALL_BUFFER: u64 = 64 << 10;

/// Segments up to this size, TCP's default MSS, take several times as much memory as the data they carry.
const SMALL_SEGMENT: u64 = 536;

/// Whether data that ran ahead on one of several subflows has filled the memory that the data before it needs.
///
/// Some of the subflows may be gone by now.
pub fn full_out_of_order(run: &Run<'_>) -> bool {
    sockets(run, "mptcp").any(|(host, socket)| {
        let several = detail(socket, "subflows_total") > 1 || joined(run, host);
        several && is_full(socket) && (is_scarce(run) || holds_what_is_missing(run, host, socket))
    })
}

/// Whether an MPTCP socket of which everything in order is read, so that all of its memory is out of order, has more that it
/// has not taken over (its backlog, which counts as unread beside the memory).
fn holds_what_is_missing(run: &Run<'_>, host: Host, socket: &SocketState) -> bool {
    BOTH.into_iter().any(|side| {
        run.endpoint(side).host == host
            && run.counter(side, "MPTcpExt.OFOQueue") > 0
            && run.counter(side.peer(), "MPTcpExt.MPTCPRetrans") > 0
            && run.story(side).received == detail(socket, "bytes_received")
            && u64::from(socket.receive_queue) > detail(socket, "mem_rmem_alloc")
    })
}

/// Whether the kernel gave up a connection with several subflows, a minute after its sender had closed, because data that
/// ran ahead filled the memory: [`full_out_of_order`], in a case with more patience than the kernel.
pub fn gave_up_out_of_order(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        was_given_up(run, side)
            && joined(run, run.endpoint(side).host)
            && run.counter(side, "MPTcpExt.OFOQueue") > 0
            && run.counter(side.peer(), "MPTcpExt.MPTCPRetrans") > 0
            && is_scarce(run)
    })
}

/// Whether a reader lost its connection because the kernel of its peer, which was done (perhaps with one of several rounds),
/// gave it up.
pub(super) fn was_given_up(run: &Run<'_>, side: Sender) -> bool {
    let peer = side.peer();
    let ended = run.counter(peer, "MPTcpExt.MPFastcloseTx") > 0;
    let done = run.story(peer).shut_down && run.story(peer).end_of_stream;
    run.story(side).error.is_some() && ended && done
}

/// Whether the memory of a subflow is filled by part of a mapping. With checksums, a mapping is passed on only once all of
/// it has arrived.
pub fn full_of_unchecked(run: &Run<'_>) -> bool {
    let checks =
        |host: Host| sockets(run, "mptcp").any(|(of, socket)| of == host && detail(socket, "csum_enabled") == 1);
    sockets(run, "tcp").any(|(host, socket)| {
        // The kernel counts twice what was asked for (socket(7)).
        let small = detail(socket, "mem_rcvbuf") < 2 * SMALL_BUFFER;
        detail(socket, "mptcp_subflow") == 1 && socket.receive_queue > 0 && is_full(socket) && small && checks(host)
    })
}

/// Whether the kernel gave up a connection with checksums, a minute after its sender had closed, because a mapping did not
/// fit into the memory of its subflow: [`full_of_unchecked`], in a case with more patience than the kernel.
pub fn gave_up_unchecked(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let reader = run.endpoint(side);
        was_given_up(run, side)
            && run.story(side).mptcp.is_some_and(|state| state.checksum)
            && run.counter(side, "TcpExt.TCPRcvQDrop") > 0
            && budget::receive_buffer(reader, &run.case.knobs(reader.host)) <= SMALL_BUFFER
    })
}

/// Whether a reader on an MPTCP socket waits for more bytes at once than its memory holds.
pub fn full_below_low_water(run: &Run<'_>) -> bool {
    let waits = BOTH.into_iter().any(|side| {
        run.story(side).mptcp.is_some() && run.endpoint(side).options.rcvlowat.is_some_and(|bytes| bytes > 1)
    });
    // TCP calls seven eighths memory pressure (tcp_rmem_pressure(), include/net/tcp.h).
    let pressed = |socket: &SocketState| {
        let buffer = detail(socket, "mem_rcvbuf");
        buffer > 0 && detail(socket, "mem_rmem_alloc") > buffer - buffer / 8
    };
    waits && sockets(run, "mptcp").any(|(_, socket)| pressed(socket))
}

/// Whether a reader on an MPTCP socket waits for more bytes at once than its peer may send: the window is smaller than a
/// segment. In that state a TCP socket is readable whatever its low-water mark (tcp_epollin_ready(), include/net/tcp.h).
pub fn shut_below_low_water(run: &Run<'_>) -> bool {
    let waiting = BOTH.into_iter().filter(|side| {
        run.story(*side).mptcp.is_some() && run.endpoint(*side).options.rcvlowat.is_some_and(|bytes| bytes > 1)
    });
    let hosts: Vec<Host> = waiting.map(|side| run.endpoint(side).host).collect();
    let unread =
        |of: Host| sockets(run, "mptcp").any(|(host, socket)| host == of && detail(socket, "mem_rmem_alloc") > 0);
    sockets(run, "tcp").any(|(host, socket)| {
        let shut = detail(socket, "rcv_mss") > 0 && detail(socket, "rcv_wnd") <= detail(socket, "rcv_mss");
        detail(socket, "mptcp_subflow") == 1 && shut && hosts.contains(&host) && unread(host)
    })
}

/// Whether a reader's window stays closed although everything is read: an unscaled window is rounded down to whole
/// segments, and its limit has dropped below one (__tcp_select_window(), net/ipv4/tcp_output.c).
pub fn shut_below_a_segment(run: &Run<'_>) -> bool {
    sockets(run, "tcp").any(|(_, socket)| {
        // The sender's scale in the low four bits, the receiver's above them (struct tcp_info).
        let is_scaled = detail(socket, "wscale") >> 4 > 0;
        let limit = detail(socket, "rcv_ssthresh");
        !is_scaled && socket.receive_queue == 0 && limit > 0 && limit < detail(socket, "rcv_mss")
    })
}

/// Whether a window was shrunk while out-of-order data fills the memory that the missing data needs. A segment that meets a
/// closed window is thrown away, even if it would fill the gap.
pub fn shut_by_out_of_order(run: &Run<'_>) -> bool {
    sockets(run, "tcp").any(|(host, socket)| {
        let may_shrink = run.case.knobs(host).sysctls.get(&Sysctl::TcpShrinkWindow) == Some(&1);
        let waits = socket.receive_queue == 0 && detail(socket, "mem_rmem_alloc") > 0;
        may_shrink && waits && detail(socket, "rcv_wnd") == 0 && detail(socket, "mem_rcvbuf") > 0
    })
}

/// Whether both ends have shrunk the windows they had offered, and so take each other's acknowledgements for old ones: each
/// acknowledgement carries the highest sequence number within the window that its sender knows, and the other end is
/// already beyond it (tcp_acceptable_seq(), net/ipv4/tcp_output.c).
pub fn both_took_back(run: &Run<'_>) -> bool {
    BOTH.into_iter().all(|side| {
        let end = run.endpoint(side);
        let smaller = end.options.rcvbuf_late.is_some()
            || [SocketOption::SoRcvbuf, SocketOption::TcpWindowClamp].iter().any(|it| end.smallest(*it).is_some());
        // Its peer has sent more than its window now allows.
        let peer = run.endpoint(side.peer()).host;
        let beyond = |socket: &SocketState| {
            u64::from(socket.send_queue).saturating_sub(detail(socket, "notsent_bytes")) > detail(socket, "snd_wnd")
        };
        let taken_back =
            || sockets(run, "tcp").any(|(host, socket)| host == peer && socket.state == "ESTAB" && beyond(socket));
        (smaller || taken_back()) && run.counter(side, "TcpExt.TCPACKSkippedSeq") > 0
    })
}

/// Whether a receiver with a small buffer has thrown away data: its sender then waits for timers, perhaps several in a row.
pub fn has_thrown_away(run: &Run<'_>) -> bool {
    const THROWN: [&str; 5] =
        ["TcpExt.TCPZeroWindowDrop", "TcpExt.TCPRcvQDrop", "TcpExt.TCPOFODrop", "TcpExt.RcvPruned", "TcpExt.OfoPruned"];
    BOTH.into_iter().any(|side| {
        let end = run.endpoint(side);
        budget::receive_buffer(end, &run.case.knobs(end.host)) <= SMALL_BUFFER
            && THROWN.iter().any(|name| run.counter(side, name) > 0)
    })
}

/// The sockets of a protocol at the moment of the stall or left behind at the end, each with its host.
pub fn sockets<'a>(run: &Run<'a>, protocol: &'static str) -> impl Iterator<Item = (Host, &'a SocketState)> {
    let of = |story: &'a HostStory| story.stalled_sockets.iter().chain(&story.left_sockets);
    let all = run.seen.hosts.iter().flat_map(move |(host, story)| of(story).map(|socket| (*host, socket)));
    all.filter(move |(_, socket)| socket.protocol == protocol)
}

/// A number that socket diagnosis gives for a socket; 0 if it does not.
pub fn detail(socket: &SocketState, name: &str) -> u64 {
    socket.details.get(name).copied().unwrap_or(0)
}

fn is_full(socket: &SocketState) -> bool {
    let buffer = detail(socket, "mem_rcvbuf");
    buffer > 0 && detail(socket, "mem_rmem_alloc") >= buffer
}

/// Whether a host has ever joined a subflow to a connection.
fn joined(run: &Run<'_>, host: Host) -> bool {
    let counted =
        |name: &str| run.seen.hosts.get(&host).and_then(|story| story.counters.get(name)).is_some_and(|n| *n > 0);
    counted("MPTcpExt.MPJoinAckRx") || counted("MPTcpExt.MPJoinSynAckRx")
}

/// Whether a direction has a small receive buffer, or segments that are mostly overhead.
fn is_scarce(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let (from, to) = (run.endpoint(side), run.endpoint(side.peer()));
        let short = from.options.maxseg.max(to.options.maxseg).is_some_and(|bytes| u64::from(bytes) <= SMALL_SEGMENT);
        // The limit on unsent data bounds each write as well.
        let sysctl = run.case.knobs(from.host).sysctls.get(&Sysctl::TcpNotsentLowat).copied();
        let waits = from.options.notsent_lowat.or(sysctl).is_some_and(|bytes| u64::from(bytes) <= SMALL_SEGMENT);
        let little = waits || writes_little(&from.write);
        budget::receive_buffer(to, &run.case.knobs(to.host)) <= SMALL_BUFFER || short || little
    })
}

/// Whether the receive memory of an MPTCP connection at `side` may fill up at times: its reader pauses, or memory is scarce.
pub fn may_fill(run: &Run<'_>, side: Sender) -> bool {
    let reader = run.endpoint(side);
    let rests = !reader.read.pauses.is_empty() || reader.options.rcvlowat.is_some() || !reader.changes.is_empty();
    let slow = writes_little(&reader.read) || run.case.ending.leave.is_some();
    rests || slow || is_scarce(run)
}

/// Whether many of a writer's calls carry little.
fn writes_little(chunks: &Chunks) -> bool {
    let least = match chunks.pattern {
        Pattern::Whole => return false,
        Pattern::Fixed(size) | Pattern::Bursts { chunk: size, .. } | Pattern::Around { unit: size } => u64::from(size),
        Pattern::Uniform { min, .. } => u64::from(min),
        Pattern::PowersOfTwo { .. } | Pattern::Dribble { .. } => 1,
    };
    least <= SMALL_SEGMENT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::case::{Case, Host, Pattern, Protocol, Sysctl};
    use crate::observation::{CallError, End, MptcpState, Observation, SocketState};
    use crate::oracle::{healthy, judge};

    fn socket(protocol: &str, receive_queue: u32, details: &[(&str, u64)]) -> SocketState {
        let details: BTreeMap<String, u64> = details.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        SocketState { protocol: protocol.into(), receive_queue, details, ..SocketState::default() }
    }

    fn mptcp() -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case
    }

    fn stalled(case: &Case, sockets: &[SocketState], change: impl FnOnce(&mut Observation)) -> String {
        let mut seen = healthy::observation(case);
        seen.end = End::Stalled { idle: Default::default() };
        seen.hosts.entry(Host::Ns1).or_default().stalled_sockets = sockets.to_vec();
        change(&mut seen);
        judge(case, &seen).signature
    }

    fn told(signature: &str) -> &str {
        signature.split_once(" (").map_or("", |(_, circumstances)| circumstances.trim_end_matches(')'))
    }

    #[test]
    fn full_memory_of_several_subflows_is_a_circumstance_if_the_case_makes_it_scarce() {
        let full = [("mem_rmem_alloc", 131_956), ("mem_rcvbuf", 131_072)];
        let two = socket("mptcp", 0, &[&full[..], &[("subflows_total", 2)]].concat());
        let one = socket("mptcp", 0, &[&full[..], &[("subflows_total", 1)]].concat());
        let mut case = mptcp();
        assert_eq!(told(&stalled(&case, std::slice::from_ref(&two), |_| ())), "", "nothing makes memory scarce");
        case.client.write.pattern = Pattern::Uniform { min: 1, max: 6 };
        assert_eq!(told(&stalled(&case, &[two], |_| ())), "several subflows, receive memory full");
        let gone = |seen: &mut Observation| {
            seen.hosts.entry(Host::Ns1).or_default().counters.insert("MPTcpExt.MPJoinAckRx".into(), 1);
        };
        assert_eq!(told(&stalled(&case, std::slice::from_ref(&one), |_| ())), "");
        assert_eq!(told(&stalled(&case, &[one], gone)), "several subflows, receive memory full");
    }

    #[test]
    fn memory_full_of_what_is_out_of_order_is_a_circumstance_if_more_waits_behind_it() {
        let looks = |unread, in_order, again| {
            let details = [
                ("mem_rmem_alloc", 133_298),
                ("mem_rcvbuf", 131_072),
                ("subflows_total", 6),
                ("bytes_received", in_order),
            ];
            let mut case = mptcp();
            (case.client.payload, case.server.payload) = (9000, 9000);
            let signature = stalled(&case, &[socket("mptcp", unread, &details)], |seen| {
                (seen.client.received, seen.client.end_of_stream) = (7000, false);
                let mut count = |host, name: &str, times| {
                    seen.hosts.entry(host).or_default().counters.insert(format!("MPTcpExt.{name}"), times);
                };
                count(Host::Ns1, "OFOQueue", 9);
                count(Host::Ns2, "MPTCPRetrans", again);
            });
            told(&signature).to_owned()
        };
        assert_eq!(looks(334_245, 7000, 1), "several subflows, receive memory full");
        assert_eq!(looks(133_298, 7000, 1), "", "nothing waits");
        assert_eq!(looks(334_245, 8000, 1), "", "something could be read");
        assert_eq!(looks(334_245, 7000, 0), "", "nothing was sent again");
    }

    #[test]
    fn a_part_of_a_mapping_that_fills_the_memory_is_a_circumstance_if_checksums_wait_for_the_rest() {
        let details = [("mem_rmem_alloc", 4352), ("mem_rcvbuf", 4096), ("mptcp_subflow", 1)];
        let (subflow, read) = (socket("tcp", 2848, &details), socket("tcp", 0, &details));
        let checked = |on| socket("mptcp", 0, &[("csum_enabled", on)]);
        let name = "DSS checksum, receive memory full";
        assert_eq!(told(&stalled(&mptcp(), &[subflow.clone(), checked(1)], |_| ())), name);
        let of = |buffer| {
            let details = [("mem_rmem_alloc", buffer), ("mem_rcvbuf", buffer), ("mptcp_subflow", 1)];
            told(&stalled(&mptcp(), &[socket("tcp", 2848, &details), checked(1)], |_| ())).to_owned()
        };
        assert_eq!(
            [of(77_838), of(131_072)],
            [name, ""],
            "twice 38,919 bytes is small, what there is by default is not"
        );
        assert_eq!(told(&stalled(&mptcp(), &[subflow, checked(0)], |_| ())), "");
        assert_eq!(told(&stalled(&mptcp(), &[read, checked(1)], |_| ())), "");
    }

    #[test]
    fn a_connection_given_up_for_that_reason_is_recognised_as_well() {
        let mut case = mptcp();
        case.client.options.rcvbuf_late = Some(3147);
        let mut seen = healthy::observation(&case);
        seen.server.state = "waiting for the next round".into();
        seen.client.error = Some(CallError { call: "recv".into(), errno: "ENOTCONN".into(), sent: 0, received: 0 });
        seen.client.mptcp = Some(MptcpState { remote_key: true, checksum: true, ..MptcpState::default() });
        for (host, counter) in [(Host::Ns1, "TcpExt.TCPRcvQDrop"), (Host::Ns2, "MPTcpExt.MPFastcloseTx")] {
            assert_eq!(told(&judge(&case, &seen).signature), "");
            seen.hosts.entry(host).or_default().counters.insert(counter.into(), 1);
        }
        assert_eq!(told(&judge(&case, &seen).signature), "DSS checksum, receive memory full");
        seen.server.end_of_stream = false;
        assert_eq!(told(&judge(&case, &seen).signature), "", "the server was not done");
    }

    #[test]
    fn a_connection_given_up_for_data_that_ran_ahead_is_recognised_if_memory_is_scarce() {
        let looks = |maxseg, joined| {
            let mut case = mptcp();
            case.client.options.maxseg = Some(maxseg);
            let mut seen = healthy::observation(&case);
            seen.client.error =
                Some(CallError { call: "recv".into(), errno: "ECONNRESET".into(), sent: 0, received: 0 });
            let mut count = |host, name: &str, times| {
                seen.hosts.entry(host).or_default().counters.insert(format!("MPTcpExt.{name}"), times);
            };
            count(Host::Ns1, "MPJoinSynAckRx", joined);
            count(Host::Ns1, "OFOQueue", 9);
            count(Host::Ns2, "MPFastcloseTx", 1);
            count(Host::Ns2, "MPTCPRetrans", 1);
            told(&judge(&case, &seen).signature).to_owned()
        };
        assert_eq!(looks(536, 1), "several subflows, receive memory full");
        assert_eq!([looks(1460, 1), looks(536, 0)], ["", ""]);
    }

    #[test]
    fn a_window_shut_below_the_low_water_mark_is_a_circumstance_if_bytes_wait() {
        let shut = |window, lowat, unread| {
            let mut case = mptcp();
            case.client.options.rcvlowat = lowat;
            let subflow = socket("tcp", 0, &[("mptcp_subflow", 1), ("rcv_mss", 724), ("rcv_wnd", window)]);
            let reader = socket("mptcp", unread, &[("mem_rcvbuf", 8192), ("mem_rmem_alloc", u64::from(unread))]);
            let state = Some(MptcpState { remote_key: true, ..MptcpState::default() });
            told(&stalled(&case, &[subflow, reader], |seen| seen.client.mptcp = state)).to_owned()
        };
        assert_eq!(shut(0, Some(4000), 3000), "SO_RCVLOWAT on MPTCP, window shut");
        assert_eq!(shut(0, Some(4000), 0), "", "nothing to read");
        assert_eq!(shut(0, None, 3000), "");
        assert_eq!(shut(8192, Some(4000), 3000), "");
    }

    #[test]
    fn a_window_below_a_segment_is_a_circumstance_if_unscaled_and_all_is_read() {
        let shut = |wscale, limit, unread| {
            let details = [("wscale", wscale), ("rcv_ssthresh", limit), ("rcv_mss", 724)];
            told(&stalled(&mptcp(), &[socket("tcp", unread, &details)], |_| ())).to_owned()
        };
        assert_eq!(shut(0x07, 666, 0), "window below a segment, not scaled");
        assert_eq!(shut(0x17, 666, 0), "", "a scaled window is not rounded so");
        assert_eq!(shut(0x07, 724, 0), "", "there is room for a segment");
        assert_eq!(shut(0x07, 666, 1), "", "the reader does not read");
    }

    #[test]
    fn a_shrunk_window_is_a_circumstance_if_a_hole_is_behind_it() {
        let shut = |may_shrink, used, window, unread| {
            let mut case = mptcp();
            case.hosts.entry(Host::Ns1).or_default().sysctls.insert(Sysctl::TcpShrinkWindow, may_shrink);
            let details = [("mem_rcvbuf", 4608), ("mem_rmem_alloc", used), ("rcv_wnd", window)];
            told(&stalled(&case, &[socket("tcp", unread, &details)], |_| ())).to_owned()
        };
        assert_eq!(shut(1, 3392, 0, 0), "window shrunk behind what is out of order");
        assert_eq!([shut(0, 3392, 0, 0), shut(1, 0, 0, 0), shut(1, 3392, 1448, 0), shut(1, 3392, 0, 9)], [""; 4]);
    }

    #[test]
    fn shrunk_windows_are_a_circumstance_if_both_were() {
        let looks = |client, server| {
            let mut case = mptcp();
            (case.client.options.rcvbuf_late, case.server.options.rcvbuf_late) = (client, server);
            let skips = |seen: &mut Observation| {
                for host in [Host::Ns1, Host::Ns2] {
                    let counters = &mut seen.hosts.entry(host).or_default().counters;
                    counters.insert("TcpExt.TCPACKSkippedSeq".into(), 7);
                }
            };
            told(&stalled(&case, &[], skips)).to_owned()
        };
        assert_eq!(looks(Some(4096), Some(8192)), "both windows taken back");
        assert_eq!(looks(Some(4096), None), "");
        let sent = |unsent| {
            let skips = |seen: &mut Observation| {
                for host in [Host::Ns1, Host::Ns2] {
                    let details = [("snd_wnd", 58_112), ("notsent_bytes", unsent)];
                    let socket =
                        SocketState { send_queue: 60_311, state: "ESTAB".into(), ..socket("tcp", 0, &details) };
                    let story = seen.hosts.entry(host).or_default();
                    story.stalled_sockets = vec![socket];
                    story.counters.insert("TcpExt.TCPACKSkippedSeq".into(), 7);
                }
            };
            told(&stalled(&mptcp(), &[], skips)).to_owned()
        };
        assert_eq!((sent(191).as_str(), sent(5000).as_str()), ("both windows taken back", ""));
    }

    #[test]
    fn a_low_water_mark_is_a_circumstance_if_memory_is_full_below_it() {
        let name = "SO_RCVLOWAT on MPTCP, receive memory full";
        let buffer = |used| socket("mptcp", 0, &[("mem_rmem_alloc", used), ("mem_rcvbuf", 11_140)]);
        let mut case = mptcp();
        assert_eq!(told(&stalled(&case, &[buffer(11_456)], |_| ())), "");
        case.client.options.rcvlowat = Some(1200);
        assert_eq!(told(&stalled(&case, &[buffer(11_456)], |_| ())), name);
        assert_eq!(told(&stalled(&case, &[buffer(1083)], |_| ())), "", "there is room: somebody forgot to wake it");
    }
}
