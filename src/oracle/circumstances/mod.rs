//! What a finding's signature says beside what went wrong: the states of a connection that make it another bug.
//!
//! A byte lost by an MPTCP connection that fell back to TCP is not the byte that plain TCP lost. But a fault that has
//! nothing to do with MPTCP may show on such a connection too; so shrinking does not hold on to circumstances
//! ([`Verdict::resembles`]), while grouping does.

mod fallen_back;
pub(super) mod receive_memory;

use crate::case::{Host, Receiving};
use crate::observation::{Contradiction, SocketState};
use crate::oracle::checks::leave;
use crate::oracle::expectation::middlebox;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::{Damage, Sender};
use receive_memory::{detail, sockets};

const FAST_OPEN: &str = "TCP Fast Open";

/// Adds them to a verdict about the transfer itself.
pub fn add(run: &Run<'_>, verdict: Verdict) -> Verdict {
    let concerned = matches!(
        verdict.kind,
        Kind::Corrupt | Kind::Truncated | Kind::Extra | Kind::Stalled | Kind::Reset | Kind::Leak | Kind::Slow
    );
    let stalled = verdict.kind == Kind::Stalled;
    let truncated = verdict.kind == Kind::Truncated;
    let loses = truncated || stalled || matches!(verdict.kind, Kind::Corrupt | Kind::Reset);
    let found = [
        (falls_back(run), how(run)),
        (falls_back(run) && meets_middlebox(run), "middlebox against DSS"),
        (falls_back(run) && drops_behind(run), "NoDSSInWindow"),
        (verdict.kind == Kind::Corrupt && joins_late(run), "subflows joined late"),
        (verdict.kind == Kind::Corrupt && overruns_a_mapping(run), "segments merged beyond a mapping"),
        (verdict.kind == Kind::Corrupt && peeks(run), "MSG_PEEK on MPTCP"),
        (loses && fallen_back::overlaps(run), "segments that overlap"),
        (truncated && fallen_back::ends_at_once(run), "end sent at the fallback"),
        (truncated && fallen_back::closed_unread(run), "closed with bytes unread"),
        (verdict.kind == Kind::Reset && fallen_back::closed_by_the_end(run), "behind its own end"),
        (rests_on_cookie(run), "SYN cookie"),
        (rests_on_cookie(run) && lacks_its_beginning(run), "up to three bytes before the first"),
        (opens_fast(run), FAST_OPEN),
        (stalled && opens_fast(run) && keeps_all_back(run), "not a byte sent"),
        (is_refused_fast(run, stalled), "TCP Fast Open refused"),
        (stalled && receive_memory::full_out_of_order(run), "several subflows, receive memory full"),
        (
            (stalled || verdict.kind == Kind::Leak) && receive_memory::full_of_unchecked(run),
            "DSS checksum, receive memory full",
        ),
        (
            verdict.kind == Kind::Reset && receive_memory::gave_up_out_of_order(run),
            "several subflows, receive memory full",
        ),
        (verdict.kind == Kind::Reset && receive_memory::gave_up_unchecked(run), "DSS checksum, receive memory full"),
        (stalled && receive_memory::full_below_low_water(run), "SO_RCVLOWAT on MPTCP, receive memory full"),
        (
            stalled && receive_memory::shut_below_low_water(run) && !receive_memory::full_below_low_water(run),
            "SO_RCVLOWAT on MPTCP, window shut",
        ),
        (stalled && receive_memory::shut_below_a_segment(run), "window below a segment, not scaled"),
        (stalled && receive_memory::shut_by_out_of_order(run), "window shrunk behind what is out of order"),
        (stalled && receive_memory::both_took_back(run), "both windows taken back"),
        (stalled && heeds_no_data_fin(run), "DATA_FIN that came with old data"),
        (stalled && has_an_old_data_fin(run), "DATA_FIN of the connection before"),
        (stalled && reset_its_last(run), "last subflow reset over a middlebox"),
        (stalled && leave::is_not_told(run), "data for a closed MPTCP socket"),
        (verdict.kind == Kind::Leak && leave::holds_unread(run), "data for a closed MPTCP socket"),
    ];
    // What a socket says of itself after fast open is of another kind, too; all other counters stand for themselves.
    let says = |name: &str| concerned || (verdict.kind == Kind::CounterBroken && name == FAST_OPEN);
    let found: Vec<&str> =
        found.into_iter().filter(|(holds, name)| *holds && says(name)).map(|(_, name)| name).collect();
    verdict.under(&found)
}

/// Whether an MPTCP socket carries its connection over plain TCP, for whatever reason.
pub fn falls_back(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| run.story(side).mptcp.is_some_and(|state| state.fallback))
}

/// How a connection fell back to TCP. One that only one end takes for TCP is in another state than one that both do; and
/// where the server fell back because the end of the handshake had not reached it, data may be under way already.
fn how(run: &Run<'_>) -> &'static str {
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

/// Whether MPTCP has thrown away data that TCP had acknowledged, as outside of its window.
fn drops_behind(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| run.counter(side, "MPTcpExt.NoDSSInWindow") > 0)
}

/// Whether a middlebox may make one end fall back to TCP while the other knows nothing of it.
fn meets_middlebox(run: &Run<'_>) -> bool {
    middlebox::strip_midway(run.case) || middlebox::alter(run.case)
}

/// Whether a connection began with data in its SYN.
fn opens_fast(run: &Run<'_>) -> bool {
    run.counter(Sender::Server, "TcpExt.TCPFastOpenPassive") > 0
}

/// Whether the server did not take the data in a SYN of an MPTCP client, which then sends it again without a mapping: either it lies
/// unread in the subflow, as a stall shows, or it makes the server alone fall back.
fn is_refused_fast(run: &Run<'_>, stalled: bool) -> bool {
    let server = run.endpoint(Sender::Server).host;
    let lies_unread = |socket: &SocketState| detail(socket, "mptcp_subflow") == 1 && socket.receive_queue > 0;
    let unread =
        || sockets(run, "tcp").any(|(host, socket)| host == server && socket.state == "ESTAB" && lies_unread(socket));
    let has_fallen_back = |side| run.story(side).mptcp.is_some_and(|state| state.fallback);
    let alone = has_fallen_back(Sender::Server) && !has_fallen_back(Sender::Client);
    let refused = run.counter(Sender::Client, "TcpExt.TCPFastOpenActiveFail") > 0;
    run.case.is_mptcp() && refused && (alone || stalled && unread())
}

/// Whether the kernel has taken bytes from a server on an MPTCP socket, and sent none of them.
fn keeps_all_back(run: &Run<'_>) -> bool {
    let side = Sender::Server;
    let open = |socket: &SocketState| detail(socket, "mptcp_subflow") == 1 && socket.state == "ESTAB";
    let mut subflows =
        sockets(run, "tcp").filter(|(host, socket)| *host == run.endpoint(side).host && open(socket)).peekable();
    run.story(side).sent > 0 && subflows.peek().is_some() && subflows.all(|(_, it)| detail(it, "bytes_sent") == 0)
}

/// Whether an end does not heed a DATA_FIN, and old data came to it.
fn heeds_no_data_fin(run: &Run<'_>) -> bool {
    unheeding(run).any(|host| counts(run, host, "DuplicateData"))
}

/// Whether an end does not heed a DATA_FIN, and may still have one of its socket's connection before: by a subflow that the
/// path managers ended, which closes in its own time.
fn has_an_old_data_fin(run: &Run<'_>) -> bool {
    let may_have = |host| {
        let ended = counts(run, host, "RmSubflow") || counts(run, host, "RmAddr");
        ended && !counts(run, host, "DuplicateData")
    };
    run.case.rounds.reuse && run.case.rounds.count > 1 && unheeding(run).any(may_have)
}

/// The hosts that have taken all data that their peer has, and do not heed the DATA_FIN behind it, which comes again and again.
fn unheeding<'a>(run: &Run<'a>) -> impl Iterator<Item = Host> {
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

/// Whether an MPTCP socket waits that has reset its last subflow over what a middlebox did, where a fallback was no choice any
/// more because others had joined.
fn reset_its_last(run: &Run<'_>) -> bool {
    let lonely = |host| {
        let subflows = sockets(run, "tcp").any(|(of, it)| of == host && detail(it, "mptcp_subflow") == 1);
        let joined = counts(run, host, "MPJoinAckRx") || counts(run, host, "MPJoinSynAckRx");
        joined && counts(run, host, "MPRstTx") && !subflows
    };
    let waits = |socket: &SocketState| !matches!(socket.state.as_str(), "LISTEN" | "UNCONN");
    meets_middlebox(run) && sockets(run, "mptcp").any(|(host, socket)| waits(socket) && lonely(host))
}

/// Whether a middlebox has made segments that go beyond their mappings, and the kernel has noticed once it had read one.
fn overruns_a_mapping(run: &Run<'_>) -> bool {
    const NOTICED: [&str; 2] = ["MPTcpExt.DSSCorruptionReset", "MPTcpExt.DSSCorruptionFallback"];
    let noticed = BOTH.into_iter().any(|side| NOTICED.iter().any(|name| run.counter(side, name) > 0));
    noticed && middlebox::merge_over(run.case)
}

/// Whether an MSG_PEEK on an MPTCP socket left bytes out: a read tells, or they are missing where the peek was kept.
fn peeks(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let story = run.story(side);
        let lacks = story.mismatch.as_ref().is_some_and(|found| found.kind == Damage::Hole);
        let kept = lacks && run.endpoint(side).io.receive == Receiving::SaveWithPeek;
        let told = story.contradictions.first().is_some_and(|it| it.looks == Contradiction::LEFT_OUT);
        story.mptcp.is_some() && (kept || told)
    })
}

/// Whether the server may have taken subflows in only after data had come over them, while a program held the connection: on
/// another CPU, or on the same where a program may be interrupted, as it never is in virtual time.
fn joins_late(run: &Run<'_>) -> bool {
    let interrupted = run.case.cpus > 1 || !run.seen.timings.exact;
    interrupted && run.counter(Sender::Server, "MPTcpExt.MPJoinAckRx") > 0
}

/// Whether the server made its connection from a SYN cookie.
fn rests_on_cookie(run: &Run<'_>) -> bool {
    run.counter(Sender::Server, "TcpExt.SyncookiesRecv") > 0
}

/// Whether one to three bytes are missing from the beginning of the client's stream: a cookie takes an initial sequence number
/// that is too high by as much.
fn lacks_its_beginning(run: &Run<'_>) -> bool {
    let mismatch = run.story(Sender::Server).mismatch.as_ref();
    mismatch.is_some_and(|found| found.offset == 0 && (1..=3).contains(&found.expected.saturating_sub(found.received)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::case::{Action, Case, Host, Kept, LinkId, Merge, Pick, Protocol, Receiving, Rounds, Rule, Syncookies};
    use crate::observation::{Contradiction, End, MptcpState, SocketState};
    use crate::oracle::{healthy, judge};
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
    fn a_segment_beyond_its_mapping_is_told_where_a_merge_made_it_and_the_kernel_noticed() {
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
    fn a_hole_is_told_of_a_look_alone() {
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
    fn bytes_that_never_left_are_told_of_a_fast_open_alone() {
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
    fn a_last_subflow_that_was_reset_is_told_where_a_middlebox_may_be_the_reason() {
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
            host.stalled_sockets = vec![mptcp_socket("FIN-WAIT-2", &[])];
            host.stalled_sockets.extend(left.then_some(subflow));
            judge(&case, &seen).signature.contains("last subflow reset")
        };
        assert!(looks(true, false, &["MPJoinSynAckRx", "MPRstTx"]));
        let joined = &["MPJoinSynAckRx", "MPRstTx"];
        assert_eq!([looks(false, false, joined), looks(true, true, joined)], [false; 2]);
        assert_eq!([looks(true, false, &joined[..1]), looks(true, false, &joined[1..])], [false; 2]);
    }

    #[test]
    fn a_fast_open_that_was_refused_is_told_of_mptcp() {
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
}
