//! Whether the transfer made progress whenever the network allowed it: Stalled.

use std::time::Duration;

use crate::case::Happening;
use crate::observation::{End, Hang, SocketState, Story};
use crate::oracle::expectation::middlebox;
use crate::oracle::{BOTH, Kind, Run, Verdict, circumstances};

/// Looks at a run in which no byte moved for longer than the case's patience.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let idle = match &run.seen.end {
        End::Stalled { idle } => *idle,
        End::KernelHung(hang) => return Some(hung(hang)),
        _ => return None,
    };
    if let Some(late) = too_late(run) {
        let late = humantime::format_duration(late);
        return Some(Verdict::skip(&format!(
            "nothing moved, but a link itself was late by {late}: the machine is too busy"
        )));
    }
    if middlebox::strip_midway(run.case) && !circumstances::falls_back(run) {
        // Without its options MPTCP can neither continue nor end, and has no way to notice.
        return Some(Verdict::skip("nothing moved, but a middlebox took options that MPTCP cannot go on without"));
    }
    if run.expected.may_be_orphaned {
        return Some(Verdict::skip("nothing moved, but the connection may have no subflow any more"));
    }
    let may_be_alone = run.expected.may_be_cut || run.expected.may_reset || may_have_no_subflow(run);
    if may_be_alone && waits_for_subflows(run) {
        return Some(Verdict::skip(
            "nothing moved, but the only subflow was reset on the way, and MPTCP waits a minute for another one",
        ));
    }
    if let Some(rest) = keeps_its_pause(run) {
        let rest = humantime::format_duration(whole(rest));
        return Some(Verdict::skip(&format!(
            "nothing moved, but a timer that keeps its pause for want of time stamps fires in {rest} for the first time since"
        )));
    }
    let (client, server) = (place(&run.seen.client), place(&run.seen.server));
    let what = format!(
        "no byte moved for {} while the client was {client} (sent {}, received {}) and the server {server} (sent {}, received {})",
        humantime::format_duration(whole(idle)),
        run.seen.client.sent,
        run.seen.client.received,
        run.seen.server.sent,
        run.seen.server.received,
    );
    Some(Verdict::of(Kind::Stalled, &format!("client {client}, server {server}"), what))
}

/// A kernel that hung.
fn hung(hang: &Hang) -> Verdict {
    let (looks, what) = match hang {
        Hang::Computes { cpu } => {
            let cpu = humantime::format_duration(Duration::from_secs(cpu.as_secs()));
            ("the kernel computes for ever", format!("the kernel computed for {cpu} without letting any time pass"))
        }
        Hang::Holds { thread, place } => {
            let looks = format!("a call of the {thread} never came back from {place}");
            return Verdict::of(Kind::Stalled, &looks, looks.clone());
        }
    };
    Verdict::of(Kind::Stalled, looks, what)
}

/// The state in which an endpoint stopped.
fn place(story: &Story) -> &str {
    match story.state.as_str() {
        "" if story.connected => "connected",
        "" => "not connected",
        state => state,
    }
}

/// How late the links were, if that is late enough to explain the silence.
fn too_late(run: &Run<'_>) -> Option<Duration> {
    let worst = run.seen.links.values().map(|link| link.lateness).max()?;
    (worst > run.expected.patience / 4).then_some(whole(worst))
}

/// Whether an event has taken the first subflow from a connection that had no other: a flush takes them all, or another one was
/// refused, which its client took for established until it heard of that (an end that has shut down lets nobody join).
pub fn may_have_no_subflow(run: &Run<'_>) -> bool {
    let refused = BOTH.into_iter().any(|side| run.counter(side, "MPTcpExt.MPJoinRejected") > 0);
    let takes_all = |what: &Happening| refused || matches!(what, Happening::Flush { .. });
    run.case.events.iter().any(|event| run.case.loses_its_first(&event.what) && takes_all(&event.what))
}

/// Whether MPTCP sockets are left without any subflow, each with the timer that ends them a minute after the last one
/// (net.mptcp.close_timeout).
fn waits_for_subflows(run: &Run<'_>) -> bool {
    let sockets = run.seen.hosts.values().flat_map(|host| &host.stalled_sockets).filter(|it| it.state != "LISTEN");
    let (mptcp, tcp): (Vec<_>, Vec<_>) = sockets.partition(|socket| socket.protocol == "mptcp");
    let ends = |socket: &&SocketState| socket.timer.as_deref() == Some("keepalive");
    !mptcp.is_empty() && mptcp.iter().all(ends) && tcp.iter().all(|socket| socket.state == "TIME-WAIT")
}

/// The time until the retransmission timer of a connection without time stamps fires, if it has not fired since the last
/// progress but is still backed off from earlier losses. Without time stamps, the acknowledgement of retransmitted data says
/// nothing about the round trip, so the timeout stays doubled (RFC 6298 section 5, Karn's algorithm). If every packet is lost
/// once, for instance because the receiver has no memory for a whole one, each pause is twice as long as the one before.
fn keeps_its_pause(run: &Run<'_>) -> Option<Duration> {
    const TIMESTAMPS: u64 = 1;
    let detail = |socket: &SocketState, name: &str| socket.details.get(name).copied().unwrap_or(0);
    let keeps = |socket: &&SocketState| {
        socket.protocol == "tcp"
            && socket.timer.as_deref() == Some("retransmit")
            && detail(socket, "options") & TIMESTAMPS == 0
            && detail(socket, "backoff") > 0
            && detail(socket, "retransmits") == 0
    };
    let socket = run.seen.hosts.values().flat_map(|host| &host.stalled_sockets).find(keeps)?;
    Some(Duration::from_millis(detail(socket, "timer_expires_ms")))
}

/// Rounded down to tenths of a second.
fn whole(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64 / 100 * 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Action, Case, Host, LinkId, Pick, Protocol, Rule, Towards};
    use crate::observation::Observation;
    use crate::oracle::{healthy, judge};

    fn stalled(change: impl FnOnce(&mut Observation)) -> Verdict {
        let mut seen = healthy::observation(&Case::default());
        seen.end = End::Stalled { idle: Duration::from_millis(4321) };
        seen.client.state = "writing".into();
        seen.server.state = "reading".into();
        change(&mut seen);
        judge(&Case::default(), &seen)
    }

    #[test]
    fn mptcp_may_wait_for_another_subflow_where_something_resets_the_only_one() {
        let judged = |rules: Vec<Rule>, timer: Option<&str>, more: &[&str]| {
            let mut case = Case::default();
            (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
            case.server.host = Host::Ns2;
            case.links.entry(LinkId::Ns1Ns2).or_default().forward.rules = rules;
            let mut seen = crate::oracle::healthy::observation(&case);
            seen.end = End::Stalled { idle: Duration::from_secs(4) };
            let socket = |protocol: &str| SocketState {
                protocol: protocol.into(),
                state: "ESTAB".into(),
                timer: timer.map(str::to_owned),
                ..SocketState::default()
            };
            let sockets = ["mptcp"].iter().chain(more).map(|protocol| socket(protocol)).collect();
            seen.hosts.entry(Host::Ns1).or_default().stalled_sockets = sockets;
            crate::oracle::judge(&case, &seen).kind
        };
        let reset = || vec![Rule::once(Pick::Data(9), Action::Reset(Towards::Both))];
        assert_eq!(judged(reset(), Some("keepalive"), &[]), Kind::Skip);
        assert_eq!(judged(reset(), Some("keepalive"), &["tcp"]), Kind::Stalled, "a subflow is there");
        assert_eq!(judged(reset(), None, &[]), Kind::Stalled, "nothing will ever end it");
        assert_eq!(judged(vec![Rule::once(Pick::Data(9), Action::Alter(3))], Some("keepalive"), &[]), Kind::Skip);
        assert_eq!(judged(Vec::new(), Some("keepalive"), &[]), Kind::Stalled);
    }

    #[test]
    fn a_stall_is_named_by_where_both_ends_stood() {
        let verdict = stalled(|_| ());
        assert_eq!(
            (verdict.kind, verdict.signature.as_str()),
            (Kind::Stalled, "Stalled: client writing, server reading")
        );
        assert!(verdict.what.starts_with("no byte moved for 4s 300ms while"), "{}", verdict.what);
    }

    #[test]
    fn a_kernel_that_hung_is_a_stall_of_its_own() {
        let verdict = |hang| stalled(|seen| *seen = Observation::of_nothing(End::KernelHung(hang), "7.2.13".into()));
        let computes = verdict(Hang::Computes { cpu: Duration::from_millis(25_170) });
        assert_eq!(computes.signature, "Stalled: the kernel computes for ever");
        assert_eq!(computes.what, "the kernel computed for 25s without letting any time pass");
        let holds = verdict(Hang::Holds { thread: "client".into(), place: "lock_sock_nested".into() });
        assert_eq!(holds.signature, "Stalled: a call of the client never came back from lock_sock_nested");
    }

    #[test]
    fn a_stall_before_the_connection_is_named_too() {
        let verdict = stalled(|seen| {
            seen.client.connected = false;
            seen.client.state.clear();
        });
        assert_eq!(verdict.signature, "Stalled: client not connected, server reading");
    }

    #[test]
    fn a_timer_that_keeps_its_pause_without_time_stamps_leaves_it_undecided() {
        let waiting = |options: u64, retransmits: u64| {
            let details =
                [("options", options), ("retransmits", retransmits), ("backoff", 5), ("timer_expires_ms", 2390)];
            let details = details.map(|(name, value)| (name.to_owned(), value)).into();
            let timer = Some("retransmit".to_owned());
            let socket = SocketState { protocol: "tcp".into(), timer, details, ..SocketState::default() };
            stalled(|seen| seen.hosts.entry(Host::Ns1).or_default().stalled_sockets.push(socket)).kind
        };
        assert_eq!(waiting(6, 0), Kind::Skip);
        assert_eq!(waiting(7, 0), Kind::Stalled, "with time stamps the pause is taken anew");
        assert_eq!(waiting(6, 4), Kind::Stalled, "it has fired, and nothing came of it");
    }

    #[test]
    fn a_stall_under_links_that_were_late_themselves_is_undecided() {
        let verdict = stalled(|seen| {
            seen.links.entry(LinkId::Ns1Ns2).or_default().lateness = Duration::from_secs(3);
        });
        assert_eq!(verdict.kind, Kind::Skip);
    }
}
