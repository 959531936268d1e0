//! The kernel complained: a panic, a warning, a report of one of its own checks.

use super::{Kind, Run, Verdict};

pub(super) fn check(run: &Run<'_>) -> Option<Verdict> {
    let first = run.seen.kernel_log.first()?.trim();
    Some(Verdict::of(Kind::Splat, &looks(first), first.to_owned()))
}

/// A complaint without what differs between two of the same kind: numbers, and where in a function it was.
fn looks(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let place = word.split_once("+0x").map_or(word, |(function, _)| function);
        let digits = place.trim_start_matches("0x");
        let is_number = digits.contains(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if is_number { "#" } else { place }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::observation::Observation;
    use crate::oracle::judge;

    #[test]
    fn a_complaint_is_a_finding_whatever_else_was_seen() {
        let mut seen = Observation::of_a_crash("7.2.13".into());
        seen.trouble.push("the server panicked".into());
        seen.kernel_log = vec!["BUG: KASAN: slab-use-after-free in tcp_ack+0x12/0x340".into(), "Read of size 8".into()];
        let verdict = judge(&Case::default(), &seen);
        assert_eq!(verdict.kind, Kind::Splat);
        assert_eq!(verdict.signature, "Splat: BUG: KASAN: slab-use-after-free in tcp_ack");
    }

    #[test]
    fn addresses_make_no_difference() {
        assert_eq!(
            looks("WARNING: CPU: 0 PID: 12 at net/core/dev.c:77 f+0x1/0x2"),
            "WARNING: CPU: # PID: # at net/core/dev.c:77 f"
        );
    }
}
