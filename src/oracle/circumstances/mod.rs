//! Circumstances: what a finding's signature says besides what went wrong, because it makes the finding a different bug.
//!
//! A byte lost by an MPTCP connection that fell back to TCP is not the byte that plain TCP lost. But a bug that has nothing
//! to do with MPTCP may show on such a connection too. So shrinking ignores circumstances ([`Verdict::resembles`]), while
//! grouping does not.

mod fallen_back;
pub(super) mod receive_memory;

use crate::case::{Host, Receiving};
use crate::observation::{Contradiction, SocketState};
use crate::oracle::Kind::{Corrupt, CounterBroken, Extra, Leak, Reset, Slow, Stalled, Truncated};
use crate::oracle::checks::leave;
use crate::oracle::expectation::middlebox;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::{Damage, Sender};
use receive_memory::{detail, sockets};

/// A circumstance, its name in signatures, and the kinds of verdicts that it makes a different bug.
struct Circumstance {
    name: &'static str,
    kinds: &'static [Kind],
    holds: fn(&Run<'_>) -> bool,
}

const fn under(kinds: &'static [Kind], name: &'static str, holds: fn(&Run<'_>) -> bool) -> Circumstance {
    Circumstance { name, kinds, holds }
}

/// The verdicts about the transfer itself.
const TRANSFER: &[Kind] = &[Corrupt, Truncated, Extra, Stalled, Reset, Leak, Slow];

/// Those, and counters: a socket counts in other ways after a fast open.
const COUNTERS_TOO: &[Kind] = &[Corrupt, Truncated, Extra, Stalled, Reset, Leak, Slow, CounterBroken];

/// The verdicts of transfers that lost bytes, or did not come to their end.
const LOSES: &[Kind] = &[Corrupt, Truncated, Stalled, Reset];

/// The circumstances, in the order in which signatures name them, behind [the kind of fallback](kind_of_fallback).
const ALL: &[Circumstance] = &[
    under(TRANSFER, "middlebox against DSS", |run| falls_back(run) && meets_middlebox(run)),
    under(TRANSFER, "keep-alive in the handshake", fallen_back::probed_in_handshake),
    under(TRANSFER, "NoDSSInWindow", |run| falls_back(run) && drops_acknowledged(run)),
    under(&[Corrupt], "subflows joined late", joins_late),
    under(&[Corrupt], "segments merged beyond a mapping", overruns_a_mapping),
    under(&[Corrupt], "MSG_PEEK on MPTCP", peek_leaves_out),
    under(LOSES, "segments that overlap", fallen_back::overlaps),
    under(&[Truncated], "end sent at the fallback", fallen_back::ends_at_once),
    under(&[Truncated], "closed with bytes unread", fallen_back::closed_unread),
    under(&[Reset], "behind its own end", fallen_back::closed_by_the_end),
    under(&[Reset], "a join refused", fallen_back::closed_by_a_join),
    under(&[Reset, Truncated], "a join removed", fallen_back::closed_by_a_removed_join),
    under(TRANSFER, "SYN cookie", uses_syn_cookie),
    under(TRANSFER, "up to three bytes before the first", |run| uses_syn_cookie(run) && lacks_its_beginning(run)),
    under(COUNTERS_TOO, "TCP Fast Open", uses_fast_open),
    under(&[Stalled], "not a byte sent", |run| uses_fast_open(run) && never_sends(run)),
    under(TRANSFER, "TCP Fast Open refused", |run| refuses_fast_open(run) && server_alone_falls_back(run)),
    under(&[Stalled], "TCP Fast Open refused", |run| {
        refuses_fast_open(run) && !server_alone_falls_back(run) && leaves_subflow_unread(run)
    }),
    under(&[Stalled], "several subflows, receive memory full", receive_memory::full_out_of_order),
    under(&[Stalled, Leak], "DSS checksum, receive memory full", receive_memory::full_of_unchecked),
    under(&[Reset], "several subflows, receive memory full", receive_memory::gave_up_out_of_order),
    under(&[Reset], "DSS checksum, receive memory full", receive_memory::gave_up_unchecked),
    under(&[Stalled], "SO_RCVLOWAT on MPTCP, receive memory full", receive_memory::full_below_low_water),
    under(&[Stalled], "SO_RCVLOWAT on MPTCP, window shut", |run| {
        receive_memory::shut_below_low_water(run) && !receive_memory::full_below_low_water(run)
    }),
    under(&[Stalled], "window below a segment, not scaled", receive_memory::shut_below_a_segment),
    under(&[Stalled], "window shrunk behind what is out of order", receive_memory::shut_by_out_of_order),
    under(&[Stalled], "both windows taken back", receive_memory::both_took_back),
    under(&[Stalled], "DATA_FIN that came with old data", ignores_data_fin_after_old_data),
    under(&[Reset], "DATA_FIN that came with old data", gave_up_on_data_fin_after_old_data),
    under(&[Stalled], "DATA_FIN of the connection before", ignores_data_fin_after_another),
    under(&[Stalled], "last subflow reset over a middlebox", reset_its_last_subflow),
    under(&[Stalled], "first subflow removed, none left", forgets_its_first_subflow),
    under(&[Stalled], "data for a closed MPTCP socket", leave::is_not_told),
    under(&[Leak], "data for a closed MPTCP socket", leave::holds_unread),
];

/// Adds the circumstances of a run to its verdict.
pub fn add(run: &Run<'_>, verdict: Verdict) -> Verdict {
    let fallback = (TRANSFER.contains(&verdict.kind) && falls_back(run)).then(|| kind_of_fallback(run));
    let others = ALL.iter().filter(|it| it.kinds.contains(&verdict.kind) && (it.holds)(run)).map(|it| it.name);
    let found: Vec<&str> = fallback.into_iter().chain(others).collect();
    verdict.under(&found)
}

/// Whether an MPTCP socket carries its connection over plain TCP, for whatever reason.
pub fn falls_back(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| run.story(side).mptcp.is_some_and(|state| state.fallback))
}

/// How a connection fell back to TCP: at both ends or only at one, and whether during the handshake. If the server fell back
/// because the end of the handshake had not reached it, data may be under way already.
fn kind_of_fallback(run: &Run<'_>) -> &'static str {
    let still_mptcp = |side| run.story(side).mptcp.is_some_and(|state| !state.fallback);
    let in_handshake = run.counter(Sender::Server, "MPTcpExt.MPCapableFallbackACK") > 0;
    match (run.case.is_mptcp(), BOTH.into_iter().any(still_mptcp), in_handshake) {
        (false, ..) => "fallen back to a TCP peer",
        (true, false, false) => "fallen back to TCP",
        (true, false, true) => "fallen back to TCP in the handshake",
        (true, true, false) => "one end alone fallen back to TCP",
        (true, true, true) => "one end alone fallen back to TCP in the handshake",
    }
}

/// Whether MPTCP has thrown away data as outside its window that TCP had acknowledged.
fn drops_acknowledged(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| run.counter(side, "MPTcpExt.NoDSSInWindow") > 0)
}

/// Whether a middlebox may make one end fall back to TCP without the other one noticing.
fn meets_middlebox(run: &Run<'_>) -> bool {
    middlebox::strip_midway(run.case) || middlebox::alter(run.case)
}

/// Whether a connection began with data in its SYN.
fn uses_fast_open(run: &Run<'_>) -> bool {
    run.counter(Sender::Server, "TcpExt.TCPFastOpenPassive") > 0
}

/// Whether the server did not accept the data in a SYN of an MPTCP client. The client then sends it again without a mapping.
fn refuses_fast_open(run: &Run<'_>) -> bool {
    run.case.is_mptcp() && run.counter(Sender::Client, "TcpExt.TCPFastOpenActiveFail") > 0
}

fn server_alone_falls_back(run: &Run<'_>) -> bool {
    let has_fallen_back = |side| run.story(side).mptcp.is_some_and(|state| state.fallback);
    has_fallen_back(Sender::Server) && !has_fallen_back(Sender::Client)
}

/// Whether data lies unread in a subflow of the server.
fn leaves_subflow_unread(run: &Run<'_>) -> bool {
    let server = run.endpoint(Sender::Server).host;
    let unread = |socket: &SocketState| detail(socket, "mptcp_subflow") == 1 && socket.receive_queue > 0;
    sockets(run, "tcp").any(|(host, socket)| host == server && socket.state == "ESTAB" && unread(socket))
}

/// Whether the kernel has taken bytes from a server on an MPTCP socket, and sent none of them.
fn never_sends(run: &Run<'_>) -> bool {
    let side = Sender::Server;
    let open = |socket: &SocketState| detail(socket, "mptcp_subflow") == 1 && socket.state == "ESTAB";
    let mut subflows =
        sockets(run, "tcp").filter(|(host, socket)| *host == run.endpoint(side).host && open(socket)).peekable();
    run.story(side).sent > 0 && subflows.peek().is_some() && subflows.all(|(_, it)| detail(it, "bytes_sent") == 0)
}

/// Whether an end ignores a DATA_FIN, and old data came to it.
fn ignores_data_fin_after_old_data(run: &Run<'_>) -> bool {
    hosts_that_ignore_data_fin(run).any(|host| counts(run, host, "DuplicateData"))
}

/// Whether the kernel gave up a connection, a minute after its sender had closed, because the other end ignored the DATA_FIN:
/// [`ignores_data_fin_after_old_data`], in a case with more patience than the kernel.
fn gave_up_on_data_fin_after_old_data(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let (reader, sender) = (run.story(side), run.story(side.peer()));
        receive_memory::was_given_up(run, side)
            && !reader.end_of_stream
            && reader.received == sender.sent
            && run.counter(side, "MPTcpExt.DuplicateData") > 0
    })
}

/// Whether an end ignores a DATA_FIN, and may still hold one of its socket's previous connection, from a subflow that a path
/// manager ended and that closes in its own time.
fn ignores_data_fin_after_another(run: &Run<'_>) -> bool {
    let may_have = |host| {
        let ended = counts(run, host, "RmSubflow") || counts(run, host, "RmAddr");
        ended && !counts(run, host, "DuplicateData")
    };
    run.case.rounds.reuse && run.case.rounds.count > 1 && hosts_that_ignore_data_fin(run).any(may_have)
}

/// The hosts that have taken all data of their peer, but ignore the DATA_FIN behind it, which is sent again and again.
fn hosts_that_ignore_data_fin<'a>(run: &Run<'a>) -> impl Iterator<Item = Host> {
    let unacknowledged = |socket: &SocketState| {
        let ends = matches!(socket.state.as_str(), "FIN-WAIT-1" | "CLOSING" | "LAST-ACK");
        let last = detail(socket, "snd_una").wrapping_add(1) == detail(socket, "write_seq");
        (ends && last && detail(socket, "retransmits") > 1).then(|| detail(socket, "snd_una"))
    };
    let ends: Vec<u64> = sockets(run, "mptcp").filter_map(|(_, socket)| unacknowledged(socket)).collect();
    let waits = move |socket: &SocketState| socket.state != "LISTEN" && ends.contains(&detail(socket, "rcv_nxt"));
    sockets(run, "mptcp").filter(move |(_, socket)| waits(socket)).map(|(host, _)| host)
}

fn counts(run: &Run<'_>, host: Host, name: &str) -> bool {
    run.seen.hosts[&host].counters.get(&format!("MPTcpExt.{name}")).is_some_and(|times| *times > 0)
}

/// Whether an MPTCP socket waits although it has reset its last subflow over what a middlebox did. It could not fall back,
/// because other subflows had joined.
fn reset_its_last_subflow(run: &Run<'_>) -> bool {
    let lonely = |host| {
        let joined = counts(run, host, "MPJoinAckRx") || counts(run, host, "MPJoinSynAckRx");
        joined && counts(run, host, "MPRstTx")
    };
    meets_middlebox(run) && waiting_without_subflow(run).any(|(host, _)| lonely(host))
}

/// Whether an MPTCP socket waits without any subflow, and without the timer that would end it, after a path manager has
/// removed its first one. That was still closing when the last one went, and nobody looks when it is closed.
fn forgets_its_first_subflow(run: &Run<'_>) -> bool {
    let removed = |host| counts(run, host, "RmSubflow") || counts(run, host, "RmAddr");
    let loses = run.case.events.iter().any(|event| run.case.loses_its_first(&event.what));
    loses && waiting_without_subflow(run).any(|(host, socket)| socket.timer.is_none() && removed(host))
}

/// The MPTCP sockets that have no subflow, and are not closed for it.
fn waiting_without_subflow<'a>(run: &Run<'a>) -> impl Iterator<Item = (Host, &'a SocketState)> {
    let is_subflow = |it: &SocketState| it.state != "LISTEN" && detail(it, "mptcp_subflow") == 1;
    let with: Vec<Host> = sockets(run, "tcp").filter(|(_, it)| is_subflow(it)).map(|(host, _)| host).collect();
    let waits = |socket: &SocketState| !matches!(socket.state.as_str(), "LISTEN" | "UNCONN");
    sockets(run, "mptcp").filter(move |(host, socket)| waits(socket) && !with.contains(host))
}

/// Whether a middlebox made segments that go beyond their mappings, and the kernel noticed after it had read one.
fn overruns_a_mapping(run: &Run<'_>) -> bool {
    const NOTICED: [&str; 2] = ["MPTcpExt.DSSCorruptionReset", "MPTcpExt.DSSCorruptionFallback"];
    let noticed = BOTH.into_iter().any(|side| NOTICED.iter().any(|name| run.counter(side, name) > 0));
    noticed && middlebox::merge_over(run.case)
}

/// Whether an MSG_PEEK on an MPTCP socket left bytes out: a read shows it, or they are missing from what the peek saved.
fn peek_leaves_out(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let story = run.story(side);
        let lacks = story.mismatch.as_ref().is_some_and(|found| found.kind == Damage::Hole);
        let kept = lacks && run.endpoint(side).io.receive == Receiving::SaveWithPeek;
        let told = story.contradictions.first().is_some_and(|it| it.looks == Contradiction::LEFT_OUT);
        story.mptcp.is_some() && (kept || told)
    })
}

/// Whether the server may have accepted subflows only after data had come over them, because a program held the connection:
/// on another CPU, or on the same one if programs may be interrupted, which never happens in virtual time.
fn joins_late(run: &Run<'_>) -> bool {
    let interrupted = run.case.cpus > 1 || !run.seen.timings.exact;
    interrupted && run.counter(Sender::Server, "MPTcpExt.MPJoinAckRx") > 0
}

/// Whether the server made its connection from a SYN cookie.
fn uses_syn_cookie(run: &Run<'_>) -> bool {
    run.counter(Sender::Server, "TcpExt.SyncookiesRecv") > 0
}

/// Whether one to three bytes are missing at the beginning of the client's stream: the cookie yields an initial sequence
/// number that is too high by as much.
fn lacks_its_beginning(run: &Run<'_>) -> bool {
    let mismatch = run.story(Sender::Server).mismatch.as_ref();
    mismatch.is_some_and(|found| found.offset == 0 && (1..=3).contains(&found.expected.saturating_sub(found.received)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::case::{
        Action, Case, Event, Happening, Host, Kept, LinkId, Merge, Moment, Pick, Protocol, Receiving, Rounds, Rule,
        Syncookies, Topology,
    };
    use crate::observation::{CallError, Contradiction, End, MptcpState, SocketState};
    use crate::oracle::{Kind, healthy, judge};
    use crate::payload::{Damage, Mismatch};

    #[test]
    fn a_fallback_and_a_cookie_are_part_of_the_signature_but_not_of_the_looks() {
        let mut case = Case::default();
        let mut seen = healthy::observation(&case);
        seen.end = End::Stalled { idle: Default::default() };
        let plain = judge(&case, &seen);
        assert!(!plain.signature.contains('('), "{}", plain.signature);

        seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
        let alone = judge(&case, &seen);
        assert_eq!(alone.signature, format!("{} (fallen back to a TCP peer)", plain.signature));

        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        seen.server.mptcp = Some(MptcpState { remote_key: true, ..MptcpState::default() });
        let one = judge(&case, &seen);
        assert_eq!(one.signature, format!("{} (one end alone fallen back to TCP)", plain.signature));
        seen.server.mptcp = seen.client.mptcp;
        let fallen = judge(&case, &seen);
        assert_eq!(fallen.signature, format!("{} (fallen back to TCP)", plain.signature));

        let counters = &mut seen.hosts.entry(case.server.host).or_default().counters;
        counters.insert("MPTcpExt.MPCapableFallbackACK".into(), 1);
        let early = judge(&case, &seen);
        assert_eq!(early.signature, format!("{} (fallen back to TCP in the handshake)", plain.signature));
        seen.hosts.entry(case.server.host).or_default().counters.clear();

        case.hosts.entry(case.server.host).or_default().syncookies = Syncookies::Always;
        seen.hosts.entry(case.server.host).or_default().counters.insert("TcpExt.SyncookiesRecv".into(), 1);
        let both = judge(&case, &seen);
        assert_eq!(both.signature, format!("{} (fallen back to TCP, SYN cookie)", plain.signature));
        assert!(plain.resembles(&both.signature) && both.resembles(&fallen.signature));
    }

    #[test]
    fn subflows_that_join_late_explain_wrong_bytes() {
        let looks = |cpus, joined, exact| {
            let mut case = Case { cpus, ..Case::default() };
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            let mut seen = healthy::observation(&case);
            let (kind, hex) = (Damage::Garbage, String::new());
            seen.server.mismatch = Some(Mismatch { kind, offset: 1, length: 1, expected: 9, received: 9, hex });
            let counters = &mut seen.hosts.entry(case.server.host).or_default().counters;
            counters.insert("MPTcpExt.MPJoinAckRx".into(), joined);
            seen.timings.exact = exact;
            judge(&case, &seen).signature
        };
        for late in [looks(2, 3, true), looks(1, 3, false)] {
            assert!(late.ends_with("(subflows joined late)"), "{late}");
        }
        assert_eq!([looks(1, 3, true), looks(2, 0, true)], [(); 2].map(|()| looks(1, 0, false)));
    }

    #[test]
    fn a_segment_beyond_its_mapping_is_a_circumstance_if_a_merge_made_it_and_the_kernel_noticed() {
        let looks = |options, noticed| {
            let mut case = Case::default();
            case.server.host = Host::Ns2;
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            let merge = Action::Merge(Merge { within: Duration::from_millis(1), options });
            case.links.entry(LinkId::Ns1Ns2).or_default().backward.rules = vec![Rule::once(Pick::Data(0), merge)];
            let mut seen = healthy::observation(&case);
            let (kind, hex) = (Damage::Elsewhere, String::new());
            seen.client.mismatch = Some(Mismatch { kind, offset: 1, length: 1, expected: 9, received: 9, hex });
            let counters = &mut seen.hosts.entry(case.client.host).or_default().counters;
            counters.insert("MPTcpExt.DSSCorruptionReset".into(), noticed);
            judge(&case, &seen).signature.contains("merged beyond a mapping")
        };
        assert!(looks(Kept::First, 1));
        assert_eq!([looks(Kept::First, 0), looks(Kept::Same, 1)], [false; 2]);
    }

    #[test]
    fn a_hole_is_a_circumstance_only_after_a_peek() {
        let looks = |receive, kind| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            case.client.io.receive = receive;
            let mut seen = healthy::observation(&case);
            let hex = String::new();
            seen.client.mismatch = Some(Mismatch { kind, offset: 1, length: 1, expected: 9, received: 8, hex });
            judge(&case, &seen).signature
        };
        let hole = looks(Receiving::SaveWithPeek, Damage::Hole);
        assert_eq!(hole, "Corrupt: hole server>client (MSG_PEEK on MPTCP)");
        assert!(!looks(Receiving::Recv, Damage::Hole).contains("PEEK"));
        assert!(!looks(Receiving::SaveWithPeek, Damage::Garbage).contains("PEEK"));
        let told = |protocol, looks: &str| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (protocol, protocol);
            let mut seen = healthy::observation(&case);
            seen.client.contradictions.push(Contradiction { looks: looks.to_owned(), what: String::new() });
            judge(&case, &seen).signature
        };
        let left_out = "Corrupt: client: a peek left out bytes that a read got (MSG_PEEK on MPTCP)";
        assert_eq!(told(Protocol::Mptcp, Contradiction::LEFT_OUT), left_out);
        assert!(!told(Protocol::Tcp, Contradiction::LEFT_OUT).contains("PEEK"));
        assert!(!told(Protocol::Mptcp, "a read got other bytes than the peek before it").contains("PEEK"));
    }

    #[test]
    fn bytes_that_never_left_are_a_circumstance_only_after_a_fast_open() {
        let looks = |passive, sent: u64| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            let mut seen = healthy::observation(&case);
            seen.end = End::Stalled { idle: Default::default() };
            seen.server.sent = 332;
            let host = seen.hosts.entry(case.server.host).or_default();
            host.counters.insert("TcpExt.TCPFastOpenPassive".into(), passive);
            let details = [("mptcp_subflow", 1), ("bytes_sent", sent)].map(|(name, value)| (name.to_owned(), value));
            let (protocol, state) = ("tcp".into(), "ESTAB".into());
            host.stalled_sockets =
                vec![SocketState { protocol, state, details: details.into(), ..SocketState::default() }];
            judge(&case, &seen).signature
        };
        assert!(looks(1, 0).ends_with("(TCP Fast Open, not a byte sent)"), "{}", looks(1, 0));
        assert!(looks(1, 332).ends_with("(TCP Fast Open)"), "{}", looks(1, 332));
        assert!(!looks(0, 0).contains("not a byte"), "{}", looks(0, 0));
    }

    fn mptcp_socket(state: &str, details: &[(&str, u64)]) -> SocketState {
        SocketState {
            protocol: "mptcp".into(),
            state: state.into(),
            details: details.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            ..SocketState::default()
        }
    }

    #[test]
    fn a_data_fin_is_unheeded_where_it_is_next_comes_again_and_old_data_came() {
        let looks = |next: u64, again: u64, counter: &str, reuse: bool| {
            let mut case = Case::default();
            case.server.host = Host::Ns2;
            case.rounds = Rounds { count: 2, reuse };
            let mut seen = healthy::observation(&case);
            seen.end = End::Stalled { idle: Default::default() };
            let ends = mptcp_socket("FIN-WAIT-1", &[("snd_una", 9), ("write_seq", 10), ("retransmits", again)]);
            seen.hosts.entry(case.client.host).or_default().stalled_sockets = vec![ends];
            let peer = seen.hosts.entry(case.server.host).or_default();
            peer.stalled_sockets = vec![mptcp_socket("ESTAB", &[("rcv_nxt", next)])];
            peer.counters.insert(format!("MPTcpExt.{counter}"), 1);
            let signature = judge(&case, &seen).signature;
            ["DATA_FIN that came with old data", "DATA_FIN of the connection before"].map(|it| signature.contains(it))
        };
        assert_eq!(looks(9, 2, "DuplicateData", false), [true, false]);
        assert_eq!([looks(8, 2, "DuplicateData", false), looks(9, 1, "DuplicateData", false)], [[false; 2]; 2]);
        assert_eq!(looks(9, 2, "RmSubflow", true), [false, true]);
        let others = [looks(9, 2, "RmSubflow", false), looks(9, 2, "OFOQueue", true), looks(8, 2, "RmSubflow", true)];
        assert_eq!(others, [[false; 2]; 3]);
    }

    #[test]
    fn a_reset_of_the_last_subflow_is_a_circumstance_if_a_middlebox_may_be_the_reason() {
        let looks = |altered: bool, left: bool, counters: &[&str]| {
            let mut case = Case::default();
            case.server.host = Host::Ns2;
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            if altered {
                let rule = Rule::once(Pick::Data(0), Action::Alter(9));
                case.links.entry(LinkId::Ns1Ns2).or_default().backward.rules = vec![rule];
            }
            let mut seen = healthy::observation(&case);
            seen.end = End::Stalled { idle: Default::default() };
            let host = seen.hosts.entry(case.client.host).or_default();
            counters.iter().for_each(|name| _ = host.counters.insert(format!("MPTcpExt.{name}"), 1));
            let subflow = SocketState { protocol: "tcp".into(), ..mptcp_socket("ESTAB", &[("mptcp_subflow", 1)]) };
            let listener = SocketState { protocol: "tcp".into(), ..mptcp_socket("LISTEN", &[("mptcp_subflow", 1)]) };
            host.stalled_sockets = vec![mptcp_socket("FIN-WAIT-2", &[]), listener];
            host.stalled_sockets.extend(left.then_some(subflow));
            judge(&case, &seen).signature.contains("last subflow reset")
        };
        assert!(looks(true, false, &["MPJoinSynAckRx", "MPRstTx"]));
        let joined = &["MPJoinSynAckRx", "MPRstTx"];
        assert_eq!([looks(false, false, joined), looks(true, true, joined)], [false; 2]);
        assert_eq!([looks(true, false, &joined[..1]), looks(true, false, &joined[1..])], [false; 2]);
    }

    #[test]
    fn a_removed_first_subflow_that_nobody_looks_after_is_a_circumstance_of_a_stall() {
        let looks = |link, timer: Option<&str>, left: bool, counter: &str| {
            let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            case.server.host = Host::Ns2;
            let what = Happening::Remove { host: Host::Ns1, link };
            case.events = vec![Event { when: Moment::Client(1), what }];
            let mut seen = healthy::observation(&case);
            seen.end = End::Stalled { idle: Default::default() };
            seen.hosts.entry(Host::Ns2).or_default().counters.insert("MPTcpExt.MPJoinRejected".into(), 1);
            let host = seen.hosts.entry(Host::Ns1).or_default();
            host.counters.insert(format!("MPTcpExt.{counter}"), 1);
            let subflow = SocketState { protocol: "tcp".into(), ..mptcp_socket("ESTAB", &[("mptcp_subflow", 1)]) };
            let closed = SocketState { protocol: "tcp".into(), ..mptcp_socket("TIME-WAIT", &[]) };
            let waits = SocketState { timer: timer.map(str::to_owned), ..mptcp_socket("ESTAB", &[]) };
            host.stalled_sockets = vec![waits, if left { subflow } else { closed }];
            judge(&case, &seen)
        };
        let known = |link, timer, left, counter| {
            looks(link, timer, left, counter).signature.ends_with(" (first subflow removed, none left)")
        };
        let first = LinkId::Path1;
        assert!(known(first, None, false, "RmSubflow") && known(first, None, false, "RmAddr"));
        let others = [known(first, None, true, "RmSubflow"), known(first, None, false, "MPRstTx")];
        assert_eq!(others, [false; 2]);
        assert!(!known(LinkId::Path2, None, false, "RmSubflow"));
        assert_eq!(looks(first, Some("keepalive"), false, "RmSubflow").kind, Kind::Skip, "it ends in a minute");
    }

    #[test]
    fn a_refused_fast_open_is_a_circumstance_on_mptcp() {
        let looks = |protocol, failed, receive_queue| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (protocol, protocol);
            case.server.host = Host::Ns2;
            let mut seen = healthy::observation(&case);
            seen.end = End::Stalled { idle: Default::default() };
            let counters = &mut seen.hosts.entry(case.client.host).or_default().counters;
            counters.insert("TcpExt.TCPFastOpenActiveFail".into(), failed);
            let details = [("mptcp_subflow".to_owned(), 1)].into();
            let (protocol, state) = ("tcp".into(), "ESTAB".into());
            seen.hosts.entry(case.server.host).or_default().stalled_sockets =
                vec![SocketState { protocol, state, receive_queue, details, ..SocketState::default() }];
            judge(&case, &seen).signature.contains("(TCP Fast Open refused)")
        };
        assert!(looks(Protocol::Mptcp, 1, 1475));
        let others = [looks(Protocol::Mptcp, 0, 1475), looks(Protocol::Mptcp, 1, 0), looks(Protocol::Tcp, 1, 1475)];
        assert_eq!(others, [false; 3]);
        let alone = |failed, client| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            let mut seen = healthy::observation(&case);
            seen.client.mptcp = Some(MptcpState { fallback: client, ..MptcpState::default() });
            seen.server.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
            let (kind, hex) = (Damage::Shift, String::new());
            seen.server.mismatch = Some(Mismatch { kind, offset: 1, length: 1, expected: 9, received: 9, hex });
            let counters = &mut seen.hosts.entry(case.client.host).or_default().counters;
            counters.insert("TcpExt.TCPFastOpenActiveFail".into(), failed);
            judge(&case, &seen).signature
        };
        let shift = "Corrupt: shift client>server (one end alone fallen back to TCP, TCP Fast Open refused)";
        assert_eq!(alone(1, false), shift);
        assert!([alone(0, false), alone(1, true)].iter().all(|looks| !looks.contains("refused")));
    }

    #[test]
    fn a_pass_has_no_circumstances() {
        let case = Case::default();
        let mut seen = healthy::observation(&case);
        seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
        assert_eq!(judge(&case, &seen).signature, "Pass");
    }

    #[test]
    fn a_data_fin_that_was_ignored_for_a_minute_ends_in_a_reset() {
        let looks = |received: u64, old: i64| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            case.server.host = Host::Ns2;
            case.client.payload = 1000;
            let mut seen = healthy::observation(&case);
            let error = CallError { call: "recv".into(), errno: "ECONNRESET".into(), sent: 0, received };
            (seen.server.error, seen.server.end_of_stream, seen.server.received) = (Some(error), false, received);
            seen.hosts.entry(case.client.host).or_default().counters.insert("MPTcpExt.MPFastcloseTx".into(), 1);
            seen.hosts.entry(case.server.host).or_default().counters.insert("MPTcpExt.DuplicateData".into(), old);
            judge(&case, &seen).signature
        };
        assert_eq!(looks(1000, 37), "Reset: server lost its connection (DATA_FIN that came with old data)");
        assert!([looks(1000, 0), looks(999, 37)].iter().all(|signature| !signature.contains("DATA_FIN")));
    }
}
