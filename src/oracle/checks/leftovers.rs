//! Whether sockets were left behind: Leak.

use crate::case::Host;
use crate::observation::{HostStory, SocketState};
use crate::oracle::expectation::losses;
use crate::oracle::{BOTH, Kind, Run, Verdict};

/// Looks at what was left after both endpoints had closed in order and the network had had time to settle.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    run.seen.hosts.iter().find_map(|(host, story)| {
        let left = story.left_sockets.iter().find(|socket| !explained(run, socket)).map(|socket| {
            let SocketState { protocol, state, local, remote, .. } = socket;
            let looks = format!("{protocol} socket in {state}");
            Verdict::of(Kind::Leak, &looks, format!("{host} still has a {looks} ({local} to {remote})"))
        });
        // The counter of established MPTCP connections is decremented when the socket goes, at the latest.
        let established = story.counters.get("MPTcpExt.MPCurrEstab").copied().unwrap_or(0);
        left.or_else(|| {
            (established != 0 && story.left_sockets.is_empty()).then(|| {
                let looks = "MPTcpExt.MPCurrEstab is not back at its start";
                Verdict::of(Kind::Leak, looks, format!("on {host}, {looks}: {established:+}"))
            })
        })
        .or_else(|| lost(*host, story))
    })
}

/// Sockets that are in no table any more, but were never freed.
fn lost(host: Host, story: &HostStory) -> Option<Verdict> {
    let lost = story.lost_sockets;
    (lost > 0 && story.left_sockets.is_empty()).then(|| {
        let looks = "sockets that nobody can find any more";
        Verdict::of(Kind::Leak, looks, format!("{host} is left with {looks}: {lost:+}"))
    })
}

/// Whether a socket may still be there.
///
/// TIME-WAIT lasts for a minute. On a path that loses packets, the acknowledgement of MPTCP's DATA_FIN may be lost, and
/// nobody can repeat it once the peer has closed (RFC 8684 section 3.3.3), so closing states of MPTCP and its subflows are
/// no leak there. Nor are they on several paths: a removed subflow closes by itself, and its window may stay closed.
fn explained(run: &Run<'_>, socket: &SocketState) -> bool {
    let closing = matches!(socket.state.as_str(), "FIN-WAIT-1" | "FIN-WAIT-2" | "CLOSING" | "LAST-ACK");
    let mptcp = run.case.is_mptcp();
    // An MPTCP socket that has fallen back, closed with bytes unread, leaves its peer with a closed window for a minute.
    let left = BOTH.into_iter().any(|side| {
        let story = run.story(side);
        story.left && story.mptcp.is_some_and(|state| state.fallback)
    });
    if closing && left {
        return true;
    }
    socket.state == "TIME-WAIT"
        || (closing && mptcp && (losses::any(run.case) || run.case.cpus > 1 || run.case.topology.paths() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Impairments, LinkId, Loss, Protocol};
    use crate::oracle::{healthy, judge};

    fn left(case: &Case, protocol: &str, state: &str) -> String {
        let mut seen = healthy::observation(case);
        let socket = SocketState { protocol: protocol.into(), state: state.into(), ..SocketState::default() };
        seen.hosts.entry(Host::Ns1).or_default().left_sockets.push(socket);
        judge(case, &seen).signature
    }

    fn mptcp(forward: Impairments) -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        case.client.protocol = Protocol::Mptcp;
        case.server.protocol = Protocol::Mptcp;
        case.links.entry(LinkId::Ns1Ns2).or_default().forward = forward;
        case
    }

    #[test]
    fn a_socket_left_is_a_leak_but_time_wait_is_not() {
        assert_eq!(left(&Case::default(), "tcp", "LAST-ACK"), "Leak: tcp socket in LAST-ACK");
        assert_eq!(left(&Case::default(), "tcp", "TIME-WAIT"), "Pass");
        assert_eq!(left(&mptcp(Impairments::default()), "tcp", "LISTEN"), "Leak: tcp socket in LISTEN");
    }

    #[test]
    fn closing_states_of_mptcp_are_explained_by_loss_alone() {
        let lossy = mptcp(Impairments { loss: Some(Loss::Independent(0.1)), ..Impairments::default() });
        assert_eq!(left(&lossy, "mptcp", "LAST-ACK"), "Pass");
        assert_eq!(left(&lossy, "mptcp", "ESTAB"), "Leak: mptcp socket in ESTAB");
        assert_eq!(left(&mptcp(Impairments::default()), "mptcp", "LAST-ACK"), "Leak: mptcp socket in LAST-ACK");
    }

    #[test]
    fn a_socket_that_no_table_has_is_a_leak_all_the_same() {
        let case = Case::default();
        let lost = |number| {
            let mut seen = healthy::observation(&case);
            seen.hosts.entry(Host::Ns1).or_default().lost_sockets = number;
            judge(&case, &seen).signature
        };
        assert_eq!(lost(0), "Pass");
        assert_eq!(lost(1), "Leak: sockets that nobody can find any more");
    }

    #[test]
    fn the_count_of_established_connections_comes_back() {
        let case = mptcp(Impairments::default());
        let mut seen = healthy::observation(&case);
        seen.hosts.entry(Host::Ns2).or_default().counters.insert("MPTcpExt.MPCurrEstab".into(), -1);
        assert_eq!(judge(&case, &seen).kind, Kind::Leak);
    }
}
