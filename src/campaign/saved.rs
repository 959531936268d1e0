//! Saved cases: run again, or shrunk further.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::bench::{Bench, Halt};
use super::pool::{Done, Job, Pool};
use super::rules::Rules;
use super::shrink::{Failure, Limits, shrink};
use super::store::{Place, StoreError, failed};
use crate::case::Case;
use crate::observation::CaptureStory;
use crate::oracle::Verdict;
use crate::report::{Event, Report};
use crate::world::{World, WorldError};

/// How often a wait for results checks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// Saved cases to run again.
pub struct Replay<'a> {
    /// Where they run.
    pub world: Arc<dyn World>,
    /// How they are judged.
    pub rules: Rules,
    /// The cases.
    pub cases: &'a [Case],
    /// How often each is run.
    pub times: u32,
    /// How many run at once.
    pub jobs: usize,
    /// Where evidence goes: into a folder `<case>-<run>` for each run, numbered from 1.
    pub evidence: Option<&'a Path>,
    /// Whether to keep the evidence of every run, not only of findings.
    pub keep_all: bool,
    /// Once set, no more cases are run and those that run are abandoned.
    pub stop: Arc<AtomicBool>,
}

impl fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("cases", &self.cases).field("times", &self.times).finish_non_exhaustive()
    }
}

/// One run of a saved case.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Which case, from 0.
    pub case: usize,
    /// Which of its runs, from 0.
    pub run: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether this machine cannot run the case at all.
    pub unable: bool,
    /// How long it took.
    pub took: Duration,
    /// The folder with its evidence, if it was kept.
    pub evidence: Option<PathBuf>,
    /// What was captured on the hosts of both ends, if that was asked for.
    pub captured: Option<CaptureStory>,
}

impl Replay<'_> {
    /// Runs them, and tells each run in order: all runs of the first case, then all of the second. Returns whether it
    /// came to the end, and was not stopped.
    pub fn run(&self, tell: &mut dyn FnMut(&Replayed)) -> bool {
        let pool = Pool::start(Arc::clone(&self.world), self.rules, self.jobs, Arc::clone(&self.stop));
        let (reply, results) = channel();
        let times = u64::from(self.times);
        let total = self.cases.len() as u64 * times;
        let mut early: BTreeMap<u64, Done> = BTreeMap::new();
        let (mut submitted, mut told) = (0, 0);
        while told < total {
            // Results that came early wait for those before them: they are bounded as well.
            while submitted < total && submitted - told < 4 * pool.width() as u64 {
                let case = &self.cases[(submitted / times) as usize];
                let keep = self.keep(submitted / times + 1, submitted % times + 1);
                pool.submit(Job { ticket: submitted, case: case.clone(), keep, reply: reply.clone() });
                submitted += 1;
            }
            match results.recv_timeout(TICK) {
                _ if pool.stopped() => return false,
                Ok(done) => drop(early.insert(done.ticket, done)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender itself"),
            }
            while let Some(done) = early.remove(&told) {
                tell(&Replayed {
                    case: (told / times) as usize,
                    run: (told % times) as u32,
                    verdict: done.verdict(),
                    unable: matches!(done.result, Err(WorldError::Unable(_))),
                    took: done.took,
                    captured: done.result.as_ref().ok().and_then(|ran| ran.captured),
                    evidence: done.result.ok().and_then(|ran| ran.evidence),
                });
                told += 1;
            }
        }
        true
    }

    fn keep(&self, case: u64, run: u64) -> super::pool::Keep {
        let folder = self.evidence.map(|evidence| evidence.join(format!("{case}-{run}")));
        let keep_all = self.keep_all;
        Box::new(move |verdict| {
            let folder = folder.clone().filter(|_| keep_all || verdict.kind.is_finding())?;
            fs::create_dir_all(&folder).ok().map(|()| folder)
        })
    }
}

/// A saved case to shrink further.
pub struct Shrink {
    /// Where its candidates run.
    pub world: Arc<dyn World>,
    /// How they are judged and made simpler.
    pub rules: Rules,
    /// The case.
    pub case: Case,
    /// The file that every improvement is written to; evidence goes to the folder of the same name without `.toml`.
    pub file: PathBuf,
    /// How many candidates run at once.
    pub jobs: usize,
    /// How much it may cost.
    pub limits: Limits,
    /// Once set, the shrinking stops; the file holds what was reached.
    pub stop: Arc<AtomicBool>,
}

impl fmt::Debug for Shrink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shrink").field("file", &self.file).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why a saved case could not be shrunk.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// A file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not fail.
    #[error("{} does not fail here: {runs} of {runs} runs passed; give it more with --attempts", file.display())]
    DoesNotFail {
        /// The file.
        file: PathBuf,
        /// How often it was run.
        runs: u32,
    },
    /// The world cannot run it.
    #[error("cannot run {}: {reason}", file.display())]
    CannotRun {
        /// The file.
        file: PathBuf,
        /// What the world said.
        reason: String,
    },
    /// It was told to stop before the case had failed once.
    #[error("interrupted before {} had failed once", .0.display())]
    Interrupted(PathBuf),
}

impl Shrink {
    /// Shrinks it. The events are [`Event::Finding`], [`Event::ShrinkStep`] and [`Event::Shrunk`].
    ///
    /// It looks for the way the case fails now, not for the one on record, which may come from another kernel.
    pub fn run(&self, report: &mut dyn Report) -> Result<(), ShrinkError> {
        let parent = match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let scratch = tempfile::Builder::new()
            .prefix(".whitewater-shrink-")
            .tempdir_in(parent)
            .map_err(failed("make a folder in", parent))?;
        let pool = Pool::start(Arc::clone(&self.world), self.rules, self.jobs, Arc::clone(&self.stop));
        let failure = self.first_failure(&pool, scratch.path())?;
        let place = Place {
            file: self.file.clone(),
            evidence: self.file.with_extension(""),
            scratch: scratch.path().join("runs"),
        };
        place.write(&failure.recorded(&*self.world, None))?;
        if let Some(evidence) = &failure.evidence {
            place.take_evidence(evidence)?;
        }
        let signature = failure.verdict.signature.clone();
        report.event(&Event::Finding {
            signature: signature.clone(),
            verdict: failure.verdict.kind,
            what: failure.verdict.what.clone(),
            seed: failure.case.seed,
            file: self.file.clone(),
        });
        let mut step = |step: &super::shrink::Step| report.event(&step.event(&signature, &self.file));
        let bench = Bench::new(&pool, &signature, self.limits, &place.scratch);
        let outcome = shrink(bench, self.rules, failure, &place, &mut step)?;
        report.event(&outcome.event(&signature, &self.file));
        Ok(())
    }

    /// Runs the case until it fails.
    fn first_failure(&self, pool: &Pool, scratch: &Path) -> Result<Failure, ShrinkError> {
        let (reply, results) = channel();
        let runs = self.limits.attempts.max(1);
        for run in 0..runs {
            let folder = scratch.join(format!("first-{run}"));
            let keep = Box::new(move |verdict: &Verdict| {
                (verdict.kind.is_finding() && fs::create_dir_all(&folder).is_ok()).then(|| folder.clone())
            });
            pool.submit(Job { ticket: run.into(), case: self.case.clone(), keep, reply: reply.clone() });
            let done = wait(pool, &results).map_err(|_| ShrinkError::Interrupted(self.file.clone()))?;
            let verdict = done.verdict();
            if verdict.kind.is_finding() {
                return Ok(Failure::of(&done, &verdict));
            }
            if let Err(WorldError::Unable(reason)) = done.result {
                return Err(ShrinkError::CannotRun { file: self.file.clone(), reason });
            }
        }
        Err(ShrinkError::DoesNotFail { file: self.file.clone(), runs })
    }
}

fn wait(pool: &Pool, results: &std::sync::mpsc::Receiver<Done>) -> Result<Done, Halt> {
    loop {
        if pool.stopped() {
            return Err(Halt::Stopped);
        }
        if let Ok(done) = results.recv_timeout(TICK) {
            return Ok(done);
        }
    }
}
