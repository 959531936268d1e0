//! Whether a finished transfer ended in order: each endpoint sent everything, shut down, and saw the end of the other's
//! stream.

use crate::oracle::expectation::middlebox;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Looks at both endpoints of a run that finished without errors.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    BOTH.into_iter().find_map(|side| endpoint(run, side))
}

fn endpoint(run: &Run<'_>, side: Sender) -> Option<Verdict> {
    let (story, name) = (run.story(side), side.name());
    let rounds = run.case.rounds.count;
    // After an endpoint has read a byte that a middlebox altered, it makes no further connection.
    let altered = middlebox::alter(run.case) && BOTH.into_iter().any(|side| run.story(side).mismatch.is_some());
    if altered {
        return None;
    }
    // Nor after a server has left before its client's connect() returned.
    let is_left = run.story(Sender::Server).left;
    let in_connect = run.story(Sender::Client).error.as_ref().is_some_and(|error| error.call == "connect");
    if rounds > 1 && story.rounds < rounds && !(is_left && in_connect) {
        let what = format!("the {name} came to the end of {} of {rounds} connections", story.rounds);
        return Some(Verdict::of(Kind::Reset, &format!("{name} did not come to its last connection"), what));
    }
    // Errors were judged before: one that is left is how the endpoint noticed that its peer has left.
    if story.left || story.error.is_some() {
        return None;
    }
    let payload = run.endpoint(side).payload;
    let (kind, looks) = match story {
        story if !story.connected => (Kind::Reset, "never connected"),
        story if story.sent < payload => (Kind::Truncated, "did not send everything"),
        story if !story.shut_down => (Kind::Reset, "did not shut down"),
        story if !story.end_of_stream => (Kind::Reset, "saw no end of stream"),
        _ => return None,
    };
    let what =
        format!("the {name} finished, but {looks} (sent {} of {payload}, received {})", story.sent, story.received);
    Some(Verdict::of(kind, &format!("{name} {looks}"), what))
}

#[cfg(test)]
mod tests {
    use crate::case::{Action, Case, Host, Leave, LinkId, Manner, Pick, Rounds, Rule};
    use crate::observation::{CallError, Story};
    use crate::oracle::{healthy, judge};
    use crate::payload::{Damage, Mismatch, Sender};

    fn judged(change: impl FnOnce(&mut Story)) -> String {
        let mut case = Case::default();
        case.server.payload = 10;
        let mut seen = healthy::observation(&case);
        change(&mut seen.server);
        judge(&case, &seen).signature
    }

    #[test]
    fn a_byte_that_a_middlebox_changed_ends_the_rounds() {
        let mut case = Case { rounds: Rounds { count: 2, reuse: false }, ..Case::default() };
        case.client.payload = 100;
        case.server.host = Host::Ns2;
        let mut seen = healthy::observation(&case);
        (seen.client.rounds, seen.server.rounds) = (0, 0);
        assert_eq!(judge(&case, &seen).signature, "Reset: client did not come to its last connection");
        case.links.entry(LinkId::Ns1Ns2).or_default().forward.rules = vec![Rule::once(Pick::Data(0), Action::Alter(0))];
        let kind = Damage::BitFlip;
        seen.server.mismatch =
            Some(Mismatch { kind, offset: 7, length: 1, expected: 100, received: 100, hex: String::new() });
        assert_eq!(judge(&case, &seen).signature, "Pass");
    }

    #[test]
    fn a_server_that_leaves_before_its_client_knows_it_connected_ends_the_rounds() {
        let judged = |call: &str, left| {
            let leave = Leave { by: Sender::Server, how: Manner::Linger, sent: 0, received: 0 };
            let mut case = Case { rounds: Rounds { count: 2, reuse: false }, ..Case::default() };
            case.ending.leave = Some(leave);
            let mut seen = healthy::observation(&case);
            (seen.server.left, seen.server.shut_down) = (left, false);
            (seen.client.rounds, seen.client.end_of_stream) = (1, false);
            seen.client.error = Some(CallError { call: call.into(), errno: "ECONNRESET".into(), sent: 0, received: 0 });
            judge(&case, &seen).signature
        };
        assert_eq!(judged("connect", true), "Pass");
        assert_eq!(judged("recv", true), "Reset: client did not come to its last connection");
        assert_ne!(judged("connect", false), "Pass");
    }

    #[test]
    fn an_orderly_end_passes() {
        assert_eq!(judged(|_| ()), "Pass");
    }

    #[test]
    fn each_step_of_the_end_is_needed() {
        assert_eq!(judged(|server| server.connected = false), "Reset: server never connected");
        assert_eq!(judged(|server| server.sent = 9), "Truncated: server did not send everything");
        assert_eq!(judged(|server| server.shut_down = false), "Reset: server did not shut down");
        assert_eq!(judged(|server| server.end_of_stream = false), "Reset: server saw no end of stream");
    }
}
