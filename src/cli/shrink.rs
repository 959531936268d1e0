//! `whitewater shrink`: makes a saved case smaller.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::campaign::{Rules, Shrink, ShrinkError};
use crate::case::file;
use crate::endpoint::plant::Plant;
use crate::report::terminal::Terminal;

use super::options::{self, Shrinking};
use super::world::{Wishes, WorldArgs};
use super::{exit, interrupt};

/// Make a saved case smaller, while it still fails in the same way.
///
/// Every step is written to the file at once, so Ctrl-C loses nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The case file
    file: PathBuf,

    /// Write the result to this file and leave FILE as it is
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    world: WorldArgs,

    /// Run this many candidates at once [default: 8 per CPU on the host, CPUs + 1 in uml]
    #[arg(long, value_name = "N", env = "WHITEWATER_JOBS", hide_env_values = true, value_parser = options::jobs)]
    jobs: Option<usize>,

    #[command(flatten)]
    shrinking: Shrinking,

    /// Plant a fault, to see that it is found
    #[arg(long, value_name = "NAME", hide = true)]
    plant: Option<Plant>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater shrink findings/corrupt-1a2b3c4d.toml --shrink-time 10m
  whitewater shrink case.toml --output small.toml --attempts 20";

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let case = match file::read(&args.file) {
        Ok(case) => case,
        Err(error) => return exit::fail(exit::USAGE, error),
    };
    let opened = match args.world.open_for([&case], Wishes { plant: args.plant, ..Wishes::default() }) {
        Ok(opened) => opened,
        Err(error) => return exit::fail(error.code(), error),
    };
    if let Some(note) = opened.other_program(&case) {
        eprintln!("note: {note}");
    }
    let stop = interrupt::flag(&opened.world);
    let shrink = Shrink {
        world: Arc::clone(&opened.world),
        rules: Rules::default(),
        case,
        file: args.output.clone().unwrap_or_else(|| args.file.clone()),
        jobs: args.jobs.unwrap_or(opened.jobs),
        limits: args.shrinking.limits(),
        stop,
    };
    match shrink.run(&mut Terminal::new(io::stdout())) {
        Ok(()) => exit::FINDING.into(),
        Err(error @ ShrinkError::DoesNotFail { .. }) => exit::fail(exit::PASSED, error),
        Err(error) => exit::fail(exit::UNABLE, error),
    }
}
