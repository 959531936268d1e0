//! The kernel's own selftest scripts, unchanged, with whitewater in place of their C program.
//!
//! They come from a Linux source tree that WHITEWATER_KERNEL_SOURCE names. Here one of them runs over IPv4 with small
//! files, on this kernel and on a deterministic one, where its netem is real; WHITEWATER_KERNEL_SCRIPTS=all runs the five of
//! them as they are, which takes some minutes:
//!
//!     WHITEWATER_KERNEL_SOURCE=linux-7.2 WHITEWATER_KERNEL_SCRIPTS=all cargo test --test kernel_scripts -- --nocapture

mod common;

use std::process::Command;

use common::asking;
use common::selftests::{IN_GUEST, Selftests, in_namespaces, lacks_namespaces, missing};

/// What the scripts call.
const PROGRAMS: [&str; 8] = ["ip", "tc", "ss", "nstat", "nft", "ping", "sysctl", "unshare"];

/// The script that is run in any case, and its options: no impairments, which not every kernel has.
const QUICK: (&str, &[&str]) = ("mptcp_connect.sh", &["-4", "-f", "65536", "-d", "0", "-l", "0", "-r", "0"]);

/// And its options where netem is real: it draws loss, delay and reordering.
const QUICK_IN_GUEST: &[&str] = &["-4", "-f", "65536"];

/// All of them.
const ALL: [&str; 5] = [
    "mptcp_connect.sh",
    "mptcp_connect_checksum.sh",
    "mptcp_connect_mmap.sh",
    "mptcp_connect_sendfile.sh",
    "mptcp_connect_splice.sh",
];

/// How many tests the script has over IPv4: 33 transfers, and the two checks before them.
const QUICK_TESTS: usize = 35;

/// And over both families.
const ALL_TESTS: usize = 68;

#[test]
fn the_kernels_scripts_pass_with_whitewater_in_the_place_of_their_program() {
    let Some(selftests) = selftests() else { return };
    if let Some(why) = lacks_namespaces() {
        return println!("SKIP: the kernel's scripts need namespaces: {why}");
    }
    selftests.put_ours();
    let run = |script: &str| {
        let mut command = in_namespaces(&selftests.mptcp());
        command.arg(format!("./{script}"));
        command
    };
    if all() {
        for script in ALL {
            passes(false, run(script), script, &[], ALL_TESTS);
        }
    } else {
        passes(false, run(QUICK.0), QUICK.0, QUICK.1, QUICK_TESTS);
    }
}

#[test]
fn the_kernels_scripts_pass_on_a_deterministic_kernel() {
    let Some(selftests) = selftests() else { return };
    if common::kernel().is_none() {
        return;
    }
    selftests.copy_ours();
    let run = |script: &str| {
        let mut command = common::whitewater();
        command.args(["kernel", "run", "--", "bash", "-c", IN_GUEST, "bash"]).arg(format!("./{script}"));
        command.current_dir(selftests.folder());
        command
    };
    if all() {
        for script in ALL {
            passes(true, run(script), script, &[], ALL_TESTS);
        }
    } else {
        passes(true, run(QUICK.0), QUICK.0, QUICK_IN_GUEST, QUICK_TESTS);
    }
}

/// Whether all scripts are to be run, as they are.
fn all() -> bool {
    std::env::var("WHITEWATER_KERNEL_SCRIPTS").is_ok_and(|which| which == "all")
}

/// The scripts, where they and what they call are here; else it says so.
fn selftests() -> Option<Selftests> {
    let lacking = missing(&PROGRAMS);
    let selftests = match Selftests::open() {
        Ok(_) if !lacking.is_empty() => Err(format!("they call {lacking:?}, not installed here")),
        result => result,
    };
    selftests.map_err(|why| println!("SKIP: the kernel's scripts: {why}")).ok()
}

/// Runs a script, on a live kernel [again](asking) where it fails.
fn passes(exact: bool, mut command: Command, script: &str, options: &[&str], tests: usize) {
    command.args(options).env("NO_COLOR", "1");
    asking::again(exact, || run(&mut command, script, options, tests)).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Runs a script: all of its tests have to pass, none may be skipped.
fn run(command: &mut Command, script: &str, options: &[&str], tests: usize) -> Result<(), String> {
    let begin = std::time::Instant::now();
    let output = command.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let count = |start: &str| told.lines().filter(|line| line.starts_with(start)).count();
    let skipped = told.lines().filter(|line| line.starts_with("ok ") && line.contains("# SKIP")).count();
    println!("{script} {}: {} passed in {:.1?}", options.join(" "), count("ok "), begin.elapsed());
    let as_expected = (output.status.code(), count("ok "), count("not ok "), skipped) == (Some(0), tests, 0, 0);
    let seeds = errors.lines().filter(|line| line.contains("# seed 0x")).count();
    if !as_expected {
        Err(format!("{script}: {}\n{told}\n{errors}", output.status))
    } else if seeds < tests {
        Err(format!("it was not our program that ran: {seeds} seeds in\n{errors}"))
    } else {
        Ok(())
    }
}
