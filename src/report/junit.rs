//! JUnit XML, for continuous integration: one file, written at the end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::result::{Outcome, Results, TestResult};
use super::{Event, Report, words};
use crate::case::file::write_whole;

/// How many tests that passed are listed; more of them are only counted, in the property `passed beside`.
pub const PASSED_MAX: u64 = 100_000;

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the JUnit report {}: {cause}; choose another path for --junit", path.display())]
pub struct JunitError {
    path: PathBuf,
    cause: io::Error,
}

/// Gathers results for a file.
#[derive(Debug)]
pub struct Junit {
    path: PathBuf,
    suite: TestSuite,
    results: Results,
    passed: u64,
    took: Duration,
}

impl Junit {
    /// Gathers for the file `path`, whose suite is called `name`.
    ///
    /// # Errors
    /// Its folder is not there: said now, not after an hour.
    pub fn new(path: &Path, name: &str) -> Result<Junit, JunitError> {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let failed = |cause| JunitError { path: path.to_owned(), cause };
        if !folder.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let suite = TestSuite::new(name);
        Ok(Junit { path: path.to_owned(), suite, results: Results::default(), passed: 0, took: Duration::ZERO })
    }

    /// Adds the result of a test.
    pub fn test(&mut self, result: &TestResult) {
        self.took += result.took;
        if result.outcome == Outcome::Passed {
            self.passed += 1;
            if self.passed > PASSED_MAX {
                return;
            }
        }
        let mut case = TestCase::new(result.name.as_str(), status(&result.outcome));
        case.set_classname("whitewater").set_time(result.took);
        if !result.details.is_empty() {
            case.set_system_out(result.details.join("\n"));
        }
        self.suite.add_test_case(case);
    }

    /// Adds a property of the suite.
    pub fn property(&mut self, name: &str, value: &str) {
        self.suite.add_property(Property::new(name, value));
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written; the error names the path.
    pub fn finish(mut self) -> Result<(), JunitError> {
        if let Some(more @ 1..) = self.passed.checked_sub(PASSED_MAX) {
            self.property("passed beside", &more.to_string());
        }
        let mut report = quick_junit::Report::new("whitewater");
        self.suite.set_time(self.took);
        report.set_time(self.took).add_test_suite(self.suite);
        let text = report.to_string().map_err(io::Error::other);
        text.and_then(|text| write_whole(&self.path, text.as_bytes()))
            .map_err(|cause| JunitError { path: self.path.clone(), cause })
    }
}

impl Report for Junit {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { seed, world, kernel, .. } => {
                let properties = [("seed", &seed.to_string()), ("world", world), ("kernel", kernel)];
                properties.into_iter().for_each(|(name, value)| self.property(name, value));
            }
            Event::ReplayStarted { world, kernel, .. } => {
                [("world", world), ("kernel", kernel)].into_iter().for_each(|(name, value)| self.property(name, value));
            }
            Event::Finished(_) => {
                self.suite.set_system_out(words::of(event).unwrap_or_default());
            }
            _ => {}
        }
        for result in self.results.of(event) {
            self.test(&result);
        }
    }
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    let of = |mut status: TestCaseStatus, kind: &str, message: &str| {
        status.set_type(kind).set_message(message);
        status
    };
    let non_success = TestCaseStatus::non_success;
    match outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed(kind, what) => of(non_success(NonSuccessKind::Failure), &kind.to_string(), what),
        Outcome::Trouble(what) => of(non_success(NonSuccessKind::Error), "trouble", what),
        Outcome::Known(note) => of(TestCaseStatus::skipped(), "known", &format!("known: {note}")),
        Outcome::Skipped(why) => of(TestCaseStatus::skipped(), "skipped", why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{events, replay_events};
    use super::*;

    fn told(events: &[Event]) -> quick_junit::Report {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.xml");
        let mut junit = Junit::new(&path, "whitewater run").unwrap();
        events.iter().for_each(|event| junit.event(event));
        assert!(!path.exists(), "nothing is written before the end");
        junit.finish().unwrap();
        quick_junit::Report::deserialize_from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_campaign_is_read_back_from_its_file() {
        let report = told(&events());
        assert_eq!((report.tests, report.failures, report.errors), (4, 1, 1));
        let suite = &report.test_suites[0];
        assert_eq!((suite.name.as_str(), suite.skipped), ("whitewater run", 1));
        let seed = suite.properties.iter().find(|property| property.name.as_str() == "seed").expect("the seed");
        assert_eq!(seed.value.as_str(), "0x0000000000000012");
        let failed = &suite.test_cases[1];
        assert_eq!(failed.name.as_str(), "case 1 seed 0x0000000000000001");
        assert!(failed.system_out.as_ref().unwrap().as_str().contains("saved as findings/corrupt-1a2b3c4d.toml"));
        let TestCaseStatus::NonSuccess { kind, message, ty, .. } = &failed.status else { panic!("{failed:?}") };
        assert_eq!((*kind, ty.as_ref().unwrap().as_str()), (NonSuccessKind::Failure, "Corrupt"));
        assert!(message.as_ref().unwrap().as_str().starts_with("client>server: 1448 bytes"));
    }

    #[test]
    fn a_replay_is_read_back_from_its_file() {
        let report = told(&replay_events());
        assert_eq!((report.tests, report.failures, report.errors), (3, 1, 0));
        assert_eq!(report.test_suites[0].test_cases[0].name.as_str(), "findings/corrupt #1.toml run 1");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_at_once() {
        let error = Junit::new(Path::new("/nowhere/at/all.xml"), "run").unwrap_err().to_string();
        assert!(error.starts_with("cannot write the JUnit report /nowhere/at/all.xml: "), "{error}");
    }
}
