//! What happens in a campaign or a replay, as data.
//!
//! [`json::JsonLines`](super::json::JsonLines) writes each event as one line: the serialised form of [`Event`] is a
//! public format, and `docs/events.schema.json` its JSON Schema. Every object has an `event` field with the event's name
//! in kebab-case, beside the fields documented here. Seeds are texts such as `"0x0000000000000012"`; paths are texts;
//! spans of time are seconds as a number; a field that is `None` here is left out. Fields may be added; none changes its
//! meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::case::KernelProgram;
use crate::oracle::Kind;
use crate::seed::Seed;

/// Takes a campaign's events, in order, all from one thread.
pub trait Report {
    /// Something happened.
    fn event(&mut self, event: &Event);
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The campaign begins. Always the first event.
    Started {
        /// The campaign's seed: the same seed and filters draw the same cases.
        seed: Seed,
        /// The world's name.
        world: String,
        /// Why it runs there; left out where there was no choice.
        #[serde(skip_serializing_if = "String::is_empty")]
        why: String,
        /// The kernel of the world, as `uname -rv` shows it.
        kernel: String,
        /// The program that is this kernel, where it is a file of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        program: Option<KernelProgram>,
        /// How many cases run at once.
        jobs: usize,
        /// After how many cases the campaign ends, where that is bounded.
        #[serde(skip_serializing_if = "Option::is_none")]
        cases: Option<u64>,
        /// After how many seconds no more cases are drawn, where that is bounded.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// The folder of the findings.
        findings: PathBuf,
    },
    /// An earlier run was killed while these cases ran; their files have been kept.
    Interrupted {
        /// The files.
        files: Vec<PathBuf>,
    },
    /// A case has run.
    CaseDone {
        /// Its number in the campaign, from 0.
        index: u64,
        /// Its seed.
        seed: Seed,
        /// The verdict.
        verdict: Kind,
        /// What was seen, in one line; empty for a pass.
        what: String,
        /// How long it took.
        seconds: f64,
        /// How many cases run now.
        in_flight: usize,
    },
    /// A case failed in a way not seen before in this campaign; its file has been written.
    Finding {
        /// What groups findings of one bug.
        signature: String,
        /// The verdict.
        verdict: Kind,
        /// What was seen, in one line.
        what: String,
        /// The seed of the case.
        seed: Seed,
        /// The case file. The folder of the same name without `.toml` holds the evidence.
        file: PathBuf,
    },
    /// A finding was seen again.
    Again {
        /// Its signature.
        signature: String,
        /// The seed of the case.
        seed: Seed,
        /// How often it was seen by now.
        count: u64,
    },
    /// A known finding was seen.
    Known {
        /// Its signature.
        signature: String,
        /// What is known about it.
        note: String,
        /// The seed of the case.
        seed: Seed,
        /// How often it was seen by now.
        count: u64,
    },
    /// A simpler case fails in the same way; the finding's file now holds it.
    ShrinkStep {
        /// The finding's signature.
        signature: String,
        /// The finding's file.
        file: PathBuf,
        /// How many cases were run for the shrinking so far.
        tests: u64,
        /// How many bytes the case sends, both directions together.
        payload: u64,
        /// How many explicit faults it has.
        faults: usize,
        /// How many lines its file has: the plainer, the fewer.
        lines: usize,
    },
    /// The shrinking has come to its end.
    Shrunk {
        /// The finding's signature.
        signature: String,
        /// The finding's file.
        file: PathBuf,
        /// How many cases were run for it.
        tests: u64,
        /// How long it took.
        seconds: f64,
        /// In how many of how many runs the saved case failed, such as `10 of 10`; `None` if the shrinking was
        /// interrupted before that was known.
        #[serde(skip_serializing_if = "Option::is_none")]
        seen: Option<String>,
        /// Whether the budget was spent before the smallest case was reached.
        budget_spent: bool,
    },
    /// A case could not be run, or its run is worthless: trouble of our own.
    Trouble {
        /// The seed of the case.
        seed: Seed,
        /// What went wrong.
        what: String,
        /// The case's file, where it was kept (the first ones are).
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
    },
    /// The campaign is over. Always the last event.
    Finished(Summary),
    /// Saved cases are run again. The first event of a replay.
    ReplayStarted {
        /// The world's name.
        world: String,
        /// The kernel of the world, as `uname -rv` shows it.
        kernel: String,
        /// How many runs there will be, all cases together.
        runs: u64,
    },
    /// A saved case has run again.
    Replayed {
        /// The case: its file, or its seed where it was drawn from one.
        name: String,
        /// Which of its runs, from 1.
        run: u32,
        /// How many runs it gets.
        runs: u32,
        /// Its seed.
        seed: Seed,
        /// The verdict.
        verdict: Kind,
        /// What was seen, in one line; empty for a pass.
        what: String,
        /// What groups findings of one bug.
        signature: String,
        /// How long it took.
        seconds: f64,
        /// The folder of its evidence, where it was kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        evidence: Option<PathBuf>,
    },
    /// The replay is over. Its last event.
    ReplayFinished {
        /// How many runs there were.
        runs: u64,
        /// How many of them were findings.
        failed: u64,
        /// How many could not be decided.
        skipped: u64,
        /// How many met trouble of our own.
        trouble: u64,
        /// Whether it was interrupted before its end.
        interrupted: bool,
    },
}

/// What a campaign came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// The campaign's seed.
    pub seed: Seed,
    /// The world's name.
    pub world: String,
    /// Why it ended.
    pub stopped: Stopped,
    /// How many cases have run.
    pub cases: u64,
    /// How many of them had which verdict.
    pub verdicts: BTreeMap<Kind, u64>,
    /// How many cases were given up because the campaign was interrupted.
    pub abandoned: u64,
    /// How long it took, the shrinking included.
    pub seconds: f64,
    /// How long the shrinking took.
    pub shrinking_seconds: f64,
    /// The findings, in the order in which they were first seen.
    pub findings: Vec<Bug>,
    /// The known findings that were seen.
    pub known: Vec<Bug>,
    /// What the first skipped case was skipped for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_for: Option<String>,
    /// What the first trouble was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_trouble: Option<String>,
    /// What stands for every packet, counter and time of all cases, where the same case is always the same run: the same
    /// cases on the same kernel have the same digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// One bug: all findings with the same signature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bug {
    /// The signature.
    pub signature: String,
    /// The verdict.
    pub verdict: Kind,
    /// How many of the campaign's cases showed it.
    pub count: u64,
    /// The seeds of the first cases that did.
    pub seeds: Vec<Seed>,
    /// The saved case; known findings have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// In how many of how many runs the saved case failed; `None` if nobody has counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// What is known about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why a campaign ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// All cases have run.
    Done,
    /// The time was over.
    TimeOver,
    /// The first finding was there, and that was asked for.
    Finding,
    /// It was interrupted.
    Interrupted,
    /// It could not go on.
    Failed(String),
}

/// Trouble in more than one case out of this many makes the campaign worthless.
pub const TROUBLE_SHARE: u64 = 100;

impl Summary {
    /// How many cases had a verdict of this kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.verdicts.get(&kind).copied().unwrap_or(0)
    }

    /// Whether so many cases met trouble of our own that the others prove nothing: more than one, and more than 1 %; or
    /// all of them.
    pub fn is_worthless(&self) -> bool {
        let trouble = self.count(Kind::HarnessError);
        trouble > 0 && (trouble == self.cases || (trouble > 1 && trouble * TROUBLE_SHARE > self.cases))
    }

    /// The exit code it stands for: 1 with a finding, 3 where the campaign could not go on or is worthless, 4 where
    /// every case was skipped, else 0.
    pub fn exit_code(&self) -> u8 {
        if !self.findings.is_empty() {
            1
        } else if matches!(self.stopped, Stopped::Failed(_)) || self.is_worthless() {
            3
        } else if self.cases > 0 && self.count(Kind::Skip) == self.cases {
            4
        } else {
            0
        }
    }
}
