//! `whitewater matrix`: the transfers of the kernel's mptcp_connect.sh.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::campaign::{Known, Replay, Replayed, Rules};
use crate::case::Case;
use crate::endpoint::plant::Plant;
use crate::matrix::{self, Leg, Mode, Offload, ReorderSpec, Terms};
use crate::oracle::Kind;
use crate::report::ktap::Ktap;
use crate::report::result::{Outcome, TestResult};
use crate::seed::Seed;

use super::world::{OpenError, Opened, Wishes, WorldArgs};
use super::{exit, interrupt, options};

/// The longest delay that can be asked for, in ms.
const DELAY_MAX: u64 = 10_000;

/// Transfer from every host to every address, as the kernel's mptcp_connect.sh does, and report in KTAP.
///
/// First checks that MPTCP can be switched off and that every host reaches every address. Then runs three pairings over
/// loopback, and transfers from each of four hosts to every address of the others, IPv4 and IPv6, over a lossy and a
/// reordering link. Parameters that are not given are drawn from the seed, as the script draws them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The 72 transfers of the script's first version: every pairing from every host to every IPv4 address
    #[arg(long, help_heading = "Which transfers")]
    classic: bool,

    /// IPv4 only
    #[arg(short = '4', long, help_heading = "Which transfers")]
    v4: bool,

    /// Also run pairings with TCP at one end over the wire; given twice, with TCP at both ends as well
    #[arg(short = 't', long, action = clap::ArgAction::Count, help_heading = "Which transfers")]
    tcp: u8,

    /// Draw from this seed: the same seed and options give the same transfers [default: a new one]
    #[arg(long, env = "WHITEWATER_SEED", hide_env_values = true, help_heading = "Which transfers")]
    seed: Option<Seed>,

    /// How many bytes each end sends, such as 64KiB [default: 256 KiB to 8 MiB each]
    #[arg(short = 'f', long, value_name = "BYTES", value_parser = options::bytes, help_heading = "Transfers")]
    size: Option<u64>,

    /// How bytes are sent: poll (both ways at once), mmap, sendfile or splice (first the client, then the server)
    #[arg(short = 'm', long, default_value = "poll", help_heading = "Transfers")]
    mode: Mode,

    /// SO_SNDBUF of both ends, in bytes
    #[arg(short = 'S', long, value_name = "BYTES", help_heading = "Transfers")]
    sndbuf: Option<u32>,

    /// SO_RCVBUF of both ends, in bytes
    #[arg(short = 'R', long, value_name = "BYTES", help_heading = "Transfers")]
    rcvbuf: Option<u32>,

    /// Use MPTCP checksums on every host
    #[arg(short = 'C', long, help_heading = "Transfers")]
    checksum: bool,

    /// The delay from ns2 to ns3, in ms; from ns3 to ns4 a quarter of it [default: 0 to 49]
    #[arg(short = 'd', long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=DELAY_MAX), help_heading = "Links")]
    delay: Option<u64>,

    /// The loss from ns2 to ns3, in percent [default: 0 to 1]
    #[arg(short = 'l', long, value_name = "PERCENT", value_parser = matrix::percent, help_heading = "Links")]
    loss: Option<f64>,

    /// The reordering from ns3 to ns4, such as "25% 50% gap 5"; 0 for none [default: 91 to 100 %, 0 to 99 %]
    #[arg(short = 'r', long, value_name = "SPEC", help_heading = "Links")]
    reorder: Option<ReorderSpec>,

    /// Turn this offload off on ns3eth2 and ns4eth3: tso, gso or gro (may be repeated) [default: any of them]
    #[arg(short = 'e', long = "off", value_name = "OFFLOAD", help_heading = "Links")]
    off: Vec<Offload>,

    /// Keep the evidence of failing transfers in this folder
    #[arg(long, value_name = "FOLDER", help_heading = "Running")]
    evidence: Option<PathBuf>,

    /// Keep the evidence of every transfer in this folder, passed or not: captures on both ends' hosts and on the links,
    /// sockets, counters
    #[arg(short = 'c', long, value_name = "FOLDER", conflicts_with = "evidence", help_heading = "Running")]
    capture: Option<PathBuf>,

    /// Run this many transfers at once [default: 8 per CPU on the host, CPUs + 1 in uml]
    #[arg(long, value_name = "N", env = "WHITEWATER_JOBS", hide_env_values = true, value_parser = options::jobs, help_heading = "Running")]
    jobs: Option<usize>,

    #[command(flatten)]
    world: WorldArgs,

    /// Plant a fault, to see that it is found
    #[arg(long, value_name = "NAME", hide = true)]
    plant: Option<Plant>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater matrix --world host
  whitewater matrix --classic
  whitewater matrix -d 0 -l 0 -r 0 -f 1MiB    no impairments, as on a kernel without netem

Exit codes: 0 all passed; 1 a transfer failed; 2 a bad flag; 4 all skipped, or this machine cannot do it.";

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let terms = args.terms();
    let legs = if args.classic { matrix::classic(&terms) } else { matrix::walk(&terms) };
    let mut results = Results { ktap: Ktap::new(io::stdout()), failed: 0, passed: 0, seen: 0 };
    // It forks, so it comes before there are threads.
    let begin = Instant::now();
    let preflight = matrix::preflight(terms.v4_only || args.classic);
    let preflight_took = begin.elapsed();
    let opened =
        match args.world.open(Wishes { plant: args.plant, capture: args.capture.is_some(), ..Wishes::default() }) {
            Ok(opened) => opened,
            Err(error @ OpenError::Flags(_)) => return exit::fail(exit::USAGE, error),
            Err(error) => return unable(&error.to_string()),
        };
    results.ktap.begin(Some(legs.len() as u64 + 2));
    results.ktap.comment(&terms.to_string());
    results.ktap.comment(&format!("world {}, kernel {}", opened.world.name(), opened.world.kernel()));
    let (sysctl, pings, unanswered) = match preflight {
        Ok(found) => (sysctl_outcome(found.sysctl), ping_outcome(&found.pings), found.pings),
        Err(why) => (Outcome::Skipped(why.clone()), Outcome::Skipped(why), Vec::new()),
    };
    let reachable = !matches!(pings, Outcome::Failed(..));
    results.test("New MPTCP socket can be blocked via sysctl", sysctl, Duration::ZERO, Vec::new());
    results.test("ping tests", pings, preflight_took, unanswered);
    if reachable { args.walk(&opened, &legs, &mut results) } else { results.give_up(&legs) }
}

fn sysctl_outcome(trouble: Option<String>) -> Outcome {
    trouble.map_or(Outcome::Passed, |what| Outcome::Failed(Kind::CounterBroken, what))
}

fn ping_outcome(unanswered: &[String]) -> Outcome {
    match unanswered.len() {
        0 => Outcome::Passed,
        lost => Outcome::Failed(Kind::Stalled, format!("{lost} pings got no answer")),
    }
}

/// Exits as kselftest's runner expects of a test that cannot run here.
fn unable(why: &str) -> ExitCode {
    println!("KTAP version 1\n1..0 # SKIP {why}");
    exit::fail(exit::SKIPPED, why)
}

impl Args {
    fn terms(&self) -> Terms {
        let seed = self.seed.unwrap_or_else(Seed::fresh);
        let mut terms = if self.classic { Terms::classic(seed) } else { Terms::draw(seed) };
        terms.v4_only = self.v4;
        terms.tcp = self.tcp;
        terms.sizes = self.size.map_or(terms.sizes, |size| [size; 2]);
        terms.buffers = [self.sndbuf, self.rcvbuf];
        terms.checksum = self.checksum;
        terms.mode = self.mode;
        if let Some(delay) = self.delay.map(Duration::from_millis) {
            (terms.delay, terms.far_delay) = (delay, delay / 4);
        }
        terms.loss = self.loss.unwrap_or(terms.loss);
        terms.reorder = self.reorder.map_or(terms.reorder, |spec| spec.0);
        if !self.off.is_empty() {
            terms.turn_off(&self.off);
        }
        terms
    }

    fn walk(&self, opened: &Opened, legs: &[Leg], results: &mut Results) -> ExitCode {
        let cases: Vec<Case> = legs.iter().map(|leg| leg.case.clone()).collect();
        let out_of_range = legs.iter().find_map(|leg| Some((leg, leg.case.validate().err()?)));
        if let Some((leg, problems)) = out_of_range {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            return exit::fail(exit::USAGE, format!("{}: {first}", leg.name));
        }
        let known = opened.known();
        let replay = Replay {
            world: Arc::clone(&opened.world),
            rules: Rules::default(),
            cases: &cases,
            times: 1,
            jobs: self.jobs.unwrap_or(opened.jobs),
            evidence: self.capture.as_deref().or(self.evidence.as_deref()),
            keep_all: self.capture.is_some(),
            stop: interrupt::flag(&opened.world),
        };
        let whole = replay.run(&mut |replayed| {
            let leg = &legs[replayed.case];
            let evidence = replayed.evidence.iter().map(|folder| format!("evidence: {}", folder.display()));
            let captured = replayed
                .captured
                .iter()
                .map(|of| format!("captured: {} packets, {} of them dropped by the capture", of.packets, of.missed));
            let details = evidence.chain(captured).collect();
            results.test(&leg.name, outcome(replayed, &known), replayed.took, details);
        });
        results.ktap.finish();
        if whole { results.exit_code().into() } else { exit::fail(exit::INTERRUPTED, "interrupted") }
    }
}

fn outcome(replayed: &Replayed, known: &Known) -> Outcome {
    let what = replayed.verdict.what.clone();
    match replayed.verdict.kind {
        Kind::Pass => Outcome::Passed,
        Kind::Skip => Outcome::Skipped(what),
        Kind::HarnessError => Outcome::Trouble(what),
        kind => match known.note(&replayed.verdict.signature) {
            Some(note) => Outcome::Known(note.to_owned()),
            None => Outcome::Failed(kind, what),
        },
    }
}

/// What has been results.
struct Results {
    ktap: Ktap<io::Stdout>,
    seen: usize,
    passed: usize,
    failed: usize,
}

impl Results {
    fn test(&mut self, name: &str, outcome: Outcome, took: Duration, details: Vec<String>) {
        self.seen += 1;
        match outcome {
            Outcome::Passed | Outcome::Known(_) => self.passed += 1,
            Outcome::Failed(..) | Outcome::Trouble(_) => self.failed += 1,
            Outcome::Skipped(_) => {}
        }
        self.ktap.test(&TestResult { name: name.to_owned(), outcome, took, details });
    }

    /// Skips all transfers: where no ping gets through, nothing will.
    fn give_up(&mut self, legs: &[Leg]) -> ExitCode {
        for leg in legs {
            self.test(&leg.name, Outcome::Skipped("pings fail".to_owned()), Duration::ZERO, Vec::new());
        }
        self.ktap.finish();
        exit::FINDING.into()
    }

    fn exit_code(&self) -> u8 {
        match self {
            Results { failed: 1.., .. } => exit::FINDING,
            Results { passed: 0, .. } => exit::SKIPPED,
            _ => exit::PASSED,
        }
    }
}
