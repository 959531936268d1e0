//! Known bugs of Linux after an MPTCP connection has fallen back to TCP, recognised as narrowly as counters and the
//! endpoints' stories allow. docs/findings has the packets and the source of each.

use crate::observation::MptcpState;
use crate::oracle::expectation::middlebox;
use crate::oracle::{BOTH, Run};
use crate::payload::Sender;

/// Counters of a fallback at the beginning of a stream.
const BEGINNINGS: [&str; 2] = ["MPTcpExt.MPCapableDataFallback", "MPTcpExt.MPCapableFallbackACK"];

/// The most that the peer's first window holds: the window of a SYN/ACK is not scaled.
const FIRST_WINDOW: u64 = 65_535;

/// What a SYN carries at the most, in front of that window.
const SYN_DATA: u64 = 1460;

/// Whether a socket that has fallen back received something twice: the kernel puts a segment that overlaps what it has at
/// the wrong place, and throws the rest away or reads it from the wrong byte on.
pub fn overlaps(run: &Run<'_>) -> bool {
    const TWICE: [&str; 3] = ["TcpExt.TCPDSACKOldSent", "TcpExt.TCPDSACKOfoSent", "MPTcpExt.DuplicateData"];
    BOTH.into_iter().any(|side| has_fallen_back(run, side) && TWICE.iter().any(|name| run.counter(side, name) > 0))
}

/// Whether a sender had shut down or closed before it fell back at the beginning of its stream (counted by its own kernel or
/// its peer's). Its FIN then leaves at once, and data not yet handed to TCP, beyond the peer's first window, is lost.
pub fn ends_at_once(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let (sender, reader) = (run.story(side), run.story(side.peer()));
        // A closed socket may fall back later.
        let later = |state: MptcpState| !state.remote_key || run.counter(side, BEGINNINGS[0]) > 0;
        let falls_back = |state: MptcpState| state.fallback || sender.left && later(state);
        sender.mptcp.is_some_and(falls_back)
            && begins_with_it(run)
            && (sender.shut_down || sender.left)
            && reader.end_of_stream
            && reader.received < sender.sent
            && reader.received <= FIRST_WINDOW + data_in_syn(run, side)
    })
}

/// Whether the fallback came at the beginning of a stream. Where a middlebox takes MP_CAPABLE from the first data, it counts as any
/// other.
fn begins_with_it(run: &Run<'_>) -> bool {
    let stripped = middlebox::strip_midway(run.case).then_some("MPTcpExt.DssFallback");
    BEGINNINGS.into_iter().chain(stripped).any(|name| BOTH.into_iter().any(|end| run.counter(end, name) > 0))
}

/// How much of a stream may have come with the SYN, or was refused there and came again: in front of what the window counts.
fn data_in_syn(run: &Run<'_>, side: Sender) -> u64 {
    let taken = run.counter(Sender::Server, "TcpExt.TCPFastOpenPassive") > 0;
    let refused = run.counter(Sender::Client, "TcpExt.TCPFastOpenActiveFail") > 0;
    if side == Sender::Client && (taken || refused) { SYN_DATA } else { 0 }
}

/// Whether a socket that has fallen back was closed with bytes unread, and no reset was sent: its unsent data is thrown away,
/// and its peer reads an orderly end.
pub fn closed_unread(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let (leaver, reader) = (run.story(side), run.story(side.peer()));
        let more = leaver.received < run.endpoint(side.peer()).payload;
        has_fallen_back(run, side) && leaver.left && more && reader.end_of_stream && reader.received < leaver.sent
    })
}

/// Whether a socket that has fallen back got ENOTCONN after it had ended its own stream: the peer's FIN closes its subflow,
/// and the socket with it, before data in the backlog is moved over.
pub fn closed_by_the_end(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let story = run.story(side);
        let not_connected = story.error.as_ref().is_some_and(|error| error.errno == "ENOTCONN" && error.call == "recv");
        has_fallen_back(run, side) && story.shut_down && not_connected
    })
}

/// Whether a socket that has fallen back got the error of a join that its peer refused.
pub fn closed_by_a_join(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let refused = run.story(side).error.as_ref().is_some_and(|error| error.errno == "ECONNREFUSED");
        let asked = run.counter(side, "MPTcpExt.MPJoinSynTx") > run.counter(side, "MPTcpExt.MPJoinSynAckRx");
        has_fallen_back(run, side) && refused && asked
    })
}

/// Whether a socket that has fallen back got the error of a join that its own path manager removed before it was answered.
/// Its peer reads an orderly end.
pub fn closed_by_a_removed_join(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let error = run.story(side).error.as_ref().is_some_and(|error| error.errno == "ECONNRESET");
        let asked = run.counter(side, "MPTcpExt.MPJoinSynTx") > run.counter(side, "MPTcpExt.MPJoinSynAckRx");
        let removed = asked && run.counter(side, "MPTcpExt.RmSubflow") > 0;
        let reset = middlebox::cut(run.case) || run.counter(side.peer(), "Tcp.OutRsts") > 0;
        has_fallen_back(run, side) && error && removed && !reset
    })
}

/// Whether the client alone fell back at the beginning of the stream, and it had sent a keep-alive probe while the server
/// waited for the third packet: the server answers that with an acknowledgement without options of MPTCP.
pub fn probed_in_handshake(run: &Run<'_>) -> bool {
    let (client, server) = (Sender::Client, Sender::Server);
    let alone = has_fallen_back(run, client) && run.story(server).mptcp.is_some_and(|state| !state.fallback);
    alone
        && run.counter(client, BEGINNINGS[0]) > 0
        && run.counter(client, "TcpExt.TCPKeepAlive") > 0
        && run.counter(server, "TcpExt.TCPSynRetrans") > 0
}

fn has_fallen_back(run: &Run<'_>, side: Sender) -> bool {
    run.story(side).mptcp.is_some_and(|state| state.fallback)
}

#[cfg(test)]
mod tests {
    use crate::case::{Action, Case, Host, Leave, LinkId, Manner, Pick, Protocol, Removal, Rule, Strip, TcpOption};
    use crate::observation::{CallError, MptcpState, Observation};
    use crate::oracle::{healthy, judge};
    use crate::payload::{Damage, Mismatch, Sender};

    /// A client on MPTCP, which has fallen back to a TCP server.
    fn fallen_back(payload: u64) -> (Case, Observation) {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        case.client.protocol = Protocol::Mptcp;
        (case.client.payload, case.server.payload) = (payload, payload);
        let mut seen = healthy::observation(&case);
        seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
        (case, seen)
    }

    fn short(expected: u64, received: u64) -> Option<Mismatch> {
        let (kind, length) = (Damage::Truncated, expected - received);
        Some(Mismatch { kind, offset: received, length, expected, received, hex: String::new() })
    }

    fn count(case: &Case, seen: &mut Observation, name: &str) {
        seen.hosts.entry(case.client.host).or_default().counters.insert(name.into(), 1);
    }

    #[test]
    fn what_came_twice_explains_only_what_the_socket_that_fell_back_has_read() {
        let (case, mut seen) = fallen_back(1000);
        (seen.client.received, seen.client.mismatch) = (900, short(1000, 900));
        let plain = "Truncated: server>client (fallen back to a TCP peer)";
        assert_eq!(judge(&case, &seen).signature, plain);
        seen.hosts.entry(case.server.host).or_default().counters.insert("TcpExt.TCPDSACKOldSent".into(), 1);
        assert_eq!(judge(&case, &seen).signature, plain, "the server has not fallen back");
        count(&case, &mut seen, "TcpExt.TCPDSACKOldSent");
        assert!(judge(&case, &seen).signature.ends_with("(fallen back to a TCP peer, segments that overlap)"));
    }

    #[test]
    fn an_early_end_is_a_circumstance_only_at_the_beginning_of_a_stream() {
        let looks = |payload, received, counted: &str| {
            let (case, mut seen) = fallen_back(payload);
            (seen.server.received, seen.server.mismatch) = (received, short(payload, received));
            count(&case, &mut seen, counted);
            judge(&case, &seen).signature
        };
        let fallback = "MPTcpExt.MPCapableDataFallback";
        assert!(looks(70_000, 64_260, fallback).ends_with("(fallen back to a TCP peer, end sent at the fallback)"));
        assert!(!looks(70_000, 64_260, "MPTcpExt.DssFallback").contains("end sent"));
        assert!(!looks(90_000, 80_000, fallback).contains("end sent"));
        let stripped = |action| {
            let (mut case, mut seen) = fallen_back(4097);
            case.server.protocol = Protocol::Mptcp;
            case.links.entry(LinkId::Ns1Ns2).or_default().forward.rules = vec![Rule::once(Pick::Data(0), action)];
            (seen.server.received, seen.server.mismatch) = (2096, short(4097, 2096));
            count(&case, &mut seen, "MPTcpExt.DssFallback");
            judge(&case, &seen).signature.contains("end sent")
        };
        let strip = Action::Strip(Strip { option: TcpOption::MpCapable, by: Removal::Nothing });
        assert_eq!([stripped(strip), stripped(Action::Duplicate)], [true, false]);
        let fast = |received| {
            let (case, mut seen) = fallen_back(70_000);
            (seen.server.received, seen.server.mismatch) = (received, short(70_000, received));
            count(&case, &mut seen, fallback);
            let server = seen.hosts.entry(case.server.host).or_default();
            server.counters.insert("TcpExt.TCPFastOpenPassive".into(), 1);
            judge(&case, &seen).signature.contains("end sent")
        };
        assert!(!looks(70_000, 65_660, fallback).contains("end sent"));
        assert_eq!([fast(65_660), fast(67_000)], [true, false], "1,400 bytes came with the SYN");
    }

    #[test]
    fn an_early_end_is_a_circumstance_after_a_close_before_the_fallback() {
        let looks = |left| {
            let (mut case, mut seen) = fallen_back(20);
            case.server.protocol = Protocol::Mptcp;
            seen.server.mptcp = Some(MptcpState::default());
            (seen.server.left, seen.server.shut_down) = (left, false);
            (seen.client.received, seen.client.mismatch) = (0, short(20, 0));
            count(&case, &mut seen, "MPTcpExt.MPCapableFallbackACK");
            judge(&case, &seen).signature
        };
        assert!(looks(true).contains("end sent at the fallback"), "{}", looks(true));
        assert!(!looks(false).contains("end sent at the fallback"), "{}", looks(false));
        let by_itself = |counted: &str| {
            let (mut case, mut seen) = fallen_back(20);
            case.server.protocol = Protocol::Mptcp;
            seen.client.mptcp = Some(MptcpState { remote_key: true, ..MptcpState::default() });
            (seen.client.left, seen.client.shut_down) = (true, false);
            (seen.server.received, seen.server.mismatch) = (0, short(20, 0));
            seen.hosts.entry(case.server.host).or_default().counters.insert("MPTcpExt.MPCapableFallbackACK".into(), 1);
            count(&case, &mut seen, counted);
            judge(&case, &seen).signature
        };
        let (fell_back, did_not) = (by_itself("MPTcpExt.MPCapableDataFallback"), by_itself("MPTcpExt.MPFailTx"));
        assert!(fell_back.contains("end sent at the fallback"), "{fell_back}");
        assert!(!did_not.contains("end sent at the fallback"), "{did_not}");
    }

    #[test]
    fn a_close_is_a_circumstance_if_bytes_were_unread() {
        let looks = |received| {
            let (mut case, mut seen) = fallen_back(1000);
            case.ending.leave = Some(Leave { by: Sender::Client, how: Manner::Close, sent: 1000, received });
            (seen.client.left, seen.client.received, seen.client.end_of_stream) = (true, received, false);
            (seen.server.received, seen.server.mismatch) = (999, short(1000, 999));
            judge(&case, &seen).signature
        };
        assert!(looks(1).ends_with("(fallen back to a TCP peer, closed with bytes unread)"), "{}", looks(1));
        assert!(!looks(1000).contains("unread"));
    }

    #[test]
    fn enotconn_is_another_bug_before_the_own_stream_has_ended() {
        let looks = |shut_down| {
            let (case, mut seen) = fallen_back(1000);
            let error = CallError { call: "recv".into(), errno: "ENOTCONN".into(), sent: 1000, received: 1000 };
            (seen.client.shut_down, seen.client.end_of_stream, seen.client.error) = (shut_down, false, Some(error));
            judge(&case, &seen).signature
        };
        assert!(looks(true).ends_with("(fallen back to a TCP peer, behind its own end)"), "{}", looks(true));
        assert!(looks(false).ends_with("(fallen back to a TCP peer)"));
    }

    #[test]
    fn a_refusal_is_that_of_a_join_if_one_was_not_answered() {
        let looks = |answered, errno: &str| {
            let (case, mut seen) = fallen_back(1000);
            let error = CallError { call: "send".into(), errno: errno.into(), sent: 900, received: 1 };
            (seen.client.shut_down, seen.client.end_of_stream, seen.client.error) = (false, false, Some(error));
            let counters = &mut seen.hosts.entry(case.client.host).or_default().counters;
            counters.insert("MPTcpExt.MPJoinSynTx".into(), 2);
            counters.insert("MPTcpExt.MPJoinSynAckRx".into(), answered);
            judge(&case, &seen).signature
        };
        let refused = "Reset: client send ECONNREFUSED (fallen back to a TCP peer, a join refused)";
        assert_eq!(looks(1, "ECONNREFUSED"), refused);
        assert!(!looks(2, "ECONNREFUSED").contains("join"));
        assert!(!looks(1, "EIO").contains("join"));
    }

    #[test]
    fn a_removed_join_is_a_circumstance_if_nobody_else_reset_anything() {
        let looks = |removed, resets_of_the_peer| {
            let (case, mut seen) = fallen_back(1000);
            let error = CallError { call: "send".into(), errno: "ECONNRESET".into(), sent: 900, received: 1 };
            (seen.client.shut_down, seen.client.end_of_stream, seen.client.error) = (false, false, Some(error));
            (seen.server.received, seen.server.mismatch) = (900, short(1000, 900));
            let counters = &mut seen.hosts.entry(case.client.host).or_default().counters;
            counters.insert("MPTcpExt.MPJoinSynTx".into(), 1);
            counters.insert("MPTcpExt.RmSubflow".into(), removed);
            let counters = &mut seen.hosts.entry(case.server.host).or_default().counters;
            counters.insert("Tcp.OutRsts".into(), resets_of_the_peer);
            judge(&case, &seen).signature.contains("a join removed")
        };
        assert_eq!([looks(1, 0), looks(0, 0), looks(1, 1)], [true, false, false]);
    }

    #[test]
    fn a_probe_is_a_circumstance_if_the_handshake_took_another_syn_ack() {
        let looks = |probes, again, server_too| {
            let (mut case, mut seen) = fallen_back(1000);
            case.server.protocol = Protocol::Mptcp;
            seen.server.mptcp = Some(MptcpState { fallback: server_too, ..MptcpState::default() });
            (seen.client.received, seen.client.mismatch) = (900, short(1000, 900));
            count(&case, &mut seen, "MPTcpExt.MPCapableDataFallback");
            let counters = &mut seen.hosts.entry(case.client.host).or_default().counters;
            counters.insert("TcpExt.TCPKeepAlive".into(), probes);
            let counters = &mut seen.hosts.entry(case.server.host).or_default().counters;
            counters.insert("TcpExt.TCPSynRetrans".into(), again);
            judge(&case, &seen).signature.contains("keep-alive in the handshake")
        };
        assert!(looks(1, 1, false));
        assert_eq!([looks(0, 1, false), looks(1, 0, false), looks(1, 1, true)], [false; 3]);
    }
}
