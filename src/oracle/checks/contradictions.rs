//! Whether the kernel kept its word about a stream: what a peek showed, what TCP_INQ promised.

use crate::oracle::{BOTH, Kind, Run, Verdict};

/// Looks at what the endpoints noted.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    BOTH.into_iter().find_map(|side| {
        let contradiction = run.story(side).contradictions.first()?;
        let name = side.name();
        // What is no byte of the stream is a figure or a state.
        let figure = ["TCP_INQ", "SO_TIMESTAMPNS", "TCP_ULP"].iter().any(|name| contradiction.looks.contains(name));
        let kind = if figure { Kind::CounterBroken } else { Kind::Corrupt };
        Some(Verdict::of(kind, &format!("{name}: {}", contradiction.looks), format!("{name}: {}", contradiction.what)))
    })
}

#[cfg(test)]
mod tests {
    use crate::case::Case;
    use crate::observation::Contradiction;
    use crate::oracle::{healthy, judge};

    fn judged(looks: &str) -> String {
        let case = Case::default();
        let mut seen = healthy::observation(&case);
        seen.server.contradictions.push(Contradiction { looks: looks.into(), what: "in numbers".into() });
        judge(&case, &seen).signature
    }

    #[test]
    fn a_peek_that_was_wrong_is_corruption_and_a_wrong_figure_a_broken_counter() {
        let looks = "a read got other bytes than the peek before it";
        assert_eq!(judged(looks), format!("Corrupt: server: {looks}"));
        let looks = "TCP_INQ is more than the stream has left";
        assert_eq!(judged(looks), format!("CounterBroken: server: {looks}"));
    }
}
