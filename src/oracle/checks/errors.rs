//! Whether an endpoint met an error that nothing in the case explains: Reset.
//!
//! The agent completes both endpoints' stories before it closes either socket; otherwise the close of one end would show up
//! as a reset at the other.

use super::{leave, liveness};
use crate::observation::{CallError, End};
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Looks at failed calls and refused connects. A run whose errors are all explained passes without further checks.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let errors: Vec<(Sender, &CallError)> =
        BOTH.into_iter().filter_map(|side| Some((side, run.story(side).error.as_ref()?))).collect();
    let errors: Vec<_> = errors.into_iter().filter(|(side, error)| !leave::explains(run, *side, error)).collect();
    let orphaned = |error: &CallError| liveness::may_have_no_subflow(run) && is_reset(error);
    let explained = |error: &CallError| run.expected.explains(error) || refused_cookie(run, error) || orphaned(error);
    let unexplained = errors.iter().filter(|(_, error)| !explained(error));
    match unexplained.min_by_key(|(_, error)| follows(error)) {
        Some((side, error)) => Some(reset(run, *side, error)),
        None if errors.is_empty() => refusals(run),
        None => Some(Verdict::pass()),
    }
}

/// Whether an error is how trouble at the other end shows: a RST arrived. A shutdown right after it fails with ENOTCONN.
pub fn follows(error: &CallError) -> bool {
    matches!((error.call.as_str(), error.errno.as_str()), (_, "ECONNRESET" | "EPIPE") | ("shutdown", "ENOTCONN"))
}

/// Whether a reset is the price of SYN cookies. A server that keeps no state checks its cookie against the first segment
/// that arrives. If the one right after the SYN was lost or overtaken, the cookie does not match, and the server answers
/// with a RST (RFC 4987 section 3.6; net/ipv4/syncookies.c, cookie_v4_check).
///
/// Nor does it know a cookie that was taken before: once a connection is gone, a late segment of it begins another one.
fn refused_cookie(run: &Run<'_>, error: &CallError) -> bool {
    let counted = |name| run.counter(Sender::Server, name);
    let taken_twice = counted("TcpExt.SyncookiesRecv") > counted("TcpExt.SyncookiesSent");
    let failed = counted("TcpExt.SyncookiesFailed") > 0 && is_reset(error);
    failed || taken_twice && (is_reset(error) || error.errno == "ECONNREFUSED")
}

/// Whether an error is one that a RST causes, at the first call that meets it or at a later one.
fn is_reset(error: &CallError) -> bool {
    matches!(error.errno.as_str(), "ECONNRESET" | "EPIPE" | "ENOTCONN")
}

fn reset(run: &Run<'_>, side: Sender, error: &CallError) -> Verdict {
    let CallError { call, errno, sent, received } = error;
    // If only the end itself is lost, it is a different bug from a broken connection.
    let all = *received == run.endpoint(side.peer()).payload && call == "recv" && errno == "ENOTCONN";
    let looks = match is_reset(error) {
        true if all => format!("{} recv ENOTCONN for the end of the stream", side.name()),
        true => format!("{} lost its connection", side.name()),
        false => format!("{} {call} {errno}", side.name()),
    };
    let what = format!("{}: {call} failed with {errno} after {sent} bytes sent and {received} received", side.name());
    Verdict::of(Kind::Reset, &looks, what)
}

/// As many connects are refused as the case says, whatever the links do: if a SYN, or the RST that answers it, is lost, the
/// connect tries again by itself.
fn refusals(run: &Run<'_>) -> Option<Verdict> {
    let (planned, refused) = (run.case.refusals, run.seen.client.refused);
    let looks = match refused {
        more if more > planned => "client connect refused although the server listens",
        less if less < planned && run.seen.end == End::Finished => "client connected although nobody listens",
        _ => return None,
    };
    let what = format!("the client's connect was refused {refused} times, not {planned} times");
    Some(Verdict::of(Kind::Reset, looks, what))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::{
        Case, Event, Family, Happening, Host, Impairments, Knobs, LinkId, Moment, Outage, PathManager, PmEndpoint,
        Topology,
    };
    use crate::observation::Observation;
    use crate::oracle::{healthy, judge};

    fn judged(case: &Case, change: impl FnOnce(&mut Observation)) -> Verdict {
        let mut seen = healthy::observation(case);
        change(&mut seen);
        judge(case, &seen)
    }

    fn error(call: &str, errno: &str) -> Option<CallError> {
        Some(CallError { call: call.into(), errno: errno.into(), sent: 5, received: 7 })
    }

    fn across(forward: Impairments) -> Case {
        let mut case = Case { family: Family::V6, ..Case::default() };
        case.server.host = Host::Ns2;
        case.links.entry(LinkId::Ns1Ns2).or_default().forward = forward;
        case
    }

    #[test]
    fn a_cookie_that_did_not_fit_explains_a_reset_and_nothing_else() {
        let case = Case::default();
        let failed = |errno| {
            judged(&case, |seen| {
                seen.hosts.entry(case.server.host).or_default().counters.insert("TcpExt.SyncookiesFailed".into(), 1);
                seen.client.error = error("recv", errno);
            })
        };
        assert_eq!(failed("ECONNRESET").kind, Kind::Pass);
        assert_eq!(failed("EIO").kind, Kind::Reset);
        let refused = |taken| {
            judged(&case, |seen| {
                let counters = &mut seen.hosts.entry(case.server.host).or_default().counters;
                counters.insert("TcpExt.SyncookiesSent".into(), 1);
                counters.insert("TcpExt.SyncookiesRecv".into(), taken);
                seen.client.error = error("connect", "ECONNREFUSED");
            })
        };
        assert_eq!((refused(2).kind, refused(1).kind), (Kind::Pass, Kind::Reset));
    }

    #[test]
    fn a_refused_join_explains_a_reset_where_the_first_subflow_was_removed() {
        let lost = |link, counter: &str| {
            let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
            case.server.host = Host::Ns2;
            let what = Happening::Remove { host: Host::Ns1, link };
            case.events = vec![Event { when: Moment::Client(1), what }];
            judged(&case, |seen| {
                seen.hosts.entry(Host::Ns2).or_default().counters.insert(format!("MPTcpExt.{counter}"), 1);
                seen.server.error = error("recv", "ENOTCONN");
            })
            .kind
        };
        assert_eq!(lost(LinkId::Path1, "MPJoinRejected"), Kind::Pass);
        let others = [lost(LinkId::Path2, "MPJoinRejected"), lost(LinkId::Path1, "MPJoinSynRx")];
        assert_eq!(others, [Kind::Reset; 2]);
        let flushed = |endpoint: Option<LinkId>| {
            let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
            case.server.host = Host::Ns2;
            case.events = vec![Event { when: Moment::Client(1), what: Happening::Flush { host: Host::Ns1 } }];
            let endpoints = endpoint.map(PmEndpoint::on).into_iter().collect();
            let pm = PathManager { endpoints, ..PathManager::default() };
            case.hosts.insert(Host::Ns1, Knobs { pm, ..Knobs::default() });
            judged(&case, |seen| seen.server.error = error("recv", "ENOTCONN")).kind
        };
        assert_eq!([flushed(Some(LinkId::Path1)), flushed(None)], [Kind::Pass, Kind::Reset]);
    }

    #[test]
    fn an_unexplained_error_is_named_with_side_call_and_errno() {
        let verdict = judged(&Case::default(), |seen| seen.client.error = error("recv", "EIO"));
        assert_eq!((verdict.kind, verdict.signature.as_str()), (Kind::Reset, "Reset: client recv EIO"));
    }

    #[test]
    fn an_end_of_stream_that_shows_as_an_error_has_a_name_of_its_own() {
        let mut case = Case::default();
        case.server.payload = 7;
        let looks = |case: &Case| judged(case, |seen| seen.client.error = error("recv", "ENOTCONN")).signature;
        assert_eq!(looks(&case), "Reset: client recv ENOTCONN for the end of the stream");
        case.server.payload = 8;
        assert_eq!(looks(&case), "Reset: client lost its connection");
    }

    #[test]
    fn a_lost_connection_has_one_name_whichever_call_meets_it() {
        for (call, errno) in [("recv", "ECONNRESET"), ("send", "EPIPE"), ("shutdown", "ENOTCONN")] {
            let verdict = judged(&Case::default(), |seen| seen.client.error = error(call, errno));
            assert_eq!(verdict.signature, "Reset: client lost its connection");
        }
    }

    #[test]
    fn an_error_of_its_own_comes_before_one_that_may_follow_from_it() {
        let verdict = judged(&Case::default(), |seen| {
            seen.client.error = error("recv", "ECONNRESET");
            seen.server.error = error("send", "ENOTCONN");
        });
        assert_eq!(verdict.signature, "Reset: server lost its connection");
    }

    #[test]
    fn only_an_outage_longer_than_the_kernel_s_patience_explains_a_timeout() {
        let outage = |seconds| {
            let outages = vec![Outage { from: Duration::ZERO, to: Duration::from_secs(seconds) }];
            let case = across(Impairments { outages, ..Impairments::default() });
            judged(&case, |seen| seen.client.error = error("connect", "ETIMEDOUT")).kind
        };
        assert_eq!((outage(5), outage(100)), (Kind::Reset, Kind::Pass));
    }

    #[test]
    fn only_a_damaged_handshake_over_ipv6_explains_an_icmp_error() {
        let impairments = Impairments { corrupt: 0.1, ..Impairments::default() };
        let unreachable = |case: &Case, call| judged(case, |seen| seen.client.error = error(call, "EHOSTUNREACH")).kind;
        let case = across(impairments.clone());
        assert_eq!((unreachable(&case, "connect"), unreachable(&case, "recv")), (Kind::Pass, Kind::Reset));
        assert_eq!(unreachable(&Case { family: Family::V4, ..case }, "connect"), Kind::Reset);
        let case = across(Impairments { spare_handshake: true, ..impairments });
        assert_eq!(unreachable(&case, "connect"), Kind::Reset);
    }

    #[test]
    fn only_a_first_path_that_goes_down_explains_a_missing_route() {
        let verdict = |link, call| {
            let down = Happening::Down { link, lasts: Duration::from_millis(1) };
            let events = vec![Event { when: Moment::Client(0), what: down }];
            let mut case = Case { topology: Topology::Parallel(2), events, ..Case::default() };
            case.server.host = Host::Ns2;
            judged(&case, |seen| seen.client.error = error(call, "ENETUNREACH")).kind
        };
        assert_eq!(verdict(LinkId::Path1, "connect"), Kind::Pass);
        assert_eq!(verdict(LinkId::Path1, "recv"), Kind::Reset);
        assert_eq!(verdict(LinkId::Path2, "connect"), Kind::Reset);
    }

    #[test]
    fn refusals_must_be_as_many_as_planned() {
        let case = Case { refusals: 2, ..Case::default() };
        let refused = |times| judged(&case, |seen| seen.client.refused = times).kind;
        assert_eq!((refused(1), refused(2), refused(3)), (Kind::Reset, Kind::Pass, Kind::Reset));
    }
}
