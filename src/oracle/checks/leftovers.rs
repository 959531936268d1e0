//! Whether sockets were left behind: Leak.

use crate::case::Host;
use crate::observation::{HostStory, SocketState};
use crate::oracle::expectation::losses;
use crate::oracle::{BOTH, Kind, Run, Verdict};

/// Looks at what was left after both endpoints had closed in order and the network had had time to settle.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    run.seen.hosts.iter().find_map(|(host, story)| {
        let left = story.left_sockets.iter().find(|socket| !explained(run, *host, socket)).map(|socket| {
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
fn explained(run: &Run<'_>, host: Host, socket: &SocketState) -> bool {
    if is_held(run, host, socket) {
        return true;
    }
    let closing = is_closing(socket);
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

/// Whether a socket only ends its connection.
fn is_closing(socket: &SocketState) -> bool {
    matches!(socket.state.as_str(), "FIN-WAIT-1" | "FIN-WAIT-2" | "CLOSING" | "LAST-ACK")
}

/// Whether other sockets that are left, and are judged themselves, keep this one.
///
/// An MPTCP socket whose DATA_FIN nobody acknowledges keeps the subflows that its peer has ended, in CLOSE-WAIT, for as
/// long as it is there itself: a minute (net/mptcp/protocol.c, __mptcp_close_subflow and mptcp_close_timeout). And a path
/// manager listens on the port of an endpoint until everything else is gone (`agent::settle`).
fn is_held(run: &Run<'_>, host: Host, socket: &SocketState) -> bool {
    let on = |story: &HostStory, holds: fn(&SocketState) -> bool| story.left_sockets.iter().any(holds);
    match socket.state.as_str() {
        "CLOSE-WAIT" if socket.details.contains_key("mptcp_subflow") => {
            let holds = |other: &SocketState| other.protocol == "mptcp" && is_closing(other);
            run.seen.hosts.get(&host).is_some_and(|story| on(story, holds))
        }
        "LISTEN" => {
            // The MPTCP socket above a subflow that listens there is shown without a port.
            let here = |port: u16| socket.protocol == "mptcp" || socket.local.ends_with(&format!(":{port}"));
            let announced = run.case.pm_endpoints(host).filter_map(|endpoint| endpoint.port).any(here);
            announced && run.seen.hosts.values().any(|story| on(story, |other| other.state != "LISTEN"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Impairments, LinkId, Loss, PmEndpoint};
    use crate::oracle::{healthy, judge};

    fn left(case: &Case, protocol: &str, state: &str) -> String {
        let mut seen = healthy::observation(case);
        let socket = SocketState { protocol: protocol.into(), state: state.into(), ..SocketState::default() };
        seen.hosts.entry(Host::Ns1).or_default().left_sockets.push(socket);
        judge(case, &seen).signature
    }

    #[test]
    fn a_socket_left_is_a_leak_but_time_wait_is_not() {
        assert_eq!(left(&Case::default(), "tcp", "LAST-ACK"), "Leak: tcp socket in LAST-ACK");
        assert_eq!(left(&Case::default(), "tcp", "TIME-WAIT"), "Pass");
        assert_eq!(left(&healthy::mptcp_across(Impairments::default()), "tcp", "LISTEN"), "Leak: tcp socket in LISTEN");
    }

    #[test]
    fn closing_states_of_mptcp_are_explained_by_loss_alone() {
        let lossy = healthy::mptcp_across(Impairments { loss: Some(Loss::Independent(0.1)), ..Impairments::default() });
        assert_eq!(left(&lossy, "mptcp", "LAST-ACK"), "Pass");
        assert_eq!(left(&lossy, "mptcp", "ESTAB"), "Leak: mptcp socket in ESTAB");
        assert_eq!(
            left(&healthy::mptcp_across(Impairments::default()), "mptcp", "LAST-ACK"),
            "Leak: mptcp socket in LAST-ACK"
        );
    }

    fn socket(protocol: &str, state: &str, local: &str) -> SocketState {
        let [protocol, state, local] = [protocol, state, local].map(str::to_owned);
        let details = [("mptcp_subflow".to_owned(), 1)].into_iter().filter(|_| protocol == "tcp").collect();
        SocketState { protocol, state, local, details, ..SocketState::default() }
    }

    fn all_left(case: &Case, sockets: &[SocketState]) -> String {
        let mut seen = healthy::observation(case);
        seen.hosts.entry(Host::Ns1).or_default().left_sockets.extend_from_slice(sockets);
        judge(case, &seen).signature
    }

    #[test]
    fn a_connection_that_still_ends_keeps_its_subflows() {
        let lossy = healthy::mptcp_across(Impairments { loss: Some(Loss::Independent(0.1)), ..Impairments::default() });
        let subflow = socket("tcp", "CLOSE-WAIT", "10.0.1.1:12000");
        let with = |state| all_left(&lossy, &[subflow.clone(), socket("mptcp", state, "10.0.1.1:12000")]);
        assert_eq!(with("LAST-ACK"), "Pass");
        assert_eq!(with("CLOSE-WAIT"), "Leak: tcp socket in CLOSE-WAIT");
        assert_eq!(all_left(&lossy, std::slice::from_ref(&subflow)), "Leak: tcp socket in CLOSE-WAIT");
        let plain = SocketState { details: Default::default(), ..subflow };
        let beside = socket("mptcp", "LAST-ACK", "10.0.1.1:12000");
        assert_eq!(all_left(&lossy, &[plain, beside]), "Leak: tcp socket in CLOSE-WAIT");
    }

    #[test]
    fn a_path_manager_listens_until_all_else_is_gone() {
        let mut case =
            healthy::mptcp_across(Impairments { loss: Some(Loss::Independent(0.1)), ..Impairments::default() });
        let endpoint = PmEndpoint { signal: true, port: Some(10100), ..PmEndpoint::on(LinkId::Ns1Ns2) };
        case.hosts.entry(Host::Ns1).or_default().pm.endpoints.push(endpoint);
        let listens = [socket("tcp", "LISTEN", "10.0.1.1:10100"), socket("mptcp", "LISTEN", "0.0.0.0:0")];
        let ends = socket("tcp", "LAST-ACK", "10.0.1.1:10100");
        let with = |others: &[SocketState]| all_left(&case, &[&listens[..], others].concat());
        assert_eq!(with(&[]), "Leak: tcp socket in LISTEN");
        assert_eq!(with(std::slice::from_ref(&ends)), "Pass");
        assert_eq!(with(&[ends, socket("tcp", "LISTEN", "10.0.1.1:12000")]), "Leak: tcp socket in LISTEN");
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
        let case = healthy::mptcp_across(Impairments::default());
        let mut seen = healthy::observation(&case);
        seen.hosts.entry(Host::Ns2).or_default().counters.insert("MPTcpExt.MPCurrEstab".into(), -1);
        assert_eq!(judge(&case, &seen).kind, Kind::Leak);
    }
}
