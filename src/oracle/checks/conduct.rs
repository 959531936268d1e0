//! Whether the hosts followed the protocols, judged by the packets they sent: ProtocolBroken.
//!
//! [`crate::link::conduct`] finds the breaches, link by link, as the packets pass. Only the first one is reported, because
//! it explains the others.

use crate::case::LinkId;
use crate::observation::{Breach, PmEventKind};
use crate::oracle::circumstances::receive_memory;
use crate::oracle::{Kind, Run, Verdict};

/// Reports the first breach on any link that nothing explains.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let (link, Breach { at, by, flow, looks, what }) = inexcusable(run).min_by_key(|(_, breach)| breach.at)?;
    let at = humantime::format_duration(std::time::Duration::from_micros(at.as_micros() as u64));
    let (by, looks) = (by.name(), looks.as_str());
    let what = format!("{by} sent {looks}: {what} ({flow} on {link}, after {at})");
    Some(Verdict::of(Kind::ProtocolBroken, &format!("{by} sent {looks}"), what))
}

/// The breaches that nothing explains, each with its link.
pub fn inexcusable<'a>(run: &Run<'a>) -> impl Iterator<Item = (LinkId, &'a Breach)> {
    let all = run.seen.links.iter().flat_map(|(link, story)| story.breaches.iter().map(move |breach| (*link, breach)));
    all.filter(|(_, breach)| !excused(run, breach))
}

/// Whether something that packets do not show explains a breach.
fn excused(run: &Run<'_>, breach: &Breach) -> bool {
    let moved = |name: &str| run.counter(breach.by, &format!("MPTcpExt.{name}")) > 0;
    match breach.looks.as_str() {
        // Data that the receiver threw away has to arrive again before it is acknowledged.
        Breach::LEAVES_OUT | Breach::OWES => receive_memory::has_thrown_away(run),
        // So does data beyond the window; and data that does not fit into the connection's memory is acknowledged later
        // (net/mptcp/protocol.c, mptcp_can_spool_backlog).
        Breach::LEAVES_OUT_DATA => moved("NoDSSInWindow") || receive_memory::may_fill(run, breach.by),
        // The host may have ignored the acknowledgement that carried the option; the counters say so.
        Breach::STAYS => !moved("MPPrioRx") && !moved("MPPrioTx"),
        // One that was slow for a while counts as stale, and its backup works in its place.
        Breach::PREFERS => moved("SubflowStale"),
        // A REMOVE_ADDR that arrives while another one is still pending is dropped, which is counted.
        Breach::KEEPS => moved("RmAddr") || !hears_of_removals(run, breach),
        // One for which there was no room is not sent, and counts.
        Breach::UNHEARD => moved("AddAddrTxDrop"),
        _ => false,
    }
}

/// Whether the kernel's own path manager learnt that an address was removed, on a connection that went on.
fn hears_of_removals(run: &Run<'_>, breach: &Breach) -> bool {
    let host = run.endpoint(breach.by).host;
    let told = |event: &crate::observation::PmEvent| event.kind == PmEventKind::Removed;
    let hears = run.seen.hosts.get(&host).is_some_and(|story| story.pm_events.iter().any(told));
    hears && !run.case.knobs(host).pm.userspace && run.case.ending.leave.is_none()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::{Case, Host, LinkId};
    use crate::oracle::{healthy, judge};
    use crate::payload::Sender;

    #[test]
    fn what_was_thrown_away_need_not_be_acknowledged() {
        let judged = |thrown, looks: &str| {
            let mut case = Case::default();
            case.server.host = Host::Ns2;
            case.server.options.rcvbuf_late = Some(4608);
            let mut seen = healthy::observation(&case);
            seen.hosts.entry(Host::Ns2).or_default().counters.insert("TcpExt.OfoPruned".into(), thrown);
            let (at, by) = (Duration::ZERO, Sender::Server);
            let breach = Breach { at, by, flow: String::new(), looks: looks.into(), what: String::new() };
            seen.links.get_mut(&LinkId::Ns1Ns2).unwrap().breaches = vec![breach];
            judge(&case, &seen).kind
        };
        let late = Breach::LEAVES_OUT;
        assert_eq!([judged(2, late), judged(0, late)], [Kind::Pass, Kind::ProtocolBroken]);
        assert_eq!([judged(2, Breach::OWES), judged(0, Breach::OWES)], [Kind::Pass, Kind::ProtocolBroken]);
        assert_eq!(judged(2, "a FIN that moved"), Kind::ProtocolBroken);
    }

    #[test]
    fn what_the_packets_do_not_show_excuses() {
        use crate::observation::PmEvent;
        let judged = |looks: &str, counters: &[&str], change: fn(&mut Case)| {
            let mut case = Case::default();
            case.server.host = Host::Ns2;
            change(&mut case);
            let mut seen = healthy::observation(&case);
            let host = seen.hosts.entry(Host::Ns2).or_default();
            counters.iter().for_each(|name| _ = host.counters.insert(format!("MPTcpExt.{name}"), 1));
            let (kind, token, backup) = (PmEventKind::Removed, 7, false);
            let (local, remote, local_id, remote_id, error) = Default::default();
            host.pm_events = vec![PmEvent { kind, token, local, remote, local_id, remote_id, backup, error }];
            let (at, by) = (Duration::ZERO, Sender::Server);
            let breach = Breach { at, by, flow: String::new(), looks: looks.into(), what: String::new() };
            seen.links.get_mut(&LinkId::Ns1Ns2).unwrap().breaches = vec![breach];
            super::check(&Run { case: &case, expected: &crate::oracle::Expectation::of(&case), seen: &seen }).is_some()
        };
        let same: fn(&mut Case) = |_| ();
        let rests: fn(&mut Case) = |case| case.server.options.rcvlowat = Some(9);
        let userspace: fn(&mut Case) = |case| case.hosts.entry(Host::Ns2).or_default().pm.userspace = true;
        assert!(judged(Breach::LEAVES_OUT_DATA, &[], same));
        assert!(!judged(Breach::LEAVES_OUT_DATA, &["NoDSSInWindow"], same));
        assert!(!judged(Breach::LEAVES_OUT_DATA, &[], rests));
        assert!(judged(Breach::PREFERS, &[], same));
        assert!(!judged(Breach::PREFERS, &["SubflowStale"], same));
        assert!(judged(Breach::STAYS, &["MPPrioRx"], same));
        assert!(!judged(Breach::STAYS, &[], same));
        assert!(judged(Breach::UNHEARD, &[], same));
        assert!(!judged(Breach::UNHEARD, &["AddAddrTxDrop"], same));
        assert!(judged(Breach::KEEPS, &[], same));
        assert!(judged(Breach::KEEPS, &["RmAddrDrop"], same));
        assert!(!judged(Breach::KEEPS, &["RmAddr"], same));
        assert!(!judged(Breach::KEEPS, &[], userspace));
    }

    #[test]
    fn the_first_breach_is_reported() {
        let mut case = Case::default();
        case.server.host = Host::Ns3;
        let mut seen = healthy::observation(&case);
        let breach = |at, looks: &str| Breach {
            at: Duration::from_millis(at),
            by: Sender::Server,
            flow: "10.0.2.2:5000>10.0.1.1:40000".into(),
            looks: looks.into(),
            what: "of 9 where 7 came".into(),
        };
        seen.links.get_mut(&LinkId::Ns1Ns2).unwrap().breaches = vec![breach(9, "a FIN that moved")];
        seen.links.get_mut(&LinkId::Ns2Ns3).unwrap().breaches =
            vec![breach(5, "an acknowledgement of what never came")];
        let verdict = judge(&case, &seen);
        assert_eq!(verdict.signature, "ProtocolBroken: server sent an acknowledgement of what never came");
        assert_eq!(
            verdict.what,
            "server sent an acknowledgement of what never came: of 9 where 7 came (10.0.2.2:5000>10.0.1.1:40000 on ns2-ns3, after 5ms)"
        );
    }
}
