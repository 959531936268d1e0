//! Results of tests, as KTAP and JUnit know them, and how a campaign's events become such.

use std::time::Duration;

use super::Event;
use crate::oracle::Kind;

/// What became of one test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestResult {
    /// Its name: one line.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// More to say about it, a line each.
    pub details: Vec<String>,
}

/// What may become of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All as it should be.
    Passed,
    /// It failed: the verdict, and what was seen.
    Failed(Kind, String),
    /// It failed as it is known to on this kernel: what is known.
    Known(String),
    /// It could not be decided: why.
    Skipped(String),
    /// Trouble of our own: what.
    Trouble(String),
}

impl TestResult {
    /// The result of a run with this verdict.
    fn of(name: String, verdict: Kind, what: &str, seconds: f64) -> TestResult {
        let what = what.to_owned();
        let outcome = match verdict {
            Kind::Pass => Outcome::Passed,
            Kind::Skip => Outcome::Skipped(what),
            Kind::HarnessError => Outcome::Trouble(what),
            kind => Outcome::Failed(kind, what),
        };
        let took = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        TestResult { name, outcome, took, details: Vec::new() }
    }

    /// Adds a line of details.
    fn with(mut self, detail: String) -> TestResult {
        self.details.push(detail);
        self
    }
}

/// Makes results out of events. A case that failed is known or new, and the event behind it says which: until then its
/// result is held back.
#[derive(Debug, Default)]
pub struct Results {
    held: Option<TestResult>,
}

impl Results {
    /// The results that are certain with this event, in order.
    pub fn of(&mut self, event: &Event) -> Vec<TestResult> {
        match event {
            Event::CaseDone { index, seed, verdict, what, seconds, .. } => {
                let result = TestResult::of(format!("case {index} seed {seed}"), *verdict, what, *seconds);
                let certain = matches!(verdict, Kind::Pass | Kind::Skip);
                let before = if certain { self.held.take() } else { self.held.replace(result.clone()) };
                before.into_iter().chain(certain.then_some(result)).collect()
            }
            Event::Known { signature, note, .. } => self.release(|result| TestResult {
                outcome: Outcome::Known(if note.is_empty() { signature.clone() } else { note.clone() }),
                ..result.with(signature.clone())
            }),
            Event::Again { signature, count, .. } => {
                self.release(|result| result.with(format!("{signature}, seen {count} times by now")))
            }
            Event::Finding { signature, file, .. } => {
                self.release(|result| result.with(format!("{signature}, saved as {}", file.display())))
            }
            Event::Trouble { file, .. } => self.release(|result| match file {
                Some(file) => result.with(format!("kept as {}", file.display())),
                None => result,
            }),
            Event::Replayed { name, run, runs, verdict, what, seconds, evidence, .. } => {
                let name = if *runs > 1 { format!("{name} run {run}") } else { name.clone() };
                let result = TestResult::of(name, *verdict, what, *seconds);
                let kept = evidence.as_ref().map(|folder| format!("evidence: {}", folder.display()));
                vec![kept.into_iter().fold(result, TestResult::with)]
            }
            Event::Finished(_) => self.held.take().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn release(&mut self, more: impl FnOnce(TestResult) -> TestResult) -> Vec<TestResult> {
        self.held.take().map(more).into_iter().collect()
    }
}
