//! Whether a transfer that came to its end did so in order at both ends: each sent everything, shut down, and saw the
//! end of the other's stream.

use super::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Looks at both endpoints of a run that finished without errors.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    BOTH.into_iter().find_map(|side| endpoint(run, side))
}

fn endpoint(run: &Run<'_>, side: Sender) -> Option<Verdict> {
    let (story, name) = (run.story(side), side.name());
    let rounds = run.case.rounds.count;
    if rounds > 1 && story.rounds < rounds {
        let what = format!("the {name} came to the end of {} of {rounds} connections", story.rounds);
        return Some(Verdict::of(Kind::Reset, &format!("{name} did not come to its last connection"), what));
    }
    // Errors have been judged before: one that is still there is how it learnt that its peer has left.
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
    use crate::case::Case;
    use crate::observation::Story;
    use crate::oracle::{healthy, judge};

    fn judged(change: impl FnOnce(&mut Story)) -> String {
        let mut case = Case::default();
        case.server.payload = 10;
        let mut seen = healthy::observation(&case);
        change(&mut seen.server);
        judge(&case, &seen).signature
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
