//! `whitewater doctor`: what this machine can do, and how to fix what it cannot.
//!
//! Most checks read files of `/proc` and `/sys` below a root folder, so that tests can make up machines. What files do not
//! say is tried out: a user namespace, a TAP device, a whole case.

mod kernel;
mod machine;
mod trial;
mod uml;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};

use super::exit;

/// The widest the table gets, in characters.
const WIDTH: u16 = 118;

/// Check what this machine can do, and how to fix what it cannot.
///
/// The exit code is 0 if cases can run on this machine's kernel, and 3 if they cannot. Something that is merely lacking
/// stops few cases or none.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that findings would be saved in
    #[arg(
        long,
        value_name = "FOLDER",
        env = "WHITEWATER_FINDINGS",
        hide_env_values = true,
        default_value = "findings"
    )]
    findings: PathBuf,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    /// What was checked.
    what: &'static str,
    /// Whether it is as cases need it.
    state: State,
    /// What was found, in a few words.
    found: String,
    /// What to do about it; empty if there is nothing to do.
    fix: String,
}

/// Whether something is as cases need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// Missing, but most cases run without it.
    Lacking,
    /// No case can run.
    Broken,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Check {
        Check { what, state: State::Good, found: found.into(), fix: String::new() }
    }

    fn lacking(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { what, state: State::Lacking, found: found.into(), fix: fix.into() }
    }

    fn broken(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { what, state: State::Broken, found: found.into(), fix: fix.into() }
    }
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let checks = checks(Path::new("/"), args);
    let verdict = match checks.iter().any(|check| check.state == State::Broken) {
        true => "cases cannot run on this machine",
        false => "cases can run on this machine",
    };
    let text = format!("{}{verdict}\n", table(&checks));
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            exit::fail(exit::UNABLE, format!("cannot write to standard output: {error}"))
        }
        _ => code(&checks).into(),
    }
}

/// The exit code for what was found.
fn code(checks: &[Check]) -> u8 {
    if checks.iter().any(|check| check.state == State::Broken) { exit::UNABLE } else { exit::PASSED }
}

fn checks(root: &Path, args: &Args) -> Vec<Check> {
    // The trial forks, so it comes before anything that might start a thread.
    let trial = trial::case();
    let netem = trial::netem();
    vec![
        kernel::release(root),
        kernel::user_namespaces(root, trial::user_namespace()),
        kernel::network_namespaces(root),
        kernel::socket_diagnosis(trial::socket_diagnosis()),
        kernel::mptcp(root),
        kernel::ipv6(root),
        kernel::tun(trial::tun()),
        kernel::congestion_controls(root),
        kernel::netem(netem),
        machine::cpus(),
        machine::open_files(),
        machine::findings(&args.findings),
        machine::temporary(&std::env::temp_dir()),
        machine::fuzzing(&machine::Tools::of_this_process()),
        trial,
        uml::kernels(&uml::installed()),
        uml::world(root, uml::boot()),
        uml::build(&uml::Workshop::of_this_machine()),
        uml::gcov(&uml::versions()),
    ]
}

/// The checks as a table: what was checked, its state, what was found, and the fix below it.
fn table(checks: &[Check]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    for check in checks {
        let state = match check.state {
            State::Good => "ok",
            State::Lacking => "lacking",
            State::Broken => "BROKEN",
        };
        let found = match check.fix.as_str() {
            "" => check.found.clone(),
            fix => format!("{}\nfix: {fix}", check.found),
        };
        table.add_row([check.what, state, &found]);
    }
    // Without lines between columns, the first one's padding is only an indent.
    table.trim_fmt().lines().map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_broken_makes_a_machine_unable() {
        let good = Check::good("one", "1");
        let lacking = Check::lacking("two", "no", "get it");
        let broken = Check::broken("three", "no", "get it");
        assert_eq!(code(&[good.clone(), lacking.clone()]), exit::PASSED);
        assert_eq!(code(&[good, lacking, broken]), exit::UNABLE);
    }

    #[test]
    fn every_check_is_a_row_and_every_fix_stands_with_it() {
        let text = table(&[Check::good("CPUs", "2"), Check::lacking("IPv6", "off", "turn it on")]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["CPUs  ok       2", "IPv6  lacking  off", "fix: turn it on"]);
    }
}
