//! KTAP version 1 (Documentation/dev-tools/ktap.rst of the kernel tree): what kernel test runners read.
//!
//! [`Ktap`] writes it, for tests of any kind; [`KtapReport`] feeds it with the events of a campaign or a replay.
//!
//! ```text
//! KTAP version 1
//! 1..3
//! ok 1 case 0 seed 0x0000000000000012 # time=31ms
//! # TRUNCATED: server>client ended after 0 of 14280 bytes
//! not ok 2 case 1 seed 0x0000000000000013 # time=40ms
//! ok 3 case 2 seed 0x0000000000000014 # SKIP this kernel gives no socket of the case's protocol
//! ```
//!
//! If the number of tests is not known beforehand, the plan is the last line. A known failure is an `ok` with `XFAIL`, and
//! trouble of our own a `not ok` with `ERROR`.

use std::io::Write;

use super::result::{Outcome, Results, TestResult};
use super::{Event, Report, words};

/// Writes KTAP. A reader that goes away ends nothing.
#[derive(Debug)]
pub struct Ktap<W: Write> {
    out: W,
    tests: u64,
    planned: Option<u64>,
}

impl<W: Write> Ktap<W> {
    /// Writes to `out`, nothing yet.
    pub fn new(out: W) -> Ktap<W> {
        Ktap { out, tests: 0, planned: None }
    }

    /// Writes the version and, where the number of tests is known, the plan. Comes first.
    pub fn begin(&mut self, tests: Option<u64>) {
        self.line("KTAP version 1");
        if let Some(tests) = tests {
            self.line(&format!("1..{tests}"));
            self.planned = Some(tests);
        }
    }

    /// Writes diagnostics: each line of `text` as one of its own.
    pub fn comment(&mut self, text: &str) {
        for line in text.lines() {
            self.line(format!("# {}", tame(line)).trim_end());
        }
    }

    /// Writes the result of a test, with its details before it.
    pub fn test(&mut self, result: &TestResult) {
        self.tests += 1;
        let millis = result.took.as_millis();
        let (ok, directive) = match &result.outcome {
            Outcome::Passed => ("ok", format!("time={millis}ms")),
            Outcome::Failed(kind, what) => {
                self.comment(&format!("{}: {what}", words::loud(*kind)));
                ("not ok", format!("time={millis}ms"))
            }
            Outcome::Known(note) => ("ok", format!("XFAIL {}", one_line(note))),
            Outcome::Skipped(why) => ("ok", format!("SKIP {}", one_line(why))),
            Outcome::Trouble(what) => ("not ok", format!("ERROR {}", one_line(what))),
        };
        result.details.iter().for_each(|detail| self.comment(detail));
        // A number sign begins the directive.
        let name = one_line(&result.name).replace('#', "_");
        self.line(&format!("{ok} {} {name} # {directive}", self.tests));
    }

    /// Ends it: with the plan, where that has not been told.
    pub fn finish(&mut self) {
        if self.planned.is_none() {
            self.line(&format!("1..{}", self.tests));
            self.planned = Some(self.tests);
        }
    }

    fn line(&mut self, line: &str) {
        // If nobody reads any more, the exit code still says what happened.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

/// What a runner may print on a terminal.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn one_line(text: &str) -> String {
    tame(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reports a campaign, or a replay, in KTAP: each case is a test, and everything else a diagnostic.
#[derive(Debug)]
pub struct KtapReport<W: Write> {
    ktap: Ktap<W>,
    results: Results,
}

impl<W: Write> KtapReport<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> KtapReport<W> {
        KtapReport { ktap: Ktap::new(out), results: Results::default() }
    }
}

impl<W: Write> Report for KtapReport<W> {
    fn event(&mut self, event: &Event) {
        match event {
            // The plan comes last: a campaign may end early, with a finding, with its time or by an interrupt.
            Event::Started { .. } => self.ktap.begin(None),
            Event::ReplayStarted { runs, .. } => self.ktap.begin(Some(*runs)),
            _ => {}
        }
        let results = self.results.of(event);
        if results.is_empty() && !matches!(event, Event::CaseDone { .. }) {
            self.ktap.comment(&words::of(event).unwrap_or_default());
        }
        results.iter().for_each(|result| self.ktap.test(result));
        if matches!(event, Event::Finished(_) | Event::ReplayFinished { .. }) {
            self.ktap.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{events, replay_events};
    use super::*;

    fn told(events: &[Event]) -> String {
        let mut out = Vec::new();
        let mut report = KtapReport::new(&mut out);
        events.iter().for_each(|event| report.event(event));
        String::from_utf8(out).unwrap()
    }

    /// Reads KTAP line by line as its documentation has it, and counts the tests: all of them, and those that failed.
    fn read(text: &str) -> Result<(u64, u64), String> {
        let mut lines = text.lines();
        if lines.next() != Some("KTAP version 1") {
            return Err("no version".to_owned());
        }
        let (mut tests, mut failed, mut plan, mut behind) = (0, 0, None, false);
        for line in lines {
            let wrong = |what: &str| Err(format!("{what}: {line:?}"));
            if line.chars().any(char::is_control) {
                return wrong("a control character");
            } else if line.starts_with('#') {
                continue;
            } else if behind {
                return wrong("a line behind the plan at the end");
            } else if let Some(count) = line.strip_prefix("1..") {
                behind = tests > 0;
                if plan.replace(count.parse::<u64>().map_err(|error| error.to_string())?).is_some() {
                    return wrong("a second plan");
                }
                continue;
            }
            let (bad, rest) = match (line.strip_prefix("not ok "), line.strip_prefix("ok ")) {
                (Some(rest), _) => (true, rest),
                (_, Some(rest)) => (false, rest),
                _ => return wrong("neither a result nor a diagnostic"),
            };
            let (number, rest) = rest.split_once(' ').ok_or("no name")?;
            tests += 1;
            failed += u64::from(bad);
            let (name, directive) = rest.split_once(" # ").ok_or("no directive and no time")?;
            let time = directive.strip_prefix("time=").and_then(|time| time.strip_suffix("ms"));
            let known = ["SKIP ", "XFAIL ", "ERROR "].iter().any(|word| directive.starts_with(word));
            if number.parse() != Ok(tests) {
                return wrong("numbers are not in a row");
            } else if name.is_empty() || name.contains('#') || directive.contains('#') {
                return wrong("a number sign too many, or no name");
            } else if !known && time.is_none_or(|time| time.parse::<u64>().is_err()) {
                return wrong("neither a directive nor a time");
            }
        }
        if plan == Some(tests) { Ok((tests, failed)) } else { Err(format!("planned {plan:?}, ran {tests}")) }
    }

    #[test]
    fn a_campaign_is_told_in_ktap() {
        insta::assert_snapshot!(told(&events()));
    }

    #[test]
    fn a_replay_is_told_in_ktap() {
        insta::assert_snapshot!(told(&replay_events()));
    }

    #[test]
    fn every_line_is_valid() {
        assert_eq!(read(&told(&events())), Ok((4, 2)));
        assert_eq!(read(&told(&replay_events())), Ok((3, 1)));
    }

    #[test]
    fn what_is_not_valid_is_seen() {
        let fine = told(&replay_events());
        let broken = [
            fine.replace("1..3", "1..4"),
            fine.replace("not ok 2", "not ok 3"),
            fine.replace("KTAP version 1", "TAP version 13"),
            fine.replace("# CORRUPT", "CORRUPT"),
            fine.replace("time=40ms", "in 40ms"),
        ];
        for text in broken {
            assert_ne!(text, fine);
            assert!(read(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn tests_without_a_campaign_have_their_plan_at_the_end() {
        let mut out = Vec::new();
        let mut ktap = Ktap::new(&mut out);
        ktap.begin(None);
        ktap.comment("client > server\nboth on ns1");
        let (name, took, details) = ("ns1 MPTCP -> ns1 #1".to_owned(), Duration::from_millis(7), Vec::new());
        ktap.test(&TestResult { name, outcome: Outcome::Passed, took, details });
        ktap.finish();
        ktap.finish();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "KTAP version 1\n# client > server\n# both on ns1\nok 1 ns1 MPTCP -> ns1 _1 # time=7ms\n1..1\n"
        );
    }
}
