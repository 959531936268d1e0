//! `whitewater connect`: one endpoint by hand.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::connect;

/// One endpoint by hand, option for option the kernel selftests' mptcp_connect
///
/// A program called `mptcp_connect`, such as a symbolic link to this one, is this subcommand.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Its options and the address; --help tells them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    connect::run(args.arguments.clone()).into()
}

/// The endpoint, where the program was called by its name.
pub(super) fn called_by_name() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    connect::is_called(&program).then(|| connect::run(arguments.collect()).into())
}
