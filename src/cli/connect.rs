//! `whitewater connect`: one endpoint by hand.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::connect;

/// One endpoint by hand, option for option the kernel selftests' mptcp_connect
///
/// Called through a symbolic link named `mptcp_connect`, the program is this subcommand.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Its options and the address; --help lists them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    connect::run(args.arguments.clone()).into()
}

/// Runs the endpoint if the program was called by the name of the kernel's.
pub(super) fn called_by_name() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    connect::is_called(&program).then(|| connect::run(arguments.collect()).into())
}
