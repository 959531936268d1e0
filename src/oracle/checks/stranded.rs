//! Whether a connection went on by its other paths when one did not work any more: Slow.
//!
//! What was given to a subflow that hears nothing has to be given to others (RFC 8684, section 3.3.6), which takes Linux some
//! timeouts. Where a path rests for far longer than the others need for everything, a transfer that ends only after it is back has
//! waited for it.

use std::time::Duration;

use super::subflows::is_calm_but_for_outages;
use crate::case::{Case, Happening, LinkId};
use crate::observation::{End, Happened};
use crate::oracle::expectation::{budget, silence};
use crate::oracle::{BOTH, Kind, Run, Verdict};

/// What it takes to find out that a path does not work, round trips apart: a few timeouts of 200 ms to some 2 s, with one piece
/// of the data sent again after each.
const FINDS_OUT: Duration = Duration::from_secs(5);

/// What goes each way over a path on which a subflow is made: two packets of its handshake.
const JOINED: u64 = 150;

/// Looks at a transfer that came to its end.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let timings = &run.seen.timings;
    let judged = timings.exact && run.seen.end == End::Finished && goes_on(run.case) && is_calm_but_for_outages(run);
    let [happened] = run.seen.events.as_slice() else { return None };
    let (link, lasts) = stranding(run.case, happened).filter(|_| judged)?;
    let needs = FINDS_OUT + 20 * silence::round_trip(run.case) + budget::unhindered(run.case);
    let others = run.case.topology.ways().iter().filter(|way| **way != link);
    let joined = others.filter_map(|way| happened.bytes.get(way)).any(|bytes| bytes.iter().all(|each| *each >= JOINED));
    let joined = joined && are_let_in(run);
    let over = timings.transfer.saturating_sub(happened.after);
    (joined && lasts > needs && over >= lasts).then(|| {
        let looks = "the transfer waited for a path that did not work, beside one that did";
        let [lasts, over] =
            [lasts, over].map(|time| humantime::format_duration(Duration::from_millis(time.as_millis() as u64)));
        Verdict::of(
            Kind::Slow,
            looks,
            format!("{looks}: {link} rested for {lasts}, after which the end came within {over}"),
        )
    })
}

/// Whether joins were accepted, and none refused: a peer that has shut down lets nobody join.
fn are_let_in(run: &Run<'_>) -> bool {
    let counts = |name: &str| BOTH.into_iter().any(|side| run.counter(side, name) > 0);
    counts("MPTcpExt.MPJoinAckRx") && !counts("MPTcpExt.MPJoinRejected")
}

/// The path that rests from an event on, and for how long.
fn stranding(case: &Case, happened: &Happened) -> Option<(LinkId, Duration)> {
    match case.events.get(happened.event)?.what {
        Happening::Block { link, lasts } if case.topology.ways().contains(&link) => Some((link, lasts)),
        _ => None,
    }
}

/// Whether nothing but that event may end the connection or its subflows, and paths that rest are looked for.
fn goes_on(case: &Case) -> bool {
    let looks = BOTH.into_iter().all(|side| {
        let host = if side == crate::payload::Sender::Client { case.client.host } else { case.server.host };
        case.knobs(host).stale_loss_cnt != Some(0)
    });
    looks && case.events.len() == 1 && case.rounds.count == 1 && case.ending.leave.is_none() && case.refusals == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Event, Host, Moment, PmEndpoint, Protocol, Topology};
    use crate::oracle::{healthy, judge};

    fn case(lasts: u64) -> Case {
        let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.client.payload = 1 << 20;
        let what = Happening::Block { link: LinkId::Path1, lasts: Duration::from_secs(lasts) };
        case.events = vec![Event { when: Moment::Client(1000), what }];
        let endpoint = PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) };
        case.hosts.entry(Host::Ns1).or_default().pm.endpoints = vec![endpoint];
        case
    }

    fn judged(case: &Case, joined: u64, exact: bool, transfer: u64) -> Kind {
        counted(case, joined, exact, transfer, [1, 0])
    }

    fn counted(case: &Case, joined: u64, exact: bool, transfer: u64, [let_in, refused]: [i64; 2]) -> Kind {
        let mut seen = healthy::observation(case);
        let counters = &mut seen.hosts.entry(Host::Ns2).or_default().counters;
        counters.insert("MPTcpExt.MPJoinAckRx".into(), let_in);
        counters.insert("MPTcpExt.MPJoinRejected".into(), refused);
        let bytes = [(LinkId::Path2, [joined, joined])].into();
        let after = Duration::from_secs(1);
        seen.events = vec![Happened { event: 0, received: [0, 1000], bytes, after }];
        (seen.timings.exact, seen.timings.transfer) = (exact, Duration::from_secs(transfer));
        judge(case, &seen).kind
    }

    #[test]
    fn a_connection_does_not_wait_for_a_path_that_rests_beside_one_that_works() {
        assert_eq!(judged(&case(20), 300, true, 21), Kind::Slow);
        assert_eq!(judged(&case(20), 300, true, 20), Kind::Pass);
        assert_eq!(judged(&case(20), 100, true, 21), Kind::Pass, "nobody has joined");
        for counts in [[0, 1], [1, 1], [0, 0]] {
            assert_eq!(counted(&case(20), 300, true, 21, counts), Kind::Pass, "a join was refused, or there was none");
        }
        assert_eq!(judged(&case(20), 300, false, 21), Kind::Pass, "the machine may be slow");
        assert_eq!(judged(&case(2), 300, true, 21), Kind::Pass, "too short to tell");
        let mut patient = case(20);
        patient.hosts.entry(Host::Ns1).or_default().stale_loss_cnt = Some(0);
        assert_eq!(judged(&patient, 300, true, 21), Kind::Pass);
    }
}
