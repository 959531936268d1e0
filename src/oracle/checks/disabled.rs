//! Whether a host with MPTCP switched off (net.mptcp.enabled = 0) refuses MPTCP sockets with ENOPROTOOPT.

use crate::case::Protocol;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Looks at the endpoints that ask for MPTCP on such a host; there is no transfer to judge.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let refused = BOTH.into_iter().filter(|side| {
        let end = run.endpoint(*side);
        end.protocol == Protocol::Mptcp && !run.case.knobs(end.host).has_mptcp()
    });
    let sides: Vec<_> = refused.collect();
    // The first to ask is refused; the other one may never get to ask.
    let asked = |side: &Sender| run.story(*side).error.is_some() || run.story(*side).connected;
    let side = sides.iter().copied().find(asked).or_else(|| sides.first().copied())?;
    let (story, name) = (run.story(side), side.name());
    let looks = match &story.error {
        Some(error) if error.call == "socket" && error.errno == "ENOPROTOOPT" => return Some(Verdict::pass()),
        Some(error) => format!("{name} {} {} where MPTCP is off", error.call, error.errno),
        None => format!("{name} got an MPTCP socket where MPTCP is off"),
    };
    Some(Verdict::of(Kind::Reset, &looks, looks.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Sysctl};
    use crate::observation::CallError;
    use crate::oracle::{healthy, judge};

    #[test]
    fn a_host_without_mptcp_says_so_and_nothing_else() {
        let mut case = Case::default();
        case.client.protocol = Protocol::Mptcp;
        case.hosts.entry(case.client.host).or_default().sysctls.insert(Sysctl::MptcpEnabled, 0);
        let judged = |errno: Option<&str>| {
            let mut seen = healthy::observation(&case);
            seen.client.error =
                errno.map(|errno| CallError { call: "socket".into(), errno: errno.into(), sent: 0, received: 0 });
            seen.client.mptcp = None;
            judge(&case, &seen).signature
        };
        assert_eq!(judged(Some("ENOPROTOOPT")), "Pass");
        assert_eq!(judged(Some("EPROTONOSUPPORT")), "Reset: client socket EPROTONOSUPPORT where MPTCP is off");
        assert_eq!(judged(None), "Reset: client got an MPTCP socket where MPTCP is off");
    }

    #[test]
    fn a_client_that_waited_for_a_server_that_was_refused_has_got_nothing() {
        let mut case = Case::default();
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.hosts.entry(case.client.host).or_default().sysctls.insert(Sysctl::MptcpEnabled, 0);
        let mut seen = healthy::observation(&case);
        (seen.client.connected, seen.client.mptcp) = (false, None);
        seen.server.error =
            Some(CallError { call: "socket".into(), errno: "ENOPROTOOPT".into(), sent: 0, received: 0 });
        assert_eq!(judge(&case, &seen).signature, "Pass");
        seen.client.connected = true;
        assert_eq!(judge(&case, &seen).signature, "Reset: client got an MPTCP socket where MPTCP is off");
    }
}
