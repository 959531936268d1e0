//! Whether a transfer came to rest for longer than anything in its case explains: Slow.
//!
//! What a retransmission or a probe makes good ends well, only late: a window that opens again and is not announced, a
//! wake-up that the next packet repeats. Only time that is exact tells this from a busy machine, so only runs in virtual
//! time are judged; and only those whose links do nothing but take their time and whose receivers throw nothing away, where
//! the timers of a healthy kernel have little to wait for.

use std::time::Duration;

use super::{Kind, Run, Verdict, losses, memory, silence};
use crate::case::{Case, Impairments, SocketOption};
use crate::observation::End;

/// For how long a healthy kernel may rest on smooth links, round trips apart: a delayed acknowledgement, a corked segment or
/// the first probe of a closed window (200 ms each), and the second probe (400 ms). What waits for the third is late by
/// 1.4 s. How long healthy kernels were seen to rest is told in docs/planted-kernel-faults.md.
const REST: Duration = Duration::from_millis(900);

/// Looks at a transfer that came to its end.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let timings = &run.seen.timings;
    let rest = REST + 4 * silence::round_trip(run.case);
    let judged = timings.exact && run.seen.end == End::Finished && is_smooth(run.case);
    (judged && !memory::has_thrown_away(run) && timings.silence > rest).then(|| {
        let [silence, rest] = [timings.silence, rest].map(|time| humantime::format_duration(whole(time)));
        let what = format!("no byte moved for {silence} where nothing explains more than {rest}");
        Verdict::of(Kind::Slow, "no byte moved for longer than anything explains", what)
    })
}

/// Whether nothing but time that is known beforehand passes on the links, and neither end waits on purpose.
fn is_smooth(case: &Case) -> bool {
    let smooth = |way: Impairments| {
        // Not where a rate is limited: its queue may overflow.
        way == Impairments { delay: way.delay, ..Impairments::default() }
    };
    // Corked ends wait for a timer on purpose, at the end of each round; MPTCP does so below a low-water mark.
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

/// To the hundredth of a second: more says nothing.
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
