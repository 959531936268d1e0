//! What a campaign has come to so far: the counts, and the findings grouped by signature.

use std::path::PathBuf;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::oracle::{Kind, Verdict};
use crate::report::{Bug, Stopped, Summary};
use crate::seed::Seed;

/// How many seeds of one bug are kept.
const SEEDS_MAX: usize = 20;

/// How many cases in a row, from the first on, may meet trouble before the campaign gives up.
pub const EARLY_TROUBLE: u64 = 20;

/// From this many cases on, a bug that is known as rare is one no more ...
const OFTEN_MIN: u64 = 8;

/// ... where more than one case in so many shows it. In 2,000 random cases on Linux 7.2 all known bugs together showed in nine.
const OFTEN_SHARE: u64 = 25;

/// The counts of a campaign that runs.
#[derive(Debug)]
pub struct Tally {
    summary: Summary,
    begin: Instant,
    /// What stands for all runs so far.
    prints: Option<u64>,
}

impl Tally {
    /// Nothing has run yet.
    pub fn new(seed: Seed, world: &str) -> Tally {
        let summary = Summary {
            seed,
            world: world.to_owned(),
            stopped: Stopped::Done,
            cases: 0,
            verdicts: Default::default(),
            abandoned: 0,
            seconds: 0.0,
            shrinking_seconds: 0.0,
            findings: Vec::new(),
            known: Vec::new(),
            skipped_for: None,
            first_trouble: None,
            digest: None,
        };
        Tally { summary, begin: Instant::now(), prints: None }
    }

    /// Takes what stands for the run of the `index`-th case into what stands for all of them, in whatever order they end.
    pub fn print(&mut self, index: u64, print: &[u8; 32]) {
        let hash = Sha256::new().chain_update(index.to_le_bytes()).chain_update(print).finalize();
        let one = hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.prints = Some(self.prints.unwrap_or(0) ^ one);
    }

    /// Counts a case with this verdict.
    pub fn count(&mut self, verdict: &Verdict) {
        let summary = &mut self.summary;
        summary.cases += 1;
        *summary.verdicts.entry(verdict.kind).or_default() += 1;
        match verdict.kind {
            Kind::Skip => summary.skipped_for.get_or_insert_with(|| verdict.what.clone()),
            Kind::HarnessError => summary.first_trouble.get_or_insert_with(|| verdict.what.clone()),
            _ => return,
        };
    }

    /// The finding with this signature, once more: how often by now. `None` if it is new. Without a seed it is not
    /// counted: no case of the campaign showed it.
    pub fn again(&mut self, signature: &str, seed: Option<Seed>) -> Option<u64> {
        match seed {
            Some(seed) => hit(&mut self.summary.findings, signature, seed).map(|bug| bug.count),
            None => self.summary.findings.iter().find(|bug| bug.signature == signature).map(|bug| bug.count),
        }
    }

    /// A known finding, once more or for the first time.
    pub fn known(&mut self, verdict: &Verdict, note: &str, seed: Seed) -> &Bug {
        let known = &mut self.summary.known;
        if !known.iter().any(|bug| bug.signature == verdict.signature) {
            known.push(Bug { note: Some(note.to_owned()), ..bug(verdict) });
        }
        hit(known, &verdict.signature, seed).expect("it has just been added")
    }

    /// How many of the cases show what this note explains, where they are too many for the rare bug that it speaks of: another
    /// one hides behind it.
    pub fn too_often(&self, note: &str) -> Option<(u64, u64)> {
        let explained = self.summary.known.iter().filter(|bug| bug.note.as_deref() == Some(note));
        let (count, cases) = (explained.map(|bug| bug.count).sum::<u64>(), self.summary.cases);
        (count >= OFTEN_MIN && count * OFTEN_SHARE > cases).then_some((count, cases))
    }

    /// A new finding.
    pub fn add(&mut self, verdict: &Verdict, seed: Option<Seed>, file: PathBuf) {
        self.summary.findings.push(Bug { file: Some(file), ..bug(verdict) });
        if let Some(seed) = seed {
            hit(&mut self.summary.findings, &verdict.signature, seed);
        }
    }

    /// How often the saved case of a finding failed.
    pub fn seen(&mut self, signature: &str, seen: Option<String>) {
        if let Some(bug) = self.summary.findings.iter_mut().find(|bug| bug.signature == signature) {
            bug.seen = seen;
        }
    }

    /// Counts time that went into shrinking.
    pub fn shrinking(&mut self, seconds: f64) {
        self.summary.shrinking_seconds += seconds;
    }

    /// How many findings there are.
    pub fn findings(&self) -> usize {
        self.summary.findings.len()
    }

    /// Whether any case was judged, well or not.
    pub fn has_judged(&self) -> bool {
        self.summary.cases > self.summary.count(Kind::Skip) + self.summary.count(Kind::HarnessError)
    }

    /// Why the campaign cannot go on, if it cannot.
    pub fn hopeless(&self) -> Option<String> {
        let trouble = self.summary.count(Kind::HarnessError);
        let first = self.summary.first_trouble.as_deref().unwrap_or_default();
        (trouble >= EARLY_TROUBLE && trouble == self.summary.cases)
            .then(|| format!("the first {trouble} cases all met trouble; the first one: {first}"))
    }

    /// The end. `abandoned` cases still ran.
    pub fn finish(mut self, stopped: Stopped, abandoned: u64) -> Summary {
        self.summary.stopped = stopped;
        self.summary.abandoned = abandoned;
        self.summary.digest = self.prints.map(|prints| format!("{prints:#018x}"));
        self.summary.seconds = self.begin.elapsed().as_secs_f64();
        self.summary
    }
}

fn bug(verdict: &Verdict) -> Bug {
    Bug {
        signature: verdict.signature.clone(),
        verdict: verdict.kind,
        count: 0,
        seeds: Vec::new(),
        file: None,
        seen: None,
        note: None,
    }
}

fn hit<'a>(bugs: &'a mut [Bug], signature: &str, seed: Seed) -> Option<&'a Bug> {
    let bug = bugs.iter_mut().find(|bug| bug.signature == signature)?;
    bug.count += 1;
    if bug.seeds.len() < SEEDS_MAX {
        bug.seeds.push(seed);
    }
    Some(bug)
}
