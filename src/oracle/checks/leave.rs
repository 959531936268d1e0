//! What it means for the other endpoint, and for the checks of an orderly end, that one endpoint leaves early.

use crate::case::{Leave, Manner, Protocol};
use crate::observation::{CallError, End, SocketState, Story};
use crate::oracle::{Kind, Run, Verdict};
use crate::payload::Sender;

/// Whether this error of `side` is how it learns that the other endpoint has left. A reset that overtakes the SYN/ACK
/// refuses the connection (RFC 9293, section 3.10.7.3).
pub fn explains(run: &Run<'_>, side: Sender, error: &CallError) -> bool {
    let reset = match error.errno.as_str() {
        "ECONNRESET" | "EPIPE" | "ENOTCONN" => true,
        "ECONNREFUSED" => side == Sender::Client && run.expected.may_miss_the_end,
        _ => false,
    };
    reset && run.story(side.peer()).left
}

/// Whether the stream of `side`, of which this many bytes arrived, ended where `side` left.
pub fn ended_there(run: &Run<'_>, side: Sender, received: u64) -> bool {
    let story = run.story(side);
    story.left && received == story.sent
}

/// An endpoint must notice that its peer has left. It must see a reset if bytes were left unread or the peer did not
/// linger, unless the other direction had ended before. Links that lose or reorder packets may lose the peer's last
/// packets, or the connection before it was accepted, so a stall on them is no finding.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let Leave { by, how, .. } = run.case.ending.leave?;
    let (leaver, peer) = (run.story(by), run.story(by.peer()));
    let fallen_back = leaver.mptcp.is_some_and(|state| state.fallback);
    if matches!(run.seen.end, End::Stalled { .. }) && leaver.left {
        if run.expected.may_miss_the_end {
            return Some(Verdict::skip("an endpoint left, and the packet that says so may be lost"));
        }
        if leaver.mptcp.is_some() && is_challenged(run, by.peer()) {
            return Some(Verdict::skip("an endpoint left, and its reset may have come where nothing more was taken"));
        }
    }
    if run.seen.end != End::Finished || !leaver.left || run.expected.may_miss_the_end {
        return None;
    }
    let mptcp = run.endpoint(by).protocol == Protocol::Mptcp;
    let resets = (leaver.unread && !fallen_back) || (how == Manner::Linger && !mptcp);
    if resets && !leaver.shut_down && peer.error.is_none() {
        let looks = format!("{} saw no reset although its peer had left", by.peer().name());
        let what = format!("{looks} after {} bytes sent and {} received", leaver.sent, leaver.received);
        return Some(Verdict::of(Kind::Reset, &looks, what));
    }
    fastclose(run, by, leaver, peer)
}

/// Whether an endpoint has closed its MPTCP socket while its peer still probes a closed window: the kernel accepts data for
/// the closed socket instead of answering with a reset.
pub fn is_not_told(run: &Run<'_>) -> bool {
    let Some(Leave { by, .. }) = run.case.ending.leave else { return false };
    let leaver = run.story(by);
    let Some(peers) = run.seen.hosts.get(&run.endpoint(by.peer()).host) else { return false };
    // The peer has seen the end of the leaver's stream, and nothing else.
    let is_told_the_end = |socket: &SocketState| socket.state == "CLOSE-WAIT";
    let waits = |socket: &SocketState| socket.timer.as_deref() == Some("probe");
    leaver.left
        && leaver.mptcp.is_some()
        && peers.stalled_sockets.iter().any(is_told_the_end)
        && peers.stalled_sockets.iter().any(waits)
}

/// Whether a closed MPTCP socket is left behind with bytes that nobody can read.
pub fn holds_unread(run: &Run<'_>) -> bool {
    let Some(Leave { by, .. }) = run.case.ending.leave else { return false };
    let closed = |socket: &SocketState| socket.protocol == "mptcp" && socket.receive_queue > 0;
    let host = run.seen.hosts.get(&run.endpoint(by).host);
    run.story(by).left && host.is_some_and(|host| host.left_sockets.iter().any(closed))
}

/// Whether a reset may have reached `side` with an unexpected sequence number, because data before it was lost or met a
/// closed window. It is answered with a challenge ACK (RFC 5961 section 3.2) and its option is ignored. The reset that
/// answers the challenge carries no option, so MPTCP takes it for the end of a subflow only.
fn is_challenged(run: &Run<'_>, side: Sender) -> bool {
    const SIGNS: [&str; 3] = ["TcpExt.TCPChallengeACK", "TcpExt.TCPZeroWindowDrop", "TcpExt.TCPRcvQDrop"];
    SIGNS.iter().any(|sign| run.counter(side, sign) > 0)
}

/// Closing an MPTCP connection with bytes unread sends MP_FASTCLOSE (RFC 8684 section 3.5).
fn fastclose(run: &Run<'_>, by: Sender, leaver: &Story, peer: &Story) -> Option<Verdict> {
    let whole = |story: &Story| story.mptcp.is_some_and(|state| !state.fallback && state.remote_key);
    // Once both streams have ended, there is nothing left to reset.
    if leaver.shut_down || !(leaver.unread && whole(leaver) && whole(peer)) {
        return None;
    }
    let sent = Some((by, "MPTcpExt.MPFastcloseTx"));
    let heard = (!is_challenged(run, by.peer())).then_some((by.peer(), "MPTcpExt.MPFastcloseRx"));
    let mut counters = sent.into_iter().chain(heard);
    counters.find(|(side, counter)| run.counter(*side, counter) <= 0).map(|(side, counter)| {
        let looks = format!("{counter} did not move at the {}", side.name());
        Verdict::of(Kind::CounterBroken, &looks, format!("{looks}, although the {} left with bytes unread", by.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Host, Impairments, LinkId, Loss, Reorder, SocketOption};
    use crate::observation::{MptcpState, Observation};
    use crate::oracle::{healthy, judge};

    fn case(how: Manner) -> Case {
        let mut case = Case::default();
        (case.client.payload, case.server.payload) = (1000, 500);
        case.server.host = Host::Ns2;
        case.ending.leave = Some(Leave { by: Sender::Client, how, sent: 300, received: 100 });
        case
    }

    /// The client has left, and the server has learnt of it.
    fn left(case: &Case) -> Observation {
        let mut seen = healthy::observation(case);
        seen.client.left = true;
        (seen.client.sent, seen.client.received) = (300, 100);
        (seen.client.shut_down, seen.client.end_of_stream) = (false, false);
        seen.server.end_of_stream = false;
        (seen.server.received, seen.server.shut_down) = (250, false);
        seen.server.error =
            Some(CallError { call: "recv".into(), errno: "ECONNRESET".into(), sent: 500, received: 250 });
        seen
    }

    #[test]
    fn a_reset_is_how_the_other_end_learns_of_it() {
        let case = case(Manner::Linger);
        assert_eq!(judge(&case, &left(&case)).signature, "Pass");
        let mut own = left(&case);
        own.client.error = own.server.error.clone();
        assert_eq!(judge(&case, &own).signature, "Reset: client lost its connection");
        let mut other = left(&case);
        other.server.error = Some(CallError { call: "recv".into(), errno: "EIO".into(), sent: 0, received: 0 });
        assert_eq!(judge(&case, &other).signature, "Reset: server recv EIO");
    }

    #[test]
    fn a_reset_that_overtakes_the_answer_refuses_the_connection() {
        let mut case = case(Manner::Close);
        (case.ending.leave.as_mut().unwrap().by, case.server.payload) = (Sender::Server, 0);
        let refused = |case: &Case| {
            let mut seen = left(case);
            (seen.client, seen.server) = (seen.server, seen.client);
            let error = CallError { call: "recv".into(), errno: "ECONNREFUSED".into(), sent: 9, received: 0 };
            (seen.client.error, seen.client.received, seen.server.sent) = (Some(error), 0, 0);
            judge(case, &seen).signature
        };
        assert_eq!(refused(&case), "Reset: client recv ECONNREFUSED");
        let reorders = Impairments {
            reorder: Some(Reorder { probability: 0.1, correlation: 0.0, gap: 0 }),
            ..Impairments::default()
        };
        case.links.entry(LinkId::Ns1Ns2).or_default().backward = reorders;
        assert_eq!(refused(&case), "Pass");
    }

    #[test]
    fn an_orderly_end_must_come_after_all_that_was_sent() {
        let case = case(Manner::Close);
        let ended = |received| {
            let mut seen = left(&case);
            seen.server = Story { error: None, end_of_stream: true, shut_down: true, received, ..seen.server };
            judge(&case, &seen).signature
        };
        assert_eq!((ended(300).as_str(), ended(299).as_str()), ("Pass", "Truncated: client>server"));
    }

    #[test]
    fn a_reset_that_must_come_and_does_not_is_a_finding() {
        let case = case(Manner::Linger);
        let mut seen = left(&case);
        seen.server = Story { error: None, end_of_stream: true, shut_down: true, received: 300, ..seen.server };
        assert_eq!(judge(&case, &seen).signature, "Reset: server saw no reset although its peer had left");
    }

    #[test]
    fn mptcp_says_fastclose_to_bytes_unread() {
        let mut case = case(Manner::Unread);
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        let mut seen = left(&case);
        seen.client.unread = true;
        let state = Some(MptcpState { remote_key: true, ..MptcpState::default() });
        (seen.client.mptcp, seen.server.mptcp) = (state, state);
        let broken = "CounterBroken: MPTcpExt.MPFastcloseTx did not move at the client";
        assert_eq!(judge(&case, &seen).signature, broken);
        seen.hosts.entry(Host::Ns1).or_default().counters.insert("MPTcpExt.MPFastcloseTx".into(), 1);
        let unheard = "CounterBroken: MPTcpExt.MPFastcloseRx did not move at the server";
        assert_eq!(judge(&case, &seen).signature, unheard);
        for counter in ["TcpExt.TCPChallengeACK", "TcpExt.TCPZeroWindowDrop", "MPTcpExt.MPFastcloseRx"] {
            let mut seen = seen.clone();
            seen.hosts.entry(Host::Ns2).or_default().counters.insert(counter.into(), 1);
            assert_eq!(judge(&case, &seen).signature, "Pass", "{counter}");
        }
    }

    #[test]
    fn a_peer_that_probes_the_window_of_a_closed_mptcp_socket_is_a_circumstance() {
        let mut case = case(Manner::Close);
        case.client.protocol = Protocol::Mptcp;
        let stalled = |timer: &str| {
            let mut seen = left(&case);
            seen.server.error = None;
            seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
            seen.end = End::Stalled { idle: Default::default() };
            let socket =
                SocketState { state: "CLOSE-WAIT".into(), timer: Some(timer.into()), ..SocketState::default() };
            seen.hosts.entry(Host::Ns2).or_default().stalled_sockets.push(socket);
            judge(&case, &seen).signature
        };
        assert!(stalled("probe").ends_with("(fallen back to a TCP peer, data for a closed MPTCP socket)"));
        assert!(!stalled("retransmit").contains("closed"), "somebody answers no packets: another bug");
    }

    #[test]
    fn a_closed_mptcp_socket_that_goes_on_taking_bytes_is_a_circumstance() {
        let case = case(Manner::Close);
        let behind = |unread| {
            let mut seen = left(&case);
            let sockets = &mut seen.hosts.entry(Host::Ns1).or_default().left_sockets;
            let of = |protocol: &str, state: &str, receive_queue| SocketState {
                protocol: protocol.into(),
                state: state.into(),
                receive_queue,
                ..SocketState::default()
            };
            sockets.extend([of("tcp", "ESTAB", 0), of("mptcp", "FIN-WAIT-2", unread)]);
            seen.server.error = None;
            (seen.server.sent, seen.server.received) = (case.server.payload, seen.client.sent);
            (seen.server.shut_down, seen.server.end_of_stream) = (true, true);
            judge(&case, &seen).signature
        };
        assert_eq!(behind(9), "Leak: tcp socket in ESTAB (data for a closed MPTCP socket)");
        assert_eq!(behind(0), "Leak: tcp socket in ESTAB");
    }

    #[test]
    fn a_stall_is_explained_only_where_the_news_may_be_lost() {
        let mut case = case(Manner::Close);
        let stalled = |case: &Case| {
            let mut seen = left(case);
            seen.server.error = None;
            seen.end = End::Stalled { idle: Default::default() };
            judge(case, &seen).kind
        };
        assert_eq!(stalled(&case), Kind::Stalled);
        case.client.options.extra.insert(SocketOption::TcpQuickack, 0);
        assert_eq!(stalled(&case), Kind::Skip, "reset before the handshake was through");
        case.client.options.extra.clear();
        let shut = |counter: &str| {
            let mut case = case.clone();
            case.client.protocol = Protocol::Mptcp;
            let mut seen = left(&case);
            seen.server.error = None;
            seen.client.mptcp = Some(MptcpState { remote_key: true, ..MptcpState::default() });
            seen.end = End::Stalled { idle: Default::default() };
            seen.hosts.entry(Host::Ns2).or_default().counters.insert(counter.into(), 1);
            judge(&case, &seen).kind
        };
        assert_eq!([shut("TcpExt.TCPZeroWindowDrop"), shut("TcpExt.TCPTimeouts")], [Kind::Skip, Kind::Stalled]);
        let lossy = Impairments { loss: Some(Loss::Independent(0.1)), ..Impairments::default() };
        case.links.entry(LinkId::Ns1Ns2).or_default().forward = lossy;
        assert_eq!(stalled(&case), Kind::Skip);
    }
}
