//! `whitewater kernel run`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::agent::command::Order;
use crate::cli::world::KernelCoverage;
use crate::cli::{exit, interrupt};
use crate::seed::Seed;
use crate::world::uml::coverage::Coverage;
use crate::world::uml::kernels::{Kernel, KernelError, Store};
use crate::world::uml::{UmlOptions, UmlWorld};
use crate::world::{World, WorldError};

/// Run a command on a kernel of the deterministic world, in virtual time.
///
/// Boots the kernel, runs the command as root and exits with its exit code: a test script that sleeps for an hour takes
/// seconds and runs the same way each time. The machine's files can be read and the current folder can be written to;
/// /tmp, /run and /dev are in memory. Standard input and the environment are empty. Whatever the command leaves running
/// ends with it.
///
/// If the kernel complains (a panic, a WARNING, a KASAN report), the complaint goes to standard error, and the exit code
/// is 1 even if the command exits with 0.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The kernel's name, as `kernel list` shows it [default: default, or the only one installed]
    #[arg(long)]
    name: Option<String>,

    /// The seed of all random numbers in the guest
    #[arg(long, default_value = "0x0")]
    seed: Seed,

    /// The guest's memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    memory: u32,

    /// Count which lines of net/mptcp and net/ipv4/tcp*.c the kernel executes, and report them by file on standard error
    /// at the end (needs a kernel of `whitewater kernel build --coverage`)
    #[arg(long)]
    coverage: bool,

    /// Also write the covered lines as an lcov tracefile; implies --coverage
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater kernel run -- uname -r
  whitewater kernel run --name debug -- ./mptcp_connect.sh -m sendfile
  whitewater kernel run --name coverage --coverage -- ./mptcp_connect.sh
  whitewater kernel run -- sh -c 'ip link set lo up; ping -c 1000 127.0.0.1'";

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> Result<ExitCode, KernelError> {
    let kernel = Store::of_this_user()?.find(args.name.as_deref())?;
    Ok(inside(args, kernel).unwrap_or_else(|error| exit::fail(exit::UNABLE, error)))
}

fn inside(args: &Args, kernel: Kernel) -> Result<ExitCode, WorldError> {
    let folder = std::env::current_dir().map_err(|error| WorldError::Unable(format!("the current folder: {error}")))?;
    let coverage = (args.coverage || args.lcov.is_some()).then(|| Arc::new(Coverage::new()));
    let options = UmlOptions { coverage: coverage.clone(), ..UmlOptions::default() };
    let world = Arc::new(UmlWorld::with(kernel.clone(), options)?);
    let stopped = interrupt::flag(&(Arc::clone(&world) as Arc<dyn World>));
    let order = Order { words: args.command.clone(), folder, seed: args.seed, coverage: coverage.is_some() };
    let end = world.command(&order, args.memory, io::stdout(), io::stderr());
    if stopped.load(std::sync::atomic::Ordering::Relaxed) {
        return Ok(exit::INTERRUPTED.into());
    }
    let end = end?;
    for line in &end.complaints {
        eprintln!("kernel: {line}");
    }
    if let Some(coverage) = coverage {
        KernelCoverage { kernel, coverage }.report(&mut io::stderr(), args.lcov.as_deref())?;
    }
    Ok(match end.code {
        Some(code) if code != exit::PASSED || end.complaints.is_empty() => code.into(),
        Some(_) => exit::FINDING.into(),
        None => exit::fail(exit::FINDING, "the kernel went down before the command ended"),
    })
}
