//! What the deterministic world needs: a kernel, a machine that it starts on, and what building one takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Check;
use crate::world::uml::UmlOptions;
use crate::world::uml::UmlWorld;
use crate::world::uml::kernels::{self, Kernel, KernelError, Store};

/// What is known of an installed kernel.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its release, and what it is built for where that is something of its own.
    pub version: String,
    /// The lines of its configuration that cases may need and that it lacks.
    pub unmet: Vec<String>,
}

/// This user's kernels.
pub fn installed() -> Result<Vec<Installed>, String> {
    let kernels = Store::of_this_user().and_then(|store| store.list()).map_err(|error| error.to_string())?;
    let installed = |kernel: Kernel| {
        let unmet = kernel.unmet().map_err(|error| error.to_string())?;
        let of = kernel.manifest;
        let kinds = [(of.debug, ", debug"), (of.coverage, ", coverage")];
        let kinds = kinds.into_iter().filter(|(is, _)| *is).map(|(_, word)| word);
        Ok(Installed { name: kernel.name, version: kinds.fold(of.version, |text, kind| text + kind), unmet })
    };
    kernels.into_iter().map(installed).collect()
}

/// Which kernels there are, and whether they have what cases need.
pub fn kernels(installed: &Result<Vec<Installed>, String>) -> Check {
    const WHAT: &str = "uml kernels";
    let kernels = match installed {
        Ok(kernels) => kernels,
        Err(error) => return Check::lacking(WHAT, error, "set WHITEWATER_KERNELS to a folder that you may read"),
    };
    if kernels.is_empty() {
        let found = "none: cases run in real time on this machine's kernel, where no run is like the last";
        return Check::lacking(WHAT, found, "`whitewater kernel build`");
    }
    let names: Vec<String> = kernels.iter().map(|kernel| format!("{} ({})", kernel.name, kernel.version)).collect();
    match kernels.iter().find(|kernel| !kernel.unmet.is_empty()) {
        None => Check::good(WHAT, names.join(", ")),
        Some(kernel) => Check::lacking(
            WHAT,
            format!("{}; {} lacks {}", names.join(", "), kernel.name, kernel.unmet.join(", ")),
            format!("`whitewater kernel build --name {}` from a source that has it", kernel.name),
        ),
    }
}

/// Starts the kernel that cases would run on by default; `None` if there is none.
pub fn boot() -> Option<Result<(), String>> {
    let kernel = Store::of_this_user().and_then(|store| store.find(None)).ok()?;
    let booted = UmlWorld::with(kernel, UmlOptions::default()).and_then(|world| world.boot());
    Some(booted.map_err(|error| error.to_string()))
}

/// Whether a kernel starts here. `booted`: what came of trying.
pub fn world(root: &Path, booted: Option<Result<(), String>>) -> Check {
    const WHAT: &str = "uml world";
    let lacks = |(found, fix): (&str, &str)| Check::lacking(WHAT, found, fix);
    match booted {
        Some(Ok(())) => Check::good(WHAT, "a kernel starts: cases run there by default"),
        Some(Err(error)) => match obstacle(root, &error) {
            Some((found, fix)) => Check::lacking(WHAT, found, fix),
            None => Check::lacking(WHAT, error, "`whitewater kernel check` tells more; until then `--world host`"),
        },
        None => match obstacle(root, "") {
            Some(obstacle) => lacks(obstacle),
            None => Check::good(WHAT, "nothing stands in its way but a kernel"),
        },
    }
}

/// What keeps any kernel from starting: what it is and the fix. `error`: what one has said that did not start.
fn obstacle(root: &Path, error: &str) -> Option<(&'static str, &'static str)> {
    if !cfg!(target_arch = "x86_64") {
        return Some(("User-Mode Linux is for x86-64 machines", "another machine; here `--world host`"));
    }
    let actions = fs::read_to_string(root.join("proc/sys/kernel/seccomp/actions_avail")).unwrap_or_default();
    if !["errno", "trap"].iter().all(|wanted| actions.split_whitespace().any(|action| action == *wanted)) {
        return Some(("this kernel has no seccomp filters", "a kernel with CONFIG_SECCOMP_FILTER=y"));
    }
    if error.contains("PROT_EXEC") {
        let fix = "as root, `mount -o remount,exec /dev/shm`, or set TMPDIR to a folder on a disk that is not noexec";
        return Some(("the guest's memory cannot be executed where it lies", fix));
    }
    if error.contains("Operation not permitted") || error.contains("EPERM") {
        let fix = "in a container, a seccomp profile that allows personality(2), prctl(2) and seccomp(2): Docker's \
                   `--security-opt seccomp=unconfined`";
        return Some(("this process may not set up the kernel's process", fix));
    }
    None
}

/// What building a kernel takes: the packages that are missing, and the source that it would be built from.
pub struct Workshop {
    /// The Debian packages that bring what is missing.
    pub packages: Vec<&'static str>,
    /// The source that is found without --source, or why there is none.
    pub source: Result<String, String>,
}

impl Workshop {
    /// This machine's.
    pub fn of_this_machine() -> Workshop {
        let source = kernels::newest_source();
        let source = source.map(|path| path.display().to_string()).map_err(|error: KernelError| error.to_string());
        Workshop { packages: kernels::missing_packages(), source }
    }
}

/// Whether a kernel can be built.
pub fn build(workshop: &Workshop) -> Check {
    const WHAT: &str = "kernel build";
    match (workshop.packages.as_slice(), &workshop.source) {
        ([], Ok(source)) => Check::good(WHAT, format!("from {source}, or any tree with --source")),
        ([], Err(error)) => {
            let (found, fix) = error.split_once(": ").unwrap_or((error, "`whitewater kernel build --source DIR`"));
            Check::lacking(WHAT, found, fix)
        }
        (packages, _) => {
            let fix = format!("as root, `apt-get install {}`", packages.join(" "));
            Check::lacking(WHAT, "programs are missing", fix)
        }
    }
}

/// The first line of what `gcc --version` and `gcov --version` say; empty where there is no such program.
pub fn versions() -> [String; 2] {
    ["gcc", "gcov"].map(|program| {
        let output = Command::new(program).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    })
}

/// Whether the kernel's coverage can be read: gcov must be of the compiler's version.
pub fn gcov([gcc, gcov]: &[String; 2]) -> Check {
    const WHAT: &str = "kernel coverage";
    let version = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    match (version(gcc), version(gcov)) {
        (_, gcov) if gcov.is_empty() => {
            Check::lacking(WHAT, "no gcov: only `run --coverage` needs it", "as root, `apt-get install gcc`")
        }
        (gcc, gcov) if gcc != gcov => Check::lacking(
            WHAT,
            format!("gcc is {gcc}, gcov {gcov}: `run --coverage` cannot read what this gcc counts"),
            "put the gcov of the same gcc first in PATH",
        ),
        (_, gcov) => Check::good(WHAT, format!("gcov {gcov}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn seccomp(actions: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("tempdir");
        let folder = root.path().join("proc/sys/kernel/seccomp");
        fs::create_dir_all(&folder).expect("mkdir");
        fs::write(folder.join("actions_avail"), actions).expect("write");
        root
    }

    fn kernel(name: &str, unmet: &[&str]) -> Installed {
        let unmet = unmet.iter().map(|line| (*line).to_owned()).collect();
        Installed { name: name.into(), version: "7.2.13".into(), unmet }
    }

    fn gcc(one: &str, other: &str) -> [String; 2] {
        [format!("gcc (Debian 12.2.0-14) {one}"), format!("gcov (Debian 12.2.0-14) {other}")]
    }

    #[test]
    fn a_machine_that_has_everything() {
        let root = seccomp("kill_process kill_thread trap errno user_notif trace log allow\n");
        let workshop = Workshop { packages: Vec::new(), source: Ok("/usr/src/linux-source-7.2.tar.xz".into()) };
        insta::assert_snapshot!(table(&[
            kernels(&Ok(vec![kernel("debug", &[]), kernel("default", &[])])),
            world(root.path(), Some(Ok(()))),
            build(&workshop),
            gcov(&gcc("12.2.0", "12.2.0")),
        ]));
    }

    #[test]
    fn a_machine_that_has_nothing() {
        let root = seccomp("kill_process allow\n");
        let workshop = Workshop { packages: vec!["flex", "bison"], source: Err("none: get one".into()) };
        insta::assert_snapshot!(table(&[
            kernels(&Ok(Vec::new())),
            world(root.path(), None),
            build(&workshop),
            gcov(&[String::new(), String::new()]),
        ]));
    }

    #[test]
    fn a_machine_on_which_kernels_do_not_start() {
        let root = seccomp("trap errno allow\n");
        let workshop = Workshop {
            packages: Vec::new(),
            source: Err("/usr/src has no linux-source tarball: give a kernel tree with --source".into()),
        };
        insta::assert_snapshot!(table(&[
            kernels(&Ok(vec![kernel("default", &["CONFIG_NET_SCH_NETEM=y"])])),
            world(root.path(), Some(Err("ended without a reply; Checking PROT_EXEC mmap in /dev/shm...failed".into()))),
            world(root.path(), Some(Err("start the kernel: Operation not permitted (os error 1)".into()))),
            world(root.path(), Some(Err("ended without a reply (exit status: 1)".into()))),
            build(&workshop),
            gcov(&gcc("13.2.0", "12.2.0")),
        ]));
    }
}
