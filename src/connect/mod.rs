//! `mptcp_connect`: one endpoint by hand, option for option the tool of that name among the Linux kernel's selftests
//! (Linux 7.2), so that its scripts run with this program in its place.
//!
//! It sends its standard input to a peer, and what the peer sends to its standard output. What a script can see is as
//! there: options and their order, defaults, messages, exit codes, the order of system calls, where it sleeps. What
//! differs: the seed of the random sizes is printed and can be given; an output that cannot be written is a failure (6);
//! an input that cannot be read is one in poll mode too (4); a peek that shows other bytes than the read behind it is
//! one (1); what would loop for ever ends (an input that shrinks under sendfile, an input exhausted by `-I`).
//!
//! This is a program's story, told in calls on descriptors and words on standard error; the [`crate::copier`], which knows
//! beforehand how much it sends, is for the endpoints of cases.

mod checks;
mod disconnect;
mod getopt;
mod number;
mod oneway;
mod options;
mod poll;
mod receive;
mod send;
mod session;
mod socket;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::seed::Seed;
use crate::sys::signal;

use options::Options;
use session::Session;
use words::{Exit, Step, die, say};

/// The name under which the program is this one endpoint.
pub const NAME: &str = "mptcp_connect";

/// Whether a program that was called like this (`argv[0]`) is to be this one endpoint.
pub fn is_called(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(NAME))
}

/// Runs the endpoint on a command line without the program's name; its exit code.
pub fn run(arguments: Vec<OsString>) -> u8 {
    match endpoint(arguments) {
        Ok(()) => 0,
        Err(Exit(code)) => code,
    }
}

fn endpoint(arguments: Vec<OsString>) -> Step<()> {
    signal::die_of_pipe();
    signal::watch_user_signal().map_err(|error| die(&format!("sigaction: {error}\n")))?;
    let options = Options::parse(NAME, arguments, Seed::fresh())?;
    // As a comment of KTAP: scripts pass on what is said here among their own results.
    say(&format!("# seed {}\n", options.seed));
    let mut session = Session::new(options);
    if session.options.listen { session.serve() } else { session.connect() }
}
