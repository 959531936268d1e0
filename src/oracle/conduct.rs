//! Whether the hosts kept to the protocols, by the packets that they sent: ProtocolBroken.
//!
//! What a breach is, is said where the packets are seen ([`crate::link::conduct`]), link by link. The first one counts: it
//! explains the others.

use super::{Kind, Run, Verdict, memory};
use crate::observation::Breach;

/// Looks at the breaches that were seen on the links.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let all = run.seen.links.iter().flat_map(|(link, story)| story.breaches.iter().map(move |breach| (link, breach)));
    // What was thrown away has to come again before it is acknowledged.
    let excused = |breach: &Breach| breach.looks == Breach::LEAVES_OUT && memory::has_thrown_away(run);
    let judged = all.filter(|(_, breach)| !excused(breach));
    let (link, Breach { at, by, flow, looks, what }) = judged.min_by_key(|(_, breach)| breach.at)?;
    let at = humantime::format_duration(std::time::Duration::from_micros(at.as_micros() as u64));
    let (by, looks) = (by.name(), looks.as_str());
    let what = format!("{by} sent {looks}: {what} ({flow} on {link}, after {at})");
    Some(Verdict::of(Kind::ProtocolBroken, &format!("{by} sent {looks}"), what))
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
        assert_eq!(judged(2, "a FIN that moved"), Kind::ProtocolBroken);
    }

    #[test]
    fn the_first_breach_is_told() {
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
