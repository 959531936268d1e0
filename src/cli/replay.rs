//! `whitewater replay`: runs saved cases again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crate::campaign::{Replay, Replayed, Rules};
use crate::case::{Case, file, strategy};
use crate::endpoint::plant::Plant;
use crate::observation::CaptureStory;
use crate::oracle::Kind;
use crate::report::Event;
use crate::seed::Seed;
use crate::world::uml::kernels::{BuildOptions, KernelError};

use super::format::Reporting;
use super::kernel::build;
use super::options::{self, Filters};
use super::world::{Wishes, WorldArgs};
use super::{exit, interrupt};

/// Run saved cases again and report each verdict.
///
/// The cases run one after the other unless --jobs says otherwise; nothing is saved or shrunk. Exits with 1 if any run
/// failed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Case files
    #[arg(value_name = "FILE", required_unless_present = "seed")]
    files: Vec<PathBuf>,

    /// Run each case this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,

    /// Run this many at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = options::jobs)]
    jobs: usize,

    #[command(flatten)]
    world: WorldArgs,

    /// Do every run twice, and fail if the two differ (uml only)
    #[arg(long, help_heading = "World")]
    check_determinism: bool,

    /// Build a kernel from this tree first and run the cases on it; only changed files are compiled again. Its name is
    /// that of --kernel, or "bisect"
    #[arg(long, value_name = "DIR", help_heading = "World")]
    kernel_source: Option<PathBuf>,

    /// Keep the evidence of failing runs in this folder
    #[arg(long, value_name = "FOLDER")]
    evidence: Option<PathBuf>,

    /// Keep the evidence of every run in this folder, passed or not: captures on both ends' hosts and on the links,
    /// sockets, counters
    #[arg(long, value_name = "FOLDER", conflicts_with = "evidence")]
    capture: Option<PathBuf>,

    /// Exit as `git bisect run` expects: 125 if the kernel does not build or cannot judge a case, 128 if the command
    /// itself is wrong
    #[arg(long)]
    bisect: bool,

    /// Run the case that `run` drew from this seed; repeat its filters as well (may be repeated)
    #[arg(long, help_heading = "Which cases")]
    seed: Vec<Seed>,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    reporting: Reporting,

    /// Plant a fault, to see that it is found
    #[arg(long, value_name = "NAME", hide = true)]
    plant: Option<Plant>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater replay findings/*.toml
  whitewater replay --times 10 findings/corrupt-1a2b3c4d.toml
  whitewater replay --capture kept case.toml; whitewater show --evidence kept/1-1 case.toml
  git bisect run whitewater replay --bisect --times 5 finding.toml
  git bisect run whitewater replay --bisect --kernel-source . finding.toml";

/// The name of the kernel built from --kernel-source, unless --kernel gives another.
const BISECT_KERNEL: &str = "bisect";

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let (mut names, mut cases) = match args.read_files() {
        Ok(cases) => cases,
        Err(error) => return exit::fail(args.code(exit::USAGE), error),
    };
    let world = match args.build_kernel() {
        Ok(world) => world,
        Err((code, error)) => return exit::fail(code, error),
    };
    let opened = match world.open_for(
        &cases,
        Wishes {
            plant: args.plant,
            check: args.check_determinism,
            capture: args.capture.is_some(),
            ..Wishes::default()
        },
    ) {
        Ok(opened) => opened,
        Err(error) => return exit::fail(args.code(error.code()), error),
    };
    let space = opened.space(&args.filters);
    for &seed in &args.seed {
        cases.push(strategy::draw(&space, seed));
        names.push(seed.to_string());
    }
    if !opened.why.is_empty() {
        eprintln!("note: world {}: {}", opened.world.name(), opened.why);
    }
    // A bisection runs on other kernels than the recorded one by its nature.
    for (name, case) in names.iter().zip(&cases).filter(|_| !args.bisect) {
        if let Some(note) = opened.other_program(case) {
            eprintln!("note: {name}: {note}");
        }
    }
    let stop = interrupt::flag(&opened.world);
    let world = Arc::clone(&opened.world);
    let rules = Rules::default();
    let evidence = args.capture.as_deref().or(args.evidence.as_deref());
    let keep_all = args.capture.is_some();
    let replay = Replay { world, rules, cases: &cases, times: args.times, jobs: args.jobs, evidence, keep_all, stop };
    let runs = cases.len() as u64 * u64::from(args.times);
    args.reporting.report("whitewater replay", |report| {
        report.event(&Event::ReplayStarted {
            world: replay.world.name().to_owned(),
            kernel: replay.world.kernel(),
            runs,
        });
        let mut count = Count::default();
        let ended = replay.run(&mut |replayed| {
            if let Some(CaptureStory { packets, missed: missed @ 1.. }) = replayed.captured {
                eprintln!("note: the captures of this run lack {missed} of {packets} packets");
            }
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
    /// The names and the cases of the files.
    fn read_files(&self) -> Result<(Vec<String>, Vec<Case>), String> {
        self.filters.check()?;
        let (mut names, mut cases) = (Vec::new(), Vec::new());
        for path in &self.files {
            cases.push(file::read(path).map_err(|error| error.to_string())?);
            names.push(path.display().to_string());
        }
        Ok((names, cases))
    }

    /// The exit code to end with: under --bisect, one that `git bisect run` understands.
    fn code(&self, code: u8) -> u8 {
        match code {
            exit::PASSED | exit::FINDING => code,
            exit::USAGE if self.bisect => exit::BISECT_ABORT,
            _ if self.bisect => exit::BISECT_SKIP,
            _ => code,
        }
    }

    /// Builds the kernel of --kernel-source, if there is one. Returns the flags of the world to open.
    fn build_kernel(&self) -> Result<WorldArgs, (u8, String)> {
        let Some(source) = &self.kernel_source else { return Ok(self.world.clone()) };
        let name = self.world.kernel().unwrap_or(BISECT_KERNEL);
        let world = self.world.on_kernel(name).map_err(|error| (self.code(error.code()), error.to_string()))?;
        let options =
            BuildOptions { source: Some(source.clone()), name: Some(name.to_owned()), ..BuildOptions::default() };
        let began = Instant::now();
        match build::showing_progress(&options) {
            Ok(built) => {
                let (kernel, seconds) = (&built.kernel.manifest.version, began.elapsed().as_secs());
                eprintln!("note: Linux {kernel} built as {name:?}: {} steps in {seconds} s", built.steps);
                Ok(world)
            }
            // Another commit may build; what this machine lacks, it lacks for every commit.
            Err(error @ (KernelError::Build { .. } | KernelError::Unsuited { .. } | KernelError::Source(_))) => {
                Err((self.code(exit::UNABLE), error.to_string()))
            }
            Err(error) if self.bisect => Err((exit::BISECT_ABORT, error.to_string())),
            Err(error) => Err((exit::UNABLE, error.to_string())),
        }
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
