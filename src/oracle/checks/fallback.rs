//! Whether MPTCP fell back to TCP although nothing in the case explains it: UnexpectedFallback.

use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Counters that move when a connection falls back (net/mptcp/mib.c). Newer kernels have more of them.
const SIGNS: [&str; 9] = [
    "MPCapableFallbackACK",
    "MPCapableFallbackSYNACK",
    "MPCapableDataFallback",
    "MPFallbackTokenInit",
    "DSSCorruptionFallback",
    "DssFallback",
    "SimultConnectFallback",
    "MD5SigFallback",
    "InfiniteMapRx",
];

/// Looks at both ends of a connection that had to be MPTCP.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    if run.expected.may_become_tcp || too_slow(run) || closed_at_once(run) {
        return None;
    }
    BOTH.into_iter()
        .find_map(|side| reported(run, side))
        .or_else(|| BOTH.into_iter().find_map(|side| counted(run, side)))
}

/// Whether the machine was so slow that SYNs were sent again: from the third on they no longer ask for MPTCP.
pub fn too_slow(run: &Run<'_>) -> bool {
    BOTH.into_iter().any(|side| run.counter(side, "TcpExt.TCPSynRetrans") > 0)
}

/// Whether an endpoint left with MP_FASTCLOSE before it had sent anything else. The handshake is not yet confirmed to its
/// peer, which takes the packet for plain TCP (check_fully_established(), net/mptcp/options.c).
fn closed_at_once(run: &Run<'_>) -> bool {
    let Some(leave) = run.case.ending.leave else { return false };
    run.story(leave.by).sent == 0 && run.counter(leave.by, "MPTcpExt.MPFastcloseTx") > 0
}

/// Whether the connection was TCP before any data could be checked.
pub fn at_the_handshake(run: &Run<'_>) -> bool {
    const HANDSHAKE: [&str; 4] =
        ["MPCapableFallbackACK", "MPCapableFallbackSYNACK", "MPCapableDataFallback", "MPFallbackTokenInit"];
    let counted = |side| HANDSHAKE.iter().any(|sign| run.counter(side, &format!("MPTcpExt.{sign}")) > 0);
    BOTH.into_iter().any(counted)
}

/// A fallback that the socket itself reports.
fn reported(run: &Run<'_>, side: Sender) -> Option<Verdict> {
    let state = run.story(side).mptcp?;
    let looks = match (state.fallback, state.remote_key) {
        (true, _) => "fell back",
        (false, false) => "never got the peer's key",
        (false, true) => return None,
    };
    let what = format!("the {} {looks}, and nothing in the case explains it", side.name());
    Some(Verdict::of(Kind::UnexpectedFallback, &format!("{} {looks}", side.name()), what))
}

/// A fallback that the kernel counted.
fn counted(run: &Run<'_>, side: Sender) -> Option<Verdict> {
    let sign = SIGNS.iter().find(|sign| run.counter(side, &format!("MPTcpExt.{sign}")) > 0)?;
    let what = format!("the {}'s host counted MPTcpExt.{sign}, and nothing in the case explains it", side.name());
    Some(Verdict::of(Kind::UnexpectedFallback, &format!("{} MPTcpExt.{sign}", side.name()), what))
}

#[cfg(test)]
mod tests {
    use crate::case::{Case, Host, Impairments, Leave, LinkId, Loss, Manner, Protocol};
    use crate::observation::{MptcpState, Observation};
    use crate::oracle::{healthy, judge};
    use crate::payload::Sender;

    fn mptcp() -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        case.client.protocol = Protocol::Mptcp;
        case.server.protocol = Protocol::Mptcp;
        case
    }

    fn judged(case: &Case, change: impl FnOnce(&mut Observation)) -> String {
        let mut seen = healthy::observation(case);
        change(&mut seen);
        judge(case, &seen).signature
    }

    fn fallen_back(seen: &mut Observation) {
        seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
    }

    #[test]
    fn a_fallback_of_a_clean_case_is_found() {
        assert_eq!(judged(&mptcp(), fallen_back), "UnexpectedFallback: client fell back");
    }

    #[test]
    fn a_missing_key_is_a_fallback() {
        let keyless = |seen: &mut Observation| seen.server.mptcp = Some(MptcpState::default());
        assert_eq!(judged(&mptcp(), keyless), "UnexpectedFallback: server never got the peer's key");
    }

    #[test]
    fn a_counter_alone_shows_a_fallback_too() {
        let counted = |seen: &mut Observation| {
            seen.hosts.entry(Host::Ns2).or_default().counters.insert("MPTcpExt.MPCapableFallbackACK".into(), 1);
        };
        assert_eq!(judged(&mptcp(), counted), "UnexpectedFallback: server MPTcpExt.MPCapableFallbackACK");
    }

    #[test]
    fn an_endpoint_that_closes_at_once_with_a_reset_explains_it() {
        let judged = |sent, closed| {
            let mut case = mptcp();
            (case.client.payload, case.server.payload) = (0, 0);
            case.ending.leave = Some(Leave { by: Sender::Server, how: Manner::Linger, sent: 0, received: 0 });
            let change = |seen: &mut Observation| {
                fallen_back(seen);
                (seen.server.left, seen.server.sent) = (true, sent);
                seen.hosts.entry(Host::Ns2).or_default().counters.insert("MPTcpExt.MPFastcloseTx".into(), closed);
            };
            judged(&case, change).starts_with("UnexpectedFallback")
        };
        assert_eq!([judged(0, 1), judged(0, 0), judged(1, 1)], [false, true, true]);
    }

    #[test]
    fn two_cpus_loss_a_tcp_peer_or_a_slow_machine_explain_it() {
        let cpus = Case { cpus: 2, ..mptcp() };
        assert_eq!(judged(&cpus, fallen_back), "Pass");
        let mut lossy = mptcp();
        lossy.links.entry(LinkId::Ns1Ns2).or_default().backward =
            Impairments { loss: Some(Loss::Independent(0.01)), ..Impairments::default() };
        assert_eq!(judged(&lossy, fallen_back), "Pass");
        let mut half = mptcp();
        half.server.protocol = Protocol::Tcp;
        assert_eq!(judged(&half, fallen_back), "Pass");
        let slow = |seen: &mut Observation| {
            fallen_back(seen);
            seen.hosts.entry(Host::Ns1).or_default().counters.insert("TcpExt.TCPSynRetrans".into(), 1);
        };
        assert_eq!(judged(&mptcp(), slow), "Pass");
    }
}
