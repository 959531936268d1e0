//! What the machine offers beside its kernel.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::Check;

/// Open files for a few dozen cases at once, each with its namespaces, devices and sockets in a process of its own.
const OPEN_FILES: u64 = 512;

/// Free space for the evidence of some findings, in MiB.
const FREE_MIB: u64 = 256;

/// How many CPUs this process may use.
pub fn cpus() -> Check {
    match std::thread::available_parallelism() {
        Ok(one) if one.get() == 1 => {
            let fix = "give this process a second CPU (`taskset`, the container's cpuset, or the machine's)";
            Check::lacking("CPUs", "1: cases that want two run on one", fix)
        }
        Ok(many) => Check::good("CPUs", many.to_string()),
        Err(error) => Check::lacking("CPUs", format!("unknown: {error}"), "say how many with `--jobs`"),
    }
}

/// How many files a process may have open.
pub fn open_files() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => open_files_of(soft, hard),
        Err(error) => Check::lacking("open files", format!("unknown: {error}"), "`ulimit -n 1024`"),
    }
}

fn open_files_of(soft: u64, hard: u64) -> Check {
    match soft {
        enough if enough >= OPEN_FILES => Check::good("open files", format!("up to {enough}")),
        few if hard >= OPEN_FILES => Check::lacking("open files", format!("only {few}"), "`ulimit -n 1024`"),
        few => {
            let fix = "raise the hard limit (`nofile` in /etc/security/limits.conf, LimitNOFILE= of a service)";
            Check::lacking("open files", format!("only {few}, and no more than {hard}"), fix)
        }
    }
}

/// Whether findings can be saved in `folder`, which need not be there yet.
pub fn findings(folder: &Path) -> Check {
    const WHAT: &str = "findings";
    let there = folder.ancestors().find(|ancestor| ancestor.exists() || ancestor.as_os_str().is_empty());
    let there = there.filter(|ancestor| !ancestor.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match tempfile::NamedTempFile::new_in(there) {
        Ok(_) => space(WHAT, there, &format!("can be saved in {}", folder.display())),
        Err(error) => {
            let found = format!("cannot be saved in {}: {}", folder.display(), error.kind());
            Check::lacking(WHAT, found, "choose a folder that you may write to with `--findings FOLDER`")
        }
    }
}

/// Whether the folder for temporary files, which the tests use, has room.
pub fn temporary(folder: &Path) -> Check {
    space("temporary files", folder, &folder.display().to_string())
}

/// Whether the disk of `folder` has room. `good`: what to say before how much.
fn space(what: &'static str, folder: &Path, good: &str) -> Check {
    let free = match statvfs(folder) {
        Ok(disk) => disk.blocks_available().saturating_mul(disk.fragment_size()) >> 20,
        Err(error) => {
            return Check::lacking(what, format!("{}: {error}", folder.display()), "choose a folder that is there");
        }
    };
    if free >= FREE_MIB {
        return Check::good(what, format!("{good}, {free} MiB free"));
    }
    let fix = format!("free some space in {}, or choose a folder on another disk", folder.display());
    Check::lacking(what, format!("{good}, but only {free} MiB free"), fix)
}

/// Where the tools for fuzzing would be.
pub struct Tools {
    /// The folders with programs.
    pub path: Vec<PathBuf>,
    /// The folder of rustup's toolchains.
    pub toolchains: PathBuf,
}

impl Tools {
    /// As this process's environment says.
    pub fn of_this_process() -> Tools {
        let home = |name: &str, below: &str| {
            let given = env::var_os(name).map(PathBuf::from);
            given.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(below))
        };
        let mut path: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        path.push(home("CARGO_HOME", ".cargo").join("bin"));
        Tools { path, toolchains: home("RUSTUP_HOME", ".rustup").join("toolchains") }
    }

    fn has_cargo_fuzz(&self) -> bool {
        self.path.iter().any(|folder| folder.join("cargo-fuzz").is_file())
    }

    fn has_nightly(&self) -> bool {
        let entries = fs::read_dir(&self.toolchains);
        entries.is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("nightly")))
        })
    }
}

/// Whether `cargo fuzz` can run: only wanted for work on this program itself.
pub fn fuzzing(tools: &Tools) -> Check {
    let all = [
        (tools.has_cargo_fuzz(), "cargo-fuzz", "`cargo install cargo-fuzz`"),
        (tools.has_nightly(), "nightly toolchain", "`rustup toolchain install nightly`"),
    ];
    let missing: Vec<_> = all.iter().filter(|(there, ..)| !there).collect();
    if missing.is_empty() {
        return Check::good("fuzzing", "cargo-fuzz and a nightly toolchain");
    }
    let names: Vec<&str> = missing.iter().map(|(_, name, _)| *name).collect();
    let fixes: Vec<&str> = missing.iter().map(|(.., fix)| *fix).collect();
    Check::lacking("fuzzing", format!("no {}: only `cargo fuzz` needs it", names.join(", no ")), fixes.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn few_open_files_are_reported_with_the_limit_in_the_way() {
        assert_eq!(open_files_of(1024, 4096).state, State::Good);
        assert!(open_files_of(256, 4096).fix.contains("ulimit"));
        assert!(open_files_of(256, 256).fix.contains("LimitNOFILE"));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_it_would_lie_in() {
        let root = tempfile::tempdir().expect("tempdir");
        let check = findings(&root.path().join("not/yet"));
        assert!(check.found.starts_with("can be saved in") && check.found.contains("not/yet"), "{check:?}");
        assert!(!root.path().join("not").exists());
    }

    #[test]
    fn a_folder_that_is_a_file_cannot_take_findings() {
        let file = tempfile::NamedTempFile::new().expect("tempfile");
        let check = findings(&file.path().join("findings"));
        assert_eq!(check.state, State::Lacking);
        assert!(check.found.starts_with("cannot be saved in") && check.fix.contains("--findings"), "{check:?}");
    }

    #[test]
    fn a_missing_temporary_folder_is_reported() {
        assert_eq!(temporary(Path::new("/nowhere/at/all")).state, State::Lacking);
    }

    #[test]
    fn each_missing_tool_has_its_fix() {
        let root = tempfile::tempdir().expect("tempdir");
        let tools = Tools { path: vec![root.path().to_owned()], toolchains: root.path().join("toolchains") };
        let check = fuzzing(&tools);
        assert_eq!(check.fix, "`cargo install cargo-fuzz` and `rustup toolchain install nightly`");
        fs::write(root.path().join("cargo-fuzz"), "").expect("write");
        assert_eq!(fuzzing(&tools).fix, "`rustup toolchain install nightly`");
        fs::create_dir_all(tools.toolchains.join("nightly-x86_64-unknown-linux-gnu")).expect("mkdir");
        assert_eq!(fuzzing(&tools).state, State::Good);
    }
}
