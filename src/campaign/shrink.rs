//! Shrinking: from a case that fails to the smallest one found that fails in the same way.
//!
//! 1. The case is run again a few times, to learn whether it always fails. If not, every candidate gets several attempts,
//!    unless a nearby case is found that fails every time: then that one is shrunk.
//! 2. Its parameters are made simpler, greedily, as long as a simpler case fails with the same signature, and about as
//!    surely.
//! 3. What its links did at random in the failing run is written out as single faults, and these are thinned out. For a
//!    finding that does not always show, this comes first.
//!    In an exact world one run decides, here and everywhere. But a simpler case may pass there only because its links
//!    drew other numbers, so before the search ends it is tried with other seeds.
//! 4. The result is run [`VERIFY_RUNS`](super::verify::VERIFY_RUNS) times. If it does not fail in all of them, an
//!    earlier, larger case that does is taken instead.
//!
//! Every accepted step is in the file before the next one is tried, so whatever ends the shrinking, the file holds the
//! smallest case so far.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bench::{Bench, Halt, discard};
use super::pool::Done;
use super::rules::Rules;
use super::store::{Place, StoreError};
use super::verify::{self, verify};
use crate::case::{Case, Record, file};
use crate::oracle::Verdict;
use crate::report::Event;
use crate::world::World;

/// How often a finding is run again before anything is tried with it.
const FIRST_RUNS: u32 = 10;

/// How often in a row a simpler case has to fail again before it is accepted for a finding that always shows.
/// Without that the search drifts: of many candidates that fail now and then, one is always lucky, and the next search
/// begins from there.
const CONFIRM_RUNS: u32 = 9;

/// The number of other seeds that a simpler case is tried with in an exact world, once each.
const OTHER_SEEDS: u64 = 3;

/// How much a shrinking may cost. The verification at its end comes on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most this many runs; 0: findings are not shrunk.
    pub tests: u32,
    /// At most so long.
    pub time: Duration,
    /// How many runs a candidate gets to fail once, if the finding does not show every time.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { tests: 5_000, time: Duration::from_secs(120), attempts: 5 }
    }
}

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case, without a record.
    pub case: Case,
    /// How it failed.
    pub verdict: Verdict,
    /// On which kernel.
    pub kernel: String,
    /// The folder of its evidence.
    pub evidence: Option<PathBuf>,
}

impl Failure {
    /// What `done` was, with this verdict.
    pub fn of(done: &Done, verdict: &Verdict) -> Failure {
        let ran = done.result.as_ref().ok();
        Failure {
            case: Case { finding: None, ..done.case.clone() },
            verdict: verdict.clone(),
            kernel: ran.map(|ran| ran.kernel.clone()).unwrap_or_default(),
            evidence: ran.and_then(|ran| ran.evidence.clone()),
        }
    }

    /// The case with a record of what it showed.
    pub fn recorded(&self, world: &dyn World, seen: Option<String>) -> Case {
        let record = Record {
            verdict: format!("{}: {}", self.verdict.kind, self.verdict.what),
            signature: self.verdict.signature.clone(),
            kernel: self.kernel.clone(),
            world: world.name().to_owned(),
            program: world.program(),
            seen,
            note: None,
        };
        Case { finding: Some(record), ..self.case.clone() }
    }
}

/// A simpler case that fails: it is in the file.
#[derive(Debug)]
pub struct Step {
    tests: u64,
    payload: u64,
    faults: usize,
    lines: usize,
}

impl Step {
    fn of(case: &Case, tests: u64) -> Step {
        let directions = case.links.values().flat_map(|link| [&link.forward, &link.backward]);
        Step {
            tests,
            payload: case.client.payload.saturating_add(case.server.payload),
            faults: directions.map(|direction| direction.faults.len()).sum(),
            lines: file::to_text(case).lines().count(),
        }
    }

    /// The event that tells it.
    pub fn event(&self, signature: &str, file: &Path) -> Event {
        let Step { tests, payload, faults, lines } = *self;
        Event::ShrinkStep { signature: signature.to_owned(), file: file.to_owned(), tests, payload, faults, lines }
    }
}

/// What a shrinking came to. The case itself is in the file.
#[derive(Debug)]
pub struct Outcome {
    /// How many cases were run.
    pub tests: u64,
    /// How long it took.
    pub took: Duration,
    /// In how many of how many runs the saved case failed; `None` if it was interrupted before.
    pub seen: Option<String>,
    /// Whether the budget was spent.
    pub budget_spent: bool,
    /// Findings with other signatures that turned up meanwhile.
    pub others: Vec<Failure>,
}

impl Outcome {
    /// The event that tells it.
    pub fn event(&self, signature: &str, file: &Path) -> Event {
        Event::Shrunk {
            signature: signature.to_owned(),
            file: file.to_owned(),
            tests: self.tests,
            seconds: self.took.as_secs_f64(),
            seen: self.seen.clone(),
            budget_spent: self.budget_spent,
        }
    }
}

/// Why a shrinking could not go on: it was halted, or its file cannot be written.
#[derive(Debug)]
pub enum Ended {
    /// See [`Halt`].
    Halted(Halt),
    /// The file.
    Failed(StoreError),
}

impl From<Halt> for Ended {
    fn from(halt: Halt) -> Ended {
        Ended::Halted(halt)
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Ended {
        Ended::Failed(error)
    }
}

/// Shrinks the failure that is saved in `place`.
pub fn shrink(
    bench: Bench<'_>,
    rules: Rules,
    failure: Failure,
    place: &Place,
    on_step: &mut dyn FnMut(&Step),
) -> Result<Outcome, StoreError> {
    let mut shrinker =
        Shrinker { bench, rules, trail: vec![failure], place, on_step, rate: Rate { failed: 1, runs: 1 } };
    let mut budget_spent = match halted(shrinker.search())? {
        None => false,
        Some(Halt::Budget) => true,
        Some(Halt::Stopped) => return Ok(shrinker.outcome(None, false)),
    };
    let mut seen = verify(&mut shrinker.bench, &shrinker.trail, place);
    if matches!(&seen, Ok(seen) if !verify::is_sure(seen)) {
        match halted(shrinker.start_over_steadier())? {
            Some(Halt::Stopped) => return Ok(shrinker.outcome(None, budget_spent)),
            Some(Halt::Budget) => budget_spent = true,
            None => {}
        }
        if shrinker.trail.len() > 1 {
            seen = verify(&mut shrinker.bench, &shrinker.trail, place);
        }
    }
    match seen {
        Ok(seen) => Ok(shrinker.outcome(Some(seen), budget_spent)),
        Err(Ended::Halted(_)) => Ok(shrinker.outcome(None, budget_spent)),
        Err(Ended::Failed(error)) => Err(error),
    }
}

/// What halted a part of the search, if something did and it was no failure of ours.
fn halted(part: Result<(), Ended>) -> Result<Option<Halt>, StoreError> {
    match part {
        Ok(()) => Ok(None),
        Err(Ended::Halted(halt)) => Ok(Some(halt)),
        Err(Ended::Failed(error)) => Err(error),
    }
}

struct Shrinker<'a> {
    bench: Bench<'a>,
    rules: Rules,
    /// The cases accepted so far, each simpler than the one before. Never empty.
    trail: Vec<Failure>,
    place: &'a Place,
    on_step: &'a mut dyn FnMut(&Step),
    /// How often the case that candidates are measured by fails.
    rate: Rate,
}

/// In how many of how many runs a case failed.
#[derive(Clone, Copy, Debug)]
struct Rate {
    failed: u32,
    runs: u32,
}

impl Rate {
    fn is_certain(self) -> bool {
        self.failed == self.runs
    }

    /// Whether it is at least half of the other.
    fn is_about(self, other: Rate) -> bool {
        2 * self.failed * other.runs >= other.failed * self.runs
    }
}

impl Shrinker<'_> {
    fn search(&mut self) -> Result<(), Ended> {
        let (rate, failure) = self.weigh(&self.base().clone())?;
        discard(failure.and_then(|failure| failure.evidence));
        self.set_rate(rate);
        // A finding that depends on the timing of losses and outages usually shows more surely with a list of faults, and
        // the search gets cheaper.
        if !self.rate.is_certain() {
            self.write_out_faults()?;
        }
        if !self.rate.is_certain() {
            self.steady()?;
        }
        self.descend()?;
        if self.write_out_faults()? {
            self.descend()?;
        }
        Ok(())
    }

    fn base(&self) -> &Case {
        &self.trail.last().expect("the trail begins with the finding").case
    }

    /// Runs a case a few times. The failure is one of those runs, if there was one.
    fn weigh(&mut self, case: &Case) -> Result<(Rate, Option<Failure>), Halt> {
        let mut seen = self.bench.repeat(case, self.bench.runs(FIRST_RUNS))?;
        let more = self.bench.limits().attempts.saturating_sub(seen.runs);
        if seen.failed == 0 && more > 0 && !self.bench.world().is_exact() {
            seen = self.bench.repeat(case, more)?;
        }
        Ok((Rate { failed: seen.failed, runs: seen.runs }, seen.failure))
    }

    /// From now on, candidates are measured by this rate.
    fn set_rate(&mut self, rate: Rate) {
        if self.rate.is_certain() && !rate.is_certain() {
            // They had one attempt each, and get more now.
            self.bench.forget();
        }
        self.rate = rate;
    }

    /// How many runs a candidate gets to fail once.
    fn attempts(&self) -> u32 {
        if self.rate.is_certain() { 1 } else { self.bench.limits().attempts.max(1) }
    }

    /// How many failures in how many more runs it then needs.
    fn confirmation(&self) -> (u32, u32) {
        if self.bench.world().is_exact() {
            return (0, 0);
        }
        let Rate { failed, runs } = self.rate;
        let attempts = self.attempts();
        if self.rate.is_certain() { (CONFIRM_RUNS, CONFIRM_RUNS) } else { (attempts * failed / (2 * runs), attempts) }
    }

    /// Goes from simpler to simpler until nothing simpler fails.
    fn descend(&mut self) -> Result<(), Ended> {
        // Candidates that were just refused will mostly be refused again: the next search goes on from here, and comes
        // back to the beginning last.
        let mut from = 0;
        loop {
            let mut candidates = (self.rules.candidates)(self.base());
            if candidates.is_empty() {
                return Ok(());
            }
            let count = candidates.len();
            from %= count;
            candidates.rotate_left(from);
            let Some((index, failure)) = self.next_of(&candidates)? else {
                let Some(failure) = self.next_with_another_seed(&candidates)? else { return Ok(()) };
                self.accept(failure)?;
                continue;
            };
            from = (from + index) % count;
            self.accept(failure)?;
        }
    }

    /// The first of the candidates that fails with another seed. Only in an exact world, where runs with the same seed never
    /// draw anything new, and only if the links draw at all.
    fn next_with_another_seed(&mut self, candidates: &[Case]) -> Result<Option<Failure>, Halt> {
        if !self.bench.world().is_exact() || !self.is_random() {
            return Ok(None);
        }
        let others =
            |case: &Case| (0..OTHER_SEEDS).map(|n| Case { seed: case.seed.child(n), ..case.clone() }).collect();
        let reseeded: Vec<Case> = candidates.iter().flat_map::<Vec<Case>, _>(others).collect();
        Ok(self.next_of(&reseeded)?.map(|(_, failure)| failure))
    }

    /// Whether the links of the case do anything at random: in the failing run they did more than the case lists.
    fn is_random(&self) -> bool {
        self.spelled_out().is_some_and(|case| case != *self.base())
    }

    /// The case with single faults in place of what its links did at random in the failing run.
    fn spelled_out(&self) -> Option<Case> {
        let faults = (self.rules.read_faults)(&self.place.evidence)?;
        Some(Case { finding: None, ..(self.rules.explicit)(self.base(), &faults) })
    }

    /// The first of the candidates that fails about as surely as it has to.
    fn next_of(&mut self, candidates: &[Case]) -> Result<Option<(usize, Failure)>, Halt> {
        loop {
            let Some((index, failure)) = self.bench.first_failing(candidates, self.attempts())? else {
                return Ok(None);
            };
            let (failures, runs) = self.confirmation();
            if failures == 0 {
                return Ok(Some((index, failure)));
            }
            let again = self.bench.repeat(&failure.case, runs)?;
            discard(again.failure.and_then(|failure| failure.evidence));
            if again.failed >= failures {
                return Ok(Some((index, failure)));
            }
            self.bench.refuse(&failure.case);
            discard(failure.evidence);
        }
    }

    /// Searches once more from a case that is near the finding and fails every time, if there is one: what the first
    /// search came to does not. Else only the finding is left in the trail.
    fn start_over_steadier(&mut self) -> Result<(), Ended> {
        self.trail.truncate(1);
        self.bench.forget();
        self.rate = Rate { failed: 1, runs: 2 };
        self.steady()?;
        if self.rate.is_certain() {
            self.descend()?;
        }
        Ok(())
    }

    /// Goes over to a case nearby that fails every time, if there is one.
    fn steady(&mut self) -> Result<(), Ended> {
        for candidate in (self.rules.steadier)(self.base()) {
            match self.weigh(&candidate)? {
                (rate, Some(failure)) if rate.is_certain() => {
                    self.accept(failure)?;
                    self.set_rate(rate);
                    return Ok(());
                }
                (_, failure) => discard(failure.and_then(|failure| failure.evidence)),
            }
        }
        Ok(())
    }

    /// Puts single faults in place of what the links did at random. Whether there were any, and the case still
    /// fails about as surely.
    fn write_out_faults(&mut self) -> Result<bool, Ended> {
        let Some(explicit) = self.spelled_out() else { return Ok(false) };
        if explicit == *self.base() {
            return Ok(false);
        }
        match self.weigh(&explicit)? {
            (rate, Some(failure)) if rate.is_about(self.rate) => {
                self.accept(failure)?;
                self.set_rate(rate);
                Ok(true)
            }
            (_, failure) => {
                discard(failure.and_then(|failure| failure.evidence));
                Ok(false)
            }
        }
    }

    fn accept(&mut self, mut failure: Failure) -> Result<(), StoreError> {
        self.place.write(&failure.recorded(self.bench.world(), None))?;
        if let Some(evidence) = failure.evidence.take() {
            self.place.take_evidence(&evidence)?;
        }
        (self.on_step)(&Step::of(&failure.case, self.bench.tests()));
        self.trail.push(failure);
        Ok(())
    }

    fn outcome(self, seen: Option<String>, budget_spent: bool) -> Outcome {
        let (tests, took) = (self.bench.tests(), self.bench.elapsed());
        Outcome { tests, took, seen, budget_spent, others: self.bench.into_others() }
    }
}
