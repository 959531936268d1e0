//! The command line: one file a subcommand, each thin.
//!
//! Results go to standard output, progress and errors to standard error. The exit codes are in [`exit`].

pub mod connect;
pub mod doctor;
pub mod exit;
pub mod kernel;
pub mod matrix;
pub mod replay;
pub mod run;
pub mod shell;
pub mod show;
pub mod shrink;

mod format;
mod interrupt;
mod options;
mod world;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Send files both ways over a real kernel's TCP or Multipath TCP, across rough water, and check that they arrive.
///
/// Every case is drawn from a seed. A case that fails is shrunk to the smallest one that still fails, and saved as a
/// file that replays it.
#[derive(Debug, Parser)]
#[command(name = "whitewater", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater run                      run 300 random cases
  whitewater run --for 1h --json      run them for an hour and report in JSON lines
  whitewater replay findings/*.toml   run what was found again
  whitewater doctor                   check what this machine can do

Exit codes: 0 all passed; 1 a finding; 2 a bad flag or file; 3 this machine cannot do it; 4 all skipped.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Replay(replay::Args),
    Shrink(shrink::Args),
    Matrix(matrix::Args),
    Connect(connect::Args),
    Shell(shell::Args),
    /// Show a case in words, with its topology and the packets of its run
    Show(show::Args),
    /// Build, list, check, run and remove the kernels of the deterministic world
    Kernel(kernel::Args),
    /// Check what this machine can do, and how to fix what it cannot
    Doctor(doctor::Args),
}

/// Runs the program on the arguments of this process.
pub fn main() -> ExitCode {
    if let Some(code) = connect::called_by_name() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let bisects = std::env::args_os().any(|argument| argument == "--bisect");
            let code = match error.use_stderr() {
                true if bisects => exit::BISECT_ABORT,
                true => exit::USAGE,
                false => exit::PASSED,
            };
            // If even this cannot be written, there is nowhere left to report it.
            let _ = error.print();
            return code.into();
        }
    };
    match &cli.command {
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Replay(args)) => replay::run(args),
        Some(Command::Shrink(args)) => shrink::run(args),
        Some(Command::Matrix(args)) => matrix::run(args),
        Some(Command::Connect(args)) => connect::run(args),
        Some(Command::Shell(args)) => shell::run(args),
        Some(Command::Show(args)) => show::run(args),
        Some(Command::Kernel(args)) => kernel::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        None => {
            let _ = Cli::command().print_help();
            exit::PASSED.into()
        }
    }
}
