//! What a finding's signature says beside what went wrong: the states of a connection that make it another bug.
//!
//! A byte lost by an MPTCP connection that fell back to TCP is not the byte that plain TCP lost. But a fault that has
//! nothing to do with MPTCP may show on such a connection too; so shrinking does not hold on to circumstances
//! ([`Verdict::resembles`]), while grouping does.

use super::{BOTH, Kind, Run, Verdict, middlebox};
use crate::observation::SocketState;
use crate::payload::Sender;

const FAST_OPEN: &str = "TCP Fast Open";

/// Adds them to a verdict about the transfer itself.
pub fn add(run: &Run<'_>, verdict: Verdict) -> Verdict {
    let concerned = matches!(
        verdict.kind,
        Kind::Corrupt | Kind::Truncated | Kind::Extra | Kind::Stalled | Kind::Reset | Kind::Leak
    );
    let found = [
        (falls_back(run) && run.case.is_mptcp(), "fallen back to TCP"),
        (falls_back(run) && !run.case.is_mptcp(), "fallen back to a TCP peer"),
        (falls_back(run) && meets_middlebox(run), "middlebox against DSS"),
        (rests_on_cookie(run), "SYN cookie"),
        (opens_fast(run), FAST_OPEN),
        (verdict.kind == Kind::Stalled && is_full(run), "several subflows, receive memory full"),
        (verdict.kind == Kind::Stalled && waits_for_low_water(run), "SO_RCVLOWAT on MPTCP"),
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

/// Whether a middlebox may make one end fall back to TCP while the other knows nothing of it.
fn meets_middlebox(run: &Run<'_>) -> bool {
    middlebox::strip_midway(run.case) || middlebox::alter(run.case)
}

/// Whether a reader on an MPTCP socket wants to be woken for so many bytes at once only.
fn waits_for_low_water(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| {
        let options = &run.endpoint(side).options;
        run.story(side).mptcp.is_some() && options.rcvlowat.is_some_and(|bytes| bytes > 1)
    })
}

/// Whether an MPTCP socket of several subflows has no memory left to receive into.
fn is_full(run: &Run<'_>) -> bool {
    let detail = |socket: &SocketState, name| socket.details.get(name).copied().unwrap_or(0);
    let full = |socket: &SocketState| {
        socket.protocol == "mptcp"
            && detail(socket, "subflows_total") > 1
            && detail(socket, "mem_rmem_alloc") >= detail(socket, "mem_rcvbuf")
    };
    run.seen.hosts.values().flat_map(|host| &host.stalled_sockets).any(full)
}

/// Whether a connection began with data in its SYN.
fn opens_fast(run: &Run<'_>) -> bool {
    run.counter(Sender::Server, "TcpExt.TCPFastOpenPassive") > 0
}

/// Whether the server made its connection from a SYN cookie.
fn rests_on_cookie(run: &Run<'_>) -> bool {
    run.counter(Sender::Server, "TcpExt.SyncookiesRecv") > 0
}

#[cfg(test)]
mod tests {
    use crate::case::{Case, Protocol, Syncookies};
    use crate::observation::{End, MptcpState};
    use crate::oracle::{healthy, judge};

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
        let fallen = judge(&case, &seen);
        assert_eq!(fallen.signature, format!("{} (fallen back to TCP)", plain.signature));

        case.hosts.entry(case.server.host).or_default().syncookies = Syncookies::Always;
        seen.hosts.entry(case.server.host).or_default().counters.insert("TcpExt.SyncookiesRecv".into(), 1);
        let both = judge(&case, &seen);
        assert_eq!(both.signature, format!("{} (fallen back to TCP, SYN cookie)", plain.signature));
        assert!(plain.resembles(&both.signature) && both.resembles(&fallen.signature));
    }

    #[test]
    fn a_low_water_mark_on_an_mptcp_socket_is_told_of_a_stall() {
        let mut case = Case::default();
        case.client.protocol = Protocol::Mptcp;
        case.server.protocol = Protocol::Mptcp;
        case.client.options.rcvlowat = Some(2048);
        let mut seen = healthy::observation(&case);
        seen.end = End::Stalled { idle: Default::default() };
        assert!(
            judge(&case, &seen).signature.ends_with(" (SO_RCVLOWAT on MPTCP)"),
            "{}",
            judge(&case, &seen).signature
        );
    }

    #[test]
    fn a_pass_has_no_circumstances() {
        let case = Case::default();
        let mut seen = healthy::observation(&case);
        seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
        assert_eq!(judge(&case, &seen).signature, "Pass");
    }
}
