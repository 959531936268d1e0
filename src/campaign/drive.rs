//! The coordinator: draws cases, keeps the workers busy, and deals with what they bring back.
//!
//! One thread does all of it, so events come in one order and nothing here is locked. While a finding is being shrunk, no
//! new cases are drawn; those in flight finish, and their results wait in the channel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bench::{Bench, discard};
use super::known::Known;
use super::pool::{Done, Job, Keep, Pool};
use super::rules::Rules;
use super::shrink::{Failure, Limits, Step, shrink};
use super::store::{Place, Store, StoreError};
use super::tally::Tally;
use crate::case::Case;
use crate::oracle::{Kind, Verdict};
use crate::report::{Event, Report, Stopped, Summary};
use crate::seed::Seed;
use crate::world::{World, WorldError};

/// How often the coordinator checks whether it should stop, or the time is over.
const TICK: Duration = Duration::from_millis(50);

/// How many different findings of one campaign are shrunk; more of them are only saved.
const SHRUNK_MAX: usize = 16;

/// How many cases with trouble of our own are kept.
const TROUBLE_KEPT_MAX: usize = 100;

/// A campaign, ready to run.
pub struct Campaign {
    /// Where the cases run.
    pub world: Arc<dyn World>,
    /// How they are judged and made simpler.
    pub rules: Rules,
    /// Draws a case from its seed.
    pub draw: Box<dyn Fn(Seed) -> Case>,
    /// Everything else.
    pub options: Options,
    /// Once set, the campaign stops at once: running cases are abandoned, and the summary is reported.
    pub stop: Arc<AtomicBool>,
}

impl fmt::Debug for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Campaign")
            .field("world", &self.world.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What a campaign is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where every case's seed comes from.
    pub seed: Seed,
    /// How many cases run at once, at least 1.
    pub jobs: usize,
    /// The campaign ends after this many cases.
    pub cases: Option<u64>,
    /// After this time no more cases are drawn.
    pub time: Option<Duration>,
    /// The campaign ends with the first finding.
    pub until_finding: bool,
    /// The folder of the findings.
    pub findings: PathBuf,
    /// Findings to report apart.
    pub known: Known,
    /// How much each finding's shrinking may cost.
    pub limits: Limits,
    /// Why it runs in this world, for the report; may be empty.
    pub why: String,
}

/// Why a campaign could not begin.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The folder of the findings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs a campaign to its end.
///
/// Trouble that ends it early is told in the summary ([`Stopped::Failed`]); an error comes back only where nothing
/// has begun.
pub fn run(campaign: &Campaign, report: &mut dyn Report) -> Result<Summary, CampaignError> {
    let Campaign { world, rules, options, stop, .. } = campaign;
    let (store, left) = Store::open(&options.findings)?;
    report.event(&Event::Started {
        seed: options.seed,
        world: world.name().to_owned(),
        kernel: world.kernel(),
        program: world.program(),
        why: options.why.clone(),
        jobs: options.jobs,
        cases: options.cases,
        seconds: options.time.map(|time| time.as_secs_f64()),
        findings: options.findings.clone(),
    });
    if !left.is_empty() {
        report.event(&Event::Interrupted { files: left });
    }
    let pool = Pool::start(Arc::clone(world), *rules, options.jobs, Arc::clone(stop));
    let (reply, results) = channel();
    let mut drive = Drive {
        campaign,
        store: &store,
        report,
        tally: Tally::new(options.seed, world.name()),
        flights: BTreeMap::new(),
        reply,
        settled: Arc::default(),
        known: Arc::new(options.known.clone()),
        unshrunk: VecDeque::new(),
        shrunk: 0,
        trouble_kept: 0,
        next: 0,
        end: options.time.map(|time| Instant::now() + time),
    };
    let stopped = drive.run(&pool, &results).unwrap_or_else(|error| Stopped::Failed(error.to_string()));
    let Drive { tally, report, flights, .. } = drive;
    drop(pool);
    let summary = tally.finish(stopped, flights.len() as u64);
    report.event(&Event::Finished(summary.clone()));
    Ok(summary)
}

/// A case that runs.
struct Flight {
    index: u64,
    seed: Seed,
}

/// A campaign that runs.
struct Drive<'a> {
    campaign: &'a Campaign,
    store: &'a Store,
    report: &'a mut dyn Report,
    tally: Tally,
    /// The cases that are running, by ticket; the ticket is the case's number.
    flights: BTreeMap<u64, Flight>,
    reply: Sender<Done>,
    /// Signatures that have been saved, so that no further evidence is needed.
    settled: Arc<Mutex<BTreeSet<String>>>,
    known: Arc<Known>,
    unshrunk: VecDeque<(Failure, Place)>,
    shrunk: usize,
    trouble_kept: usize,
    next: u64,
    end: Option<Instant>,
}

impl Drive<'_> {
    fn run(&mut self, pool: &Pool, results: &Receiver<Done>) -> Result<Stopped, StoreError> {
        loop {
            if pool.stopped() {
                return Ok(Stopped::Interrupted);
            }
            if let Some((failure, place)) = self.unshrunk.pop_front() {
                self.shrink(pool, failure, &place)?;
                continue;
            }
            while self.over().is_none() && self.flights.len() < pool.width() {
                self.launch(pool)?;
            }
            match self.over() {
                // One finding was asked for; what the cases in flight may find does not matter.
                Some(Stopped::Finding) => return Ok(Stopped::Finding),
                Some(over) if self.flights.is_empty() => return Ok(over),
                _ => {}
            }
            match results.recv_timeout(TICK) {
                Ok(done) if pool.stopped() => drop(done),
                Ok(done) => {
                    if let Some(reason) = self.land(&done)? {
                        return Ok(Stopped::Failed(reason));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender itself"),
            }
        }
    }

    /// Why no more cases are drawn, once that is so.
    fn over(&self) -> Option<Stopped> {
        let options = &self.campaign.options;
        if options.until_finding && self.tally.findings() > 0 {
            Some(Stopped::Finding)
        } else if options.cases.is_some_and(|cases| self.next >= cases) {
            Some(Stopped::Done)
        } else if self.end.is_some_and(|end| Instant::now() >= end) {
            Some(Stopped::TimeOver)
        } else {
            None
        }
    }

    /// Draws the next case and hands it to the workers.
    fn launch(&mut self, pool: &Pool) -> Result<(), StoreError> {
        let index = self.next;
        let seed = self.campaign.options.seed.child(index);
        let case = (self.campaign.draw)(seed);
        self.store.begin(seed, &case)?;
        self.next += 1;
        self.flights.insert(index, Flight { index, seed });
        pool.submit(Job { ticket: index, case, keep: self.keep(seed), reply: self.reply.clone() });
        Ok(())
    }

    /// Keeps the evidence of runs that may turn out to be the first of their kind.
    fn keep(&self, seed: Seed) -> Keep {
        let (folder, settled) = (self.store.flight_evidence(seed), Arc::clone(&self.settled));
        let known = Arc::clone(&self.known);
        Box::new(move |verdict| {
            let wanted = verdict.kind.is_finding() || verdict.kind == Kind::HarnessError;
            let signature = &verdict.signature;
            if !wanted || known.note(signature).is_some() || guard(&settled).contains(signature) {
                return None;
            }
            // A finding whose evidence cannot be kept is still a finding.
            fs::create_dir_all(&folder).ok().map(|()| folder.clone())
        })
    }

    /// Deals with a case that has run. Some reason: the campaign cannot go on.
    fn land(&mut self, done: &Done) -> Result<Option<String>, StoreError> {
        let flight = self.flights.remove(&done.ticket).expect("only what was launched lands");
        let verdict = done.verdict();
        let unable = matches!(done.result, Err(WorldError::Unable(_))) && !self.tally.has_judged();
        self.tally.count(&verdict);
        if let Some(print) = done.result.as_ref().ok().and_then(|ran| ran.print.as_ref()) {
            self.tally.print(flight.index, print);
        }
        self.report.event(&Event::CaseDone {
            index: flight.index,
            seed: flight.seed,
            verdict: verdict.kind,
            what: verdict.what.clone(),
            seconds: done.took.as_secs_f64(),
            in_flight: self.flights.len(),
        });
        let evidence = done.result.as_ref().ok().and_then(|ran| ran.evidence.as_deref());
        if verdict.kind.is_finding() {
            self.finding(&Failure::of(done, &verdict), Some(flight.seed), evidence)?;
        } else if verdict.kind == Kind::HarnessError {
            self.trouble(done, &verdict, flight.seed, evidence)?;
        }
        // Everything worth keeping has been moved.
        discard(evidence.map(Path::to_owned));
        self.store.end(flight.seed)?;
        // Once an exact world has not repeated a run exactly, none of its results can be trusted.
        if unable || matches!(done.result, Err(WorldError::Differs(_))) {
            return Ok(Some(verdict.what));
        }
        Ok(self.tally.hopeless())
    }

    /// Counts a finding; a new one is saved and put in the queue for shrinking.
    ///
    /// `seed` is `None` for one that turned up while another was shrunk: no draw leads to it.
    fn finding(&mut self, failure: &Failure, seed: Option<Seed>, evidence: Option<&Path>) -> Result<(), StoreError> {
        let verdict = &failure.verdict;
        let signature = verdict.signature.clone();
        let mut what = verdict.what.clone();
        if let Some(note) = self.known.note(&signature).map(str::to_owned) {
            let Some(seed) = seed else { return Ok(()) };
            let count = self.tally.known(verdict, &note, seed).count;
            match self.tally.too_often(&note).filter(|_| self.known.is_rare(&signature)) {
                Some((hits, cases)) => what.push_str(&format!(" (known, but in {hits} of {cases} cases)")),
                None => {
                    self.report.event(&Event::Known { signature, note, seed, count });
                    return Ok(());
                }
            }
        }
        if let Some(count) = self.tally.again(&signature, seed) {
            if let Some(seed) = seed {
                self.report.event(&Event::Again { signature, seed, count });
            }
            return Ok(());
        }
        let world = &*self.campaign.world;
        let place = self.store.save(verdict, &failure.recorded(world, None), evidence)?;
        guard(&self.settled).insert(signature.clone());
        self.tally.add(verdict, seed, place.file.clone());
        self.report.event(&Event::Finding {
            signature,
            verdict: verdict.kind,
            what,
            seed: failure.case.seed,
            file: place.file.clone(),
        });
        if seed.is_some() && self.shrunk < SHRUNK_MAX && self.campaign.options.limits.tests > 0 {
            self.shrunk += 1;
            self.unshrunk.push_back((failure.clone(), place));
        }
        Ok(())
    }

    /// Keeps a case that met trouble of our own.
    fn trouble(
        &mut self,
        done: &Done,
        verdict: &Verdict,
        seed: Seed,
        evidence: Option<&Path>,
    ) -> Result<(), StoreError> {
        let mut file = None;
        if self.trouble_kept < TROUBLE_KEPT_MAX {
            self.trouble_kept += 1;
            let case = Failure::of(done, verdict).recorded(&*self.campaign.world, None);
            file = Some(self.store.save_trouble(seed, &case, evidence)?);
        } else {
            guard(&self.settled).insert(verdict.signature.clone());
        }
        self.report.event(&Event::Trouble { seed, what: verdict.what.clone(), file });
        Ok(())
    }

    /// Shrinks a finding, in its file.
    fn shrink(&mut self, pool: &Pool, failure: Failure, place: &Place) -> Result<(), StoreError> {
        let Campaign { rules, options, .. } = self.campaign;
        let signature = failure.verdict.signature.clone();
        let report = &mut *self.report;
        let mut step = |step: &Step| report.event(&step.event(&signature, &place.file));
        let bench = Bench::new(pool, &signature, options.limits, &place.scratch);
        let outcome = shrink(bench, *rules, failure, place, &mut step)?;
        self.tally.shrinking(outcome.took.as_secs_f64());
        self.tally.seen(&signature, outcome.seen.clone());
        self.report.event(&outcome.event(&signature, &place.file));
        let others = if options.until_finding { &[] } else { &outcome.others[..] };
        for other in others {
            self.finding(other, None, None)?;
        }
        Ok(())
    }
}

/// A poisoned lock means a panic elsewhere, which has been reported; the set itself is intact.
fn guard(set: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
