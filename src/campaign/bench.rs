//! Runs the candidates of one shrinking: several at a time, within a budget, no case twice.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::pool::{Done, Job, Pool};
use super::shrink::{Failure, Limits};
use crate::case::{Case, file};
use crate::world::World;

/// How often a wait for results checks the time.
const TICK: Duration = Duration::from_millis(50);

/// How many findings with other signatures are remembered.
const OTHERS_MAX: usize = 8;

/// Why no more cases are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The budget is spent.
    Budget,
    /// The campaign was told to stop.
    Stopped,
}

/// What some runs of one case showed.
#[derive(Debug)]
pub struct Repeated {
    /// How many runs there were.
    pub runs: u32,
    /// How many of them failed in the wanted way.
    pub failed: u32,
    /// One of those failures, with its evidence.
    pub failure: Option<Failure>,
}

/// Where the candidates of one finding are run.
pub struct Bench<'a> {
    pool: &'a Pool,
    signature: &'a str,
    limits: Limits,
    begin: Instant,
    scratch: &'a Path,
    tests: u64,
    reply: Sender<Done>,
    results: Receiver<Done>,
    /// Cases that did not fail, each by its [`digest`].
    passed: HashSet<[u8; 32]>,
    others: BTreeMap<String, Failure>,
}

/// How far one candidate has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    submitted: u32,
    answered: u32,
    failed: bool,
}

/// A search for the first of some candidates that fails.
struct Search<'a> {
    candidates: &'a [Case],
    attempts: u32,
    progress: Vec<Progress>,
    /// The runs under way, each with the index of its candidate.
    tickets: BTreeMap<u64, usize>,
    /// The first candidate that has failed so far.
    best: Option<(usize, Failure)>,
}

impl Search<'_> {
    /// How many candidates still matter: none behind one that fails can be the answer.
    fn end(&self) -> usize {
        self.best.as_ref().map_or(self.candidates.len(), |(index, _)| *index)
    }

    fn is_decided(&self) -> bool {
        self.progress[..self.end()].iter().all(|one| one.answered >= self.attempts)
    }

    /// The next candidate to run.
    fn next(&self) -> Option<usize> {
        self.progress[..self.end()].iter().position(|one| one.submitted < self.attempts)
    }
}

impl<'a> Bench<'a> {
    /// A bench that looks for failures that look like this signature. Evidence goes below `scratch`.
    pub fn new(pool: &'a Pool, signature: &'a str, limits: Limits, scratch: &'a Path) -> Bench<'a> {
        let (reply, results) = channel();
        let (passed, others) = Default::default();
        let begin = Instant::now();
        Bench { pool, signature, limits, begin, scratch, tests: 0, reply, results, passed, others }
    }

    /// How many cases have been started.
    pub fn tests(&self) -> u64 {
        self.tests
    }

    /// The limits it works within.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The world it runs in.
    pub fn world(&self) -> &'a dyn World {
        self.pool.world()
    }

    /// How many runs it takes to learn as much as from `wanted` runs that vary: one, if the world repeats runs exactly.
    pub fn runs(&self, wanted: u32) -> u32 {
        if self.world().is_exact() { wanted.min(1) } else { wanted }
    }

    /// How long it has been at work.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Findings with other signatures that were seen.
    pub fn into_others(self) -> Vec<Failure> {
        self.others.into_values().collect()
    }

    /// Counts a case as one that does not fail, whatever it did in a single run.
    pub fn refuse(&mut self, case: &Case) {
        self.passed.insert(digest(case));
    }

    /// Forgets which cases passed: from now on they are given more attempts.
    pub fn forget(&mut self) {
        self.passed.clear();
    }

    /// The first of the candidates, in their order, that fails in any of up to `attempts` runs.
    ///
    /// Later candidates run while earlier ones are undecided, but the answer does not depend on which is fastest.
    pub fn first_failing(&mut self, candidates: &[Case], attempts: u32) -> Result<Option<(usize, Failure)>, Halt> {
        let progress = vec![Progress::default(); candidates.len()];
        let mut search = Search { candidates, attempts, progress, tickets: BTreeMap::new(), best: None };
        while !search.is_decided() {
            self.hand_out(&mut search)?;
            // Without tickets, all candidates that were left are known to pass.
            if !search.tickets.is_empty()
                && let Some(done) = self.receive(true)?
            {
                self.take_in(&mut search, &done);
            }
        }
        Ok(search.best)
    }

    /// Starts runs of a search's candidates, as many as there is room for.
    fn hand_out(&mut self, search: &mut Search<'_>) -> Result<(), Halt> {
        while search.tickets.len() < self.pool.width() {
            let Some(next) = search.next() else { break };
            let (case, progress) = (&search.candidates[next], &mut search.progress[next]);
            if progress.submitted == 0 && self.passed.contains(&digest(case)) {
                (progress.submitted, progress.answered) = (search.attempts, search.attempts);
                continue;
            }
            progress.submitted += 1;
            search.tickets.insert(self.submit(case)?, next);
        }
        Ok(())
    }

    /// Counts the result of one run of a search.
    fn take_in(&mut self, search: &mut Search<'_>, done: &Done) {
        let end = search.end();
        let failure = self.sift(done);
        let Some(index) = search.tickets.remove(&done.ticket) else {
            // A late result of an earlier search.
            discard(failure.and_then(|failure| failure.evidence));
            return;
        };
        let progress = &mut search.progress[index];
        progress.answered += 1;
        match failure {
            Some(failure) if index < end => {
                progress.failed = true;
                let beaten = search.best.replace((index, failure));
                discard(beaten.and_then(|(_, failure)| failure.evidence));
            }
            Some(failure) => discard(failure.evidence),
            None if progress.answered >= search.attempts && !progress.failed => {
                self.passed.insert(digest(&search.candidates[index]));
            }
            None => {}
        }
    }

    /// Runs a case this many times, whatever the budget says.
    pub fn repeat(&mut self, case: &Case, runs: u32) -> Result<Repeated, Halt> {
        let mut tickets = HashSet::new();
        let mut repeated = Repeated { runs, failed: 0, failure: None };
        let (mut submitted, mut answered) = (0, 0);
        while answered < runs {
            while submitted < runs && tickets.len() < self.pool.width() {
                tickets.insert(self.hand_in(case));
                submitted += 1;
            }
            let Some(done) = self.receive(false)? else { continue };
            let mine = tickets.remove(&done.ticket);
            let failure = self.sift(&done);
            if !mine {
                discard(failure.and_then(|failure| failure.evidence));
                continue;
            }
            answered += 1;
            if let Some(failure) = failure {
                repeated.failed += 1;
                let before = repeated.failure.replace(failure);
                discard(before.and_then(|failure| failure.evidence));
            }
        }
        Ok(repeated)
    }

    fn submit(&mut self, case: &Case) -> Result<u64, Halt> {
        if self.tests >= u64::from(self.limits.tests) || self.begin.elapsed() >= self.limits.time {
            return Err(Halt::Budget);
        }
        Ok(self.hand_in(case))
    }

    fn hand_in(&mut self, case: &Case) -> u64 {
        self.tests += 1;
        let (signature, folder) = (self.signature.to_owned(), self.scratch.join(self.tests.to_string()));
        let keep = Box::new(move |verdict: &crate::oracle::Verdict| {
            let wanted = verdict.resembles(&signature) && verdict.kind.is_finding();
            (wanted && fs::create_dir_all(&folder).is_ok()).then(|| folder.clone())
        });
        self.pool.submit(Job { ticket: self.tests, case: case.clone(), keep, reply: self.reply.clone() });
        self.tests
    }

    fn receive(&mut self, within_budget: bool) -> Result<Option<Done>, Halt> {
        if self.pool.stopped() {
            return Err(Halt::Stopped);
        }
        if within_budget && self.begin.elapsed() >= self.limits.time {
            return Err(Halt::Budget);
        }
        match self.results.recv_timeout(TICK) {
            Ok(_) if self.pool.stopped() => Err(Halt::Stopped),
            Ok(done) => Ok(Some(done)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the bench holds a sender itself"),
        }
    }

    /// The failure, if it is the wanted one. Other failures are remembered.
    fn sift(&mut self, done: &Done) -> Option<Failure> {
        let verdict = done.verdict();
        if !verdict.kind.is_finding() {
            return None;
        }
        let failure = Failure::of(done, &verdict);
        if verdict.resembles(self.signature) {
            return Some(failure);
        }
        discard(failure.evidence.clone());
        if self.others.len() < OTHERS_MAX {
            self.others.entry(verdict.signature).or_insert(Failure { evidence: None, ..failure });
        }
        None
    }
}

/// The digest of a case's text, which stands for the case: a list of faults can be long.
fn digest(case: &Case) -> [u8; 32] {
    Sha256::digest(file::to_text(case).as_bytes()).into()
}

/// Removes evidence that nobody needs. If that fails, it goes with the scratch folder.
pub fn discard(evidence: Option<PathBuf>) {
    if let Some(folder) = evidence {
        let _ = fs::remove_dir_all(folder);
    }
}
