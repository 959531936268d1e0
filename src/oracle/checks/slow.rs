//! Whether a transfer paused for longer than anything in its case explains: Slow.
//!
//! Some bugs are repaired by a retransmission or a probe, so the transfer ends well, only late: a window that opens again
//! without an announcement, a lost wake-up that the next packet makes up for. Only exact time can tell this from a busy
//! machine, so only runs in virtual time are judged; and only those whose links just delay and whose receivers throw
//! nothing away, because there the timers of a healthy kernel have little to wait for.

use std::time::Duration;

use crate::case::{Case, Impairments, SocketOption};
use crate::observation::End;
use crate::oracle::circumstances::receive_memory;
use crate::oracle::expectation::{losses, silence};
use crate::oracle::{Kind, Run, Verdict};

/// How long a healthy kernel may pause on smooth links, apart from round trips: for a delayed acknowledgement, a corked
/// segment or the first probe of a closed window (200 ms each), and for the second probe (400 ms). Whatever waits for the
/// third probe is 1.4 s late. docs/planted-kernel-faults.md has the pauses that healthy kernels showed.
const REST: Duration = Duration::from_millis(900);

/// Looks at a transfer that came to its end.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let timings = &run.seen.timings;
    let rest = REST + 4 * silence::round_trip(run.case);
    let judged = timings.exact && run.seen.end == End::Finished && is_smooth(run.case);
    (judged && !receive_memory::has_thrown_away(run) && timings.silence > rest).then(|| {
        let [silence, rest] = [timings.silence, rest].map(|time| humantime::format_duration(whole(time)));
        let what = format!("no byte moved for {silence} where nothing explains more than {rest}");
        Verdict::of(Kind::Slow, "no byte moved for longer than anything explains", what)
    })
}

/// Whether the links delay by a fixed time and do nothing else, and neither end waits on purpose.
fn is_smooth(case: &Case) -> bool {
    let smooth = |way: Impairments| {
        // A rate limit does not count as smooth: its queue may overflow.
        way == Impairments { delay: way.delay, ..Impairments::default() }
    };
    // A corked end waits for a timer on purpose at the end of each round; MPTCP does so below a low-water mark.
    let waits = [&case.client, &case.server]
        .into_iter()
        .any(|end| end.options.cork || end.options.rcvlowat.is_some() || end.smallest(SocketOption::TcpCork).is_some());
    case.refusals == 0
        && case.rounds.count == 1
        && !waits
        && case.topology.paths() == 1
        && case.events.is_empty()
        && case.ending.leave.is_none()
        && losses::directions(case).all(smooth)
}

/// Rounded down to hundredths of a second.
fn whole(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64 / 10 * 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Host, LinkId, Loss};
    use crate::oracle::{healthy, judge};

    fn kind(case: &Case, exact: bool, silence: Duration) -> Kind {
        let mut seen = healthy::observation(case);
        (seen.timings.exact, seen.timings.silence) = (exact, silence);
        judge(case, &seen).kind
    }

    fn across(change: impl FnOnce(&mut Impairments)) -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        change(&mut case.links.entry(LinkId::Ns1Ns2).or_default().forward);
        case
    }

    #[test]
    fn a_long_rest_is_slow_where_time_is_exact_and_nothing_explains_it() {
        let case = Case::default();
        let long = REST + Duration::from_millis(1);
        assert_eq!(kind(&case, true, long), Kind::Slow);
        assert_eq!(kind(&case, true, REST), Kind::Pass);
        assert_eq!(kind(&case, false, long), Kind::Pass);
    }

    #[test]
    fn ends_that_wait_on_purpose_are_not_judged() {
        let mut corked = Case::default();
        corked.client.options.cork = true;
        let mut low = Case::default();
        low.server.options.rcvlowat = Some(1000);
        assert_eq!([corked, low].map(|case| kind(&case, true, 2 * REST)), [Kind::Pass; 2]);
    }

    #[test]
    fn what_a_small_buffer_throws_away_takes_its_timers() {
        let slow = |buffer, thrown| {
            let mut case = Case::default();
            case.server.options.rcvbuf_late = Some(buffer);
            let mut seen = healthy::observation(&case);
            (seen.timings.exact, seen.timings.silence) = (true, 2 * REST);
            let counters = &mut seen.hosts.entry(case.server.host).or_default().counters;
            counters.insert("TcpExt.TCPZeroWindowDrop".into(), thrown);
            judge(&case, &seen).kind
        };
        assert_eq!([slow(1868, 3), slow(1868, 0), slow(1 << 20, 3)], [Kind::Pass, Kind::Slow, Kind::Slow]);
    }

    #[test]
    fn round_trips_are_given_more_time_and_losses_all_of_it() {
        let long = REST + Duration::from_millis(100);
        assert_eq!(kind(&across(|way| way.delay = Duration::from_millis(50)), true, long), Kind::Pass);
        assert_eq!(kind(&across(|way| way.delay = Duration::from_millis(10)), true, long), Kind::Slow);
        assert_eq!(kind(&across(|way| way.loss = Some(Loss::Independent(0.1))), true, 9 * long), Kind::Pass);
    }
}
