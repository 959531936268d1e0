//! Running the programs of a build: their output goes into a log, and is shown as it comes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::KernelError;

/// How many lines of a failed program's output an error shows.
const LAST: usize = 15;

/// The programs that a build runs, each with the Debian package that brings it.
const PROGRAMS: [(&str, &str); 9] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("strip", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// The programs that are missing, each with its package.
fn missing() -> Vec<(&'static str, &'static str)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    PROGRAMS.into_iter().filter(|(program, _)| !there(program)).collect()
}

/// The Debian packages that bring the programs which a build needs and which are missing; empty where none is.
pub fn missing_packages() -> Vec<&'static str> {
    let mut packages: Vec<&str> = missing().into_iter().map(|(_, package)| package).collect();
    packages.dedup();
    packages
}

/// An error if a program is missing.
pub(super) fn require_programs() -> Result<(), KernelError> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    Err(KernelError::Programs {
        programs: missing.iter().map(|(program, _)| *program).collect(),
        packages: missing_packages().join(" "),
    })
}

/// Runs a program to its end. Its output is appended to `log`, and each line given to `line`.
pub(super) fn run(
    program: &'static str,
    command: &mut Command,
    log: &Path,
    mut line: impl FnMut(&str),
) -> Result<(), KernelError> {
    let start = |error| KernelError::File { what: "execute", path: program.into(), error };
    let mut file = File::options().create(true).append(true).open(log).map_err(KernelError::file("write", log))?;
    let (reader, writer) = io::pipe().map_err(start)?;
    let errors = writer.try_clone().map_err(start)?;
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(errors).spawn().map_err(start)?;
    // The command holds copies of the pipe's other end, without whose end there is none here.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut last: VecDeque<String> = VecDeque::with_capacity(LAST);
    for bytes in BufReader::new(reader).split(b'\n') {
        let text = String::from_utf8_lossy(&bytes.map_err(start)?).into_owned();
        writeln!(file, "{text}").map_err(KernelError::file("write", log))?;
        line(&text);
        if last.len() == LAST {
            last.pop_front();
        }
        last.push_back(text);
    }
    let status = child.wait().map_err(start)?;
    if status.success() {
        return Ok(());
    }
    Err(KernelError::Build { program, how: status.to_string(), log: log.to_owned(), last: last.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_end_of_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut seen = 0;
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo no such symbol >&2; exit 3"]);
        let error = run("sh", &mut command, &log, |_| seen += 1).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("100\nno such symbol"), "{error}");
        assert!(!error.contains("\n50\n"), "{error}");
        assert_eq!((seen, std::fs::read_to_string(&log).unwrap().lines().count()), (101, 101));
    }
}
