//! Exit codes, and how errors are printed.

use std::fmt::Display;
use std::process::ExitCode;

/// All passed.
pub const PASSED: u8 = 0;

/// There was at least one finding.
pub const FINDING: u8 = 1;

/// A bad flag, or a file that cannot be used.
pub const USAGE: u8 = 2;

/// This machine cannot do it, or not enough of it worked to prove anything.
pub const UNABLE: u8 = 3;

/// Everything was skipped (the skip of the kernel's selftests).
pub const SKIPPED: u8 = 4;

/// For `git bisect run`: this kernel cannot be judged.
pub const BISECT_SKIP: u8 = 125;

/// For `git bisect run`: the command itself is wrong. It ends the bisection; 2 would mark the kernel as bad.
pub const BISECT_ABORT: u8 = 128;

/// Interrupted before the end: 128 plus the number of SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Prints an error to standard error and returns the exit code.
pub fn fail(code: u8, error: impl Display) -> ExitCode {
    eprintln!("error: {error}");
    code.into()
}
