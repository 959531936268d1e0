//! `whitewater shell`: a look around inside a case's network.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use nix::unistd::{getegid, geteuid};

use super::exit;
use crate::case::{Case, Host, file};
use crate::link::Relay;
use crate::net::NetError;
use crate::net::namespace::enter_user_namespace;
use crate::topology::{self, Topology};

/// What runs if neither the user nor $SHELL names a program.
const SHELL: &str = "/bin/sh";

/// Open a shell on a host of a case's network, with its links working, to look around with ip, ss or tcpdump.
///
/// Nothing is transferred: start servers and clients by hand. $NS1 to $NS4 name the other hosts, for
/// `nsenter --net=$NS4`. The network is removed when the shell exits.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The host [default: the client's]
    #[arg(value_parser = host)]
    host: Option<Host>,

    /// Use the network of this case [default: four hosts in a row, with plain links]
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,

    /// Run this instead of $SHELL, and exit with its exit code
    #[arg(last = true)]
    command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  whitewater shell ns2
  whitewater shell --case findings/stalled-1a2b3c4d.toml
  whitewater shell ns4 -- sh -c 'ip addr; nsenter --net=$NS1 ping -c 3 10.0.3.1'";

/// For clap: a host's name.
fn host(text: &str) -> Result<Host, String> {
    Host::ALL
        .into_iter()
        .find(|host| host.to_string() == text)
        .ok_or_else(|| "expected ns1, ns2, ns3 or ns4".to_owned())
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let case = match args.case.as_ref().map(|path| file::read(path)).transpose() {
        Ok(case) => case.unwrap_or_default(),
        Err(error) => return exit::fail(exit::USAGE, error),
    };
    match inside(args, &case) {
        Ok(status) => code(status).into(),
        Err(error) => exit::fail(exit::UNABLE, error),
    }
}

/// Builds the network, and runs the command in it to its end.
fn inside(args: &Args, case: &Case) -> Result<ExitStatus, String> {
    let words_of = |error: NetError| error.to_string();
    // While this process has one thread: the relay's come later.
    enter_user_namespace(geteuid().as_raw(), getegid().as_raw()).map_err(words_of)?;
    let mut network = topology::build(case, &topology::Options::default()).map_err(words_of)?;
    let relay = Relay::start(case.seed, network.take_wirings()).map_err(|error| format!("start the links: {error}"))?;
    // Ctrl-C is for the programs in the shell. Unlike an ignored signal, a handler is not inherited by them.
    ctrlc::set_handler(|| {}).map_err(|error| format!("cannot catch Ctrl-C: {error}"))?;
    let host = args.host.unwrap_or(case.client.host);
    let status = network.namespace(host).run(|| command(args, &network, host).status()).map_err(words_of)?;
    relay.stop();
    status.map_err(|error: io::Error| format!("run {}: {error}", words(args)[0]))
}

fn command(args: &Args, network: &Topology, host: Host) -> Command {
    let words = words(args);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("PS1", format!("{host}$ "));
    for host in Host::ALL {
        command.env(host.to_string().to_uppercase(), network.namespace(host).path());
    }
    command
}

/// The command and its arguments: at least one word.
fn words(args: &Args) -> Vec<String> {
    if !args.command.is_empty() {
        return args.command.clone();
    }
    vec![std::env::var("SHELL").ok().filter(|shell| !shell.is_empty()).unwrap_or_else(|| SHELL.to_owned())]
}

/// The exit code, as a shell reports it: 128 plus the number of the signal that ended the command.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::UNABLE)
}
