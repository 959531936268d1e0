//! `whitewater replay`: saved cases once more.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::campaign::{Replay, Replayed, Rules};
use crate::case::{Case, file, strategy};
use crate::endpoint::plant::Plant;
use crate::oracle::Kind;
use crate::report::Event;
use crate::seed::Seed;

use super::format::Telling;
use super::options::{self, Filters};
use super::world::{Wishes, WorldArgs};
use super::{exit, interrupt};

/// Run saved cases again, and tell each verdict.
///
/// The cases run one after the other unless --jobs says otherwise; nothing is saved or shrunk. Exits with 1 where any
/// run failed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Case files
    #[arg(value_name = "FILE", required_unless_present = "seed")]
    files: Vec<PathBuf>,

    /// Run each case so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,

    /// Run so many at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = options::jobs)]
    jobs: usize,

    #[command(flatten)]
    world: WorldArgs,

    /// Run each case twice for each run, and fail where the two are not the same: uml only
    #[arg(long, help_heading = "World")]
    check_determinism: bool,

    /// Leave the evidence of runs that fail in this folder
    #[arg(long, value_name = "FOLDER")]
    evidence: Option<PathBuf>,

    /// Exit as `git bisect run` wants it: 125 where a case cannot be judged here
    #[arg(long)]
    bisect: bool,

    /// Run the case that `run` drew from this seed: give the filters that it had, too (may be repeated)
    #[arg(long, help_heading = "Which cases")]
    seed: Vec<Seed>,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    telling: Telling,

    /// Plant a fault, to see that it is found
    #[arg(long, value_name = "NAME", hide = true)]
    plant: Option<Plant>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater replay findings/*.toml
  whitewater replay --times 10 findings/corrupt-1a2b3c4d.toml
  git bisect run whitewater replay --bisect --times 5 finding.toml";

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let (names, cases) = match args.cases() {
        Ok(cases) => cases,
        Err(error) => return exit::fail(exit::USAGE, error),
    };
    let opened = match args.world.open_for(&cases, Wishes { plant: args.plant, check: args.check_determinism }) {
        Ok(opened) => opened,
        Err(error) => return exit::fail(args.code(error.code()), error),
    };
    if !opened.why.is_empty() {
        eprintln!("note: world {}: {}", opened.world.name(), opened.why);
    }
    for (name, case) in names.iter().zip(&cases) {
        if let Some(note) = opened.other_program(case) {
            eprintln!("note: {name}: {note}");
        }
    }
    let stop = interrupt::flag(&opened.world);
    let world = Arc::clone(&opened.world);
    let rules = Rules::default();
    let evidence = args.evidence.as_deref();
    let replay = Replay { world, rules, cases: &cases, times: args.times, jobs: args.jobs, evidence, stop };
    let runs = cases.len() as u64 * u64::from(args.times);
    args.telling.tell("whitewater replay", |report| {
        report.event(&Event::ReplayStarted {
            world: replay.world.name().to_owned(),
            kernel: replay.world.kernel(),
            runs,
        });
        let mut count = Count::default();
        let ended = replay.run(&mut |replayed| {
            report.event(&event(&names[replayed.case], &cases[replayed.case], args.times, replayed));
            count.add(replayed);
        });
        report.event(&count.event(!ended));
        match (ended, count.code()) {
            (false, exit::FINDING) => exit::fail(exit::FINDING, "interrupted"),
            (false, _) => exit::fail(exit::INTERRUPTED, "interrupted"),
            (true, code) => args.code(code).into(),
        }
    })
}

impl Args {
    /// The cases, each with what to call it.
    fn cases(&self) -> Result<(Vec<String>, Vec<Case>), String> {
        self.filters.check()?;
        let (mut names, mut cases) = (Vec::new(), Vec::new());
        for path in &self.files {
            cases.push(file::read(path).map_err(|error| error.to_string())?);
            names.push(path.display().to_string());
        }
        let space = self.filters.space();
        for &seed in &self.seed {
            cases.push(strategy::draw(&space, seed));
            names.push(seed.to_string());
        }
        Ok((names, cases))
    }

    fn code(&self, code: u8) -> u8 {
        let undecided = !matches!(code, exit::PASSED | exit::FINDING);
        if self.bisect && undecided { exit::BISECT_SKIP } else { code }
    }
}

#[derive(Default)]
struct Count {
    runs: u64,
    failed: u64,
    skipped: u64,
    unable: u64,
    trouble: u64,
}

impl Count {
    fn add(&mut self, replayed: &Replayed) {
        let kind = replayed.verdict.kind;
        self.runs += 1;
        self.failed += u64::from(kind.is_finding());
        self.unable += u64::from(replayed.unable || kind == Kind::HarnessError);
        self.skipped += u64::from(kind == Kind::Skip && !replayed.unable);
        self.trouble += u64::from(kind == Kind::HarnessError);
    }

    fn event(&self, interrupted: bool) -> Event {
        let skipped = self.skipped + self.unable - self.trouble;
        Event::ReplayFinished { runs: self.runs, failed: self.failed, skipped, trouble: self.trouble, interrupted }
    }

    fn code(&self) -> u8 {
        match self {
            Count { failed: 1.., .. } => exit::FINDING,
            Count { unable: 1.., .. } => exit::UNABLE,
            Count { runs, skipped, .. } if *runs > 0 && runs == skipped => exit::SKIPPED,
            _ => exit::PASSED,
        }
    }
}

fn event(name: &str, case: &Case, runs: u32, replayed: &Replayed) -> Event {
    let Replayed { run, verdict, took, evidence, .. } = replayed.clone();
    Event::Replayed {
        name: name.to_owned(),
        run: run + 1,
        runs,
        seed: case.seed,
        verdict: verdict.kind,
        what: verdict.what,
        signature: verdict.signature,
        seconds: took.as_secs_f64(),
        evidence,
    }
}
