//! `whitewater run`: a campaign.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::campaign::{self, Campaign, Options, Rules};
use crate::case::strategy;
use crate::endpoint::plant::Plant;
use crate::seed::Seed;

use super::format::Reporting;
use super::options::{self, Filters, Shrinking};
use super::world::{Wishes, WorldArgs};
use super::{exit, interrupt};

/// How many cases run if nothing else bounds the campaign.
const DEFAULT_CASES: u64 = 300;

/// Run random cases until a count, a time or a finding.
///
/// Each case is a transfer in both directions between two hosts of a small network, drawn from the seed. A case that
/// fails is shrunk and saved in the findings folder; the same bug is saved once, however often it shows. Ctrl-C ends
/// the run at once and prints the summary; a second Ctrl-C skips the summary.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Run this many cases [default: 300, if neither --for nor --until-finding is given]
    #[arg(long, value_name = "N", help_heading = "How long", value_parser = clap::value_parser!(u64).range(1..))]
    cases: Option<u64>,

    /// Draw cases for this long, such as 90s, 10m or 1h
    #[arg(long = "for", value_name = "DURATION", help_heading = "How long", value_parser = humantime::parse_duration)]
    time: Option<Duration>,

    /// Stop at the first finding
    #[arg(long, help_heading = "How long")]
    until_finding: bool,

    /// Draw from this seed: the same seed and filters draw the same cases [default: a new one]
    #[arg(long, env = "WHITEWATER_SEED", hide_env_values = true, help_heading = "Which cases")]
    seed: Option<Seed>,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    shrinking: Shrinking,

    #[command(flatten)]
    world: WorldArgs,

    /// Run each case twice, and stop if the two runs differ in any captured byte (uml only)
    #[arg(long, help_heading = "World")]
    check_determinism: bool,

    /// Count which lines of net/mptcp and net/ipv4/tcp*.c the kernel executes, and report them by file at the end
    /// (needs a kernel of `whitewater kernel build --coverage`, uml only)
    #[arg(long, help_heading = "Coverage")]
    coverage: bool,

    /// Also write the covered lines as an lcov tracefile; implies --coverage
    #[arg(long, value_name = "FILE", help_heading = "Coverage")]
    lcov: Option<PathBuf>,

    /// Run this many cases at once; a waiting case costs no CPU [default: 8 per CPU on the host, CPUs + 1 in uml]
    #[arg(long, value_name = "N", env = "WHITEWATER_JOBS", hide_env_values = true, help_heading = "Running", value_parser = options::jobs)]
    jobs: Option<usize>,

    /// Save findings in this folder
    #[arg(
        long,
        value_name = "FOLDER",
        env = "WHITEWATER_FINDINGS",
        hide_env_values = true,
        help_heading = "Findings",
        default_value = "findings"
    )]
    findings: PathBuf,

    /// Report these findings separately, as known: a file of [[known]] tables (signature, note), a saved case, or a
    /// folder of either (may be repeated)
    #[arg(
        long,
        value_name = "FILE",
        env = "WHITEWATER_KNOWN",
        hide_env_values = true,
        value_delimiter = ':',
        help_heading = "Findings"
    )]
    known: Vec<PathBuf>,

    #[command(flatten)]
    reporting: Reporting,

    /// Plant a fault, to see that it is found
    #[arg(long, value_name = "NAME", hide = true)]
    plant: Option<Plant>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater run --for 10m --until-finding
  whitewater run --seed 0x1f --pairing 'mptcp>mptcp' --link impaired
  whitewater run --world uml --cases 1000 --check-determinism
  whitewater run --for 10m --lcov kernel.info
  whitewater run --known cases/known --json >events.jsonl
  whitewater run --format ktap --junit whitewater.xml";

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    if let Err(error) = args.filters.check() {
        return exit::fail(exit::USAGE, error);
    }
    let opened = match args.world.open(args.wishes()) {
        Ok(opened) => opened,
        Err(error) => return exit::fail(error.code(), error),
    };
    let mut known = opened.known();
    if let Some(series) = known.borrowed() {
        eprintln!("note: no bugs of this kernel's series are known; those of Linux {series} are reported separately");
    }
    for path in &args.known {
        if let Err(error) = known.add(path) {
            return exit::fail(exit::USAGE, error);
        }
    }
    let stop = interrupt::flag(&opened.world);
    let mut space = opened.space(&args.filters);
    if let Some(error) = opened.lacks_mptcp() {
        eprintln!("note: drawing TCP cases only: {error}");
        space = space.without_mptcp();
    }
    let campaign = Campaign {
        world: Arc::clone(&opened.world),
        rules: Rules::default(),
        draw: Box::new(move |seed| strategy::draw(&space, seed)),
        options: Options {
            seed: args.seed.unwrap_or_else(Seed::fresh),
            jobs: args.jobs.unwrap_or(opened.jobs),
            cases: args.cases(),
            time: args.time,
            until_finding: args.until_finding,
            findings: args.findings.clone(),
            known,
            limits: args.shrinking.limits(),
            why: opened.why.clone(),
        },
        stop,
    };
    args.reporting.report("whitewater run", |report| {
        let summary = match campaign::run(&campaign, report) {
            Ok(summary) => summary,
            Err(error) => return exit::fail(exit::UNABLE, error),
        };
        match opened
            .coverage
            .as_ref()
            .map_or(Ok(()), |counted| counted.report(&mut args.reporting.people(), args.lcov.as_deref()))
        {
            Ok(()) => summary.exit_code().into(),
            Err(error) => exit::fail(exit::UNABLE, error),
        }
    })
}

impl Args {
    fn wishes(&self) -> Wishes {
        let coverage = self.coverage || self.lcov.is_some();
        Wishes { plant: self.plant, check: self.check_determinism, coverage, ..Wishes::default() }
    }

    fn cases(&self) -> Option<u64> {
        let bounded = self.time.is_some() || self.until_finding;
        self.cases.or_else(|| (!bounded).then_some(DEFAULT_CASES))
    }
}
