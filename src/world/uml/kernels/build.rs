//! Building a kernel: outside of its source tree, the same source to the same program, and only what has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::agent::coverage::WANTED;

use super::{
    CONFIG, COVERAGE_NAME, DEFAULT_NAME, Kernel, KernelError, MANIFEST, Manifest, NOTES, PROGRAM, Store, config,
    is_name, make, source,
};

/// When, where and by whom a kernel says it was built, which its random numbers depend on: always the same, so that the same
/// source gives the same program.
const IDENTITY: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("KBUILD_BUILD_USER", "whitewater"),
    ("KBUILD_BUILD_HOST", "whitewater"),
];
/// Which objects count their lines in a kernel with coverage.
const COUNTED: &str = "GCOV_PROFILE=$(if $(filter net/mptcp net/ipv4,$(obj)),y)";
/// In a build folder: the tree that its objects come from.
const ORIGIN: &str = ".whitewater-origin";
/// In a build folder: what make has said.
const LOG: &str = "whitewater.log";
/// In a build folder: what the configuration was made from.
const FRAGMENT: &str = "whitewater.config";

/// What to build.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// A kernel tree or a tarball of one; `None`: the newest linux-source package of this machine.
    pub source: Option<PathBuf>,
    /// The kernel's name; `None`: `default`, `debug`, `coverage` or `debug-coverage`, after the other options.
    pub name: Option<String>,
    /// Whether it checks itself: KASAN, lockdep and others. Slow.
    pub debug: bool,
    /// Whether it counts the lines that it executes in net/mptcp and net/ipv4.
    pub coverage: bool,
}

impl BuildOptions {
    /// The name that the kernel will have.
    pub fn name(&self) -> &str {
        match (&self.name, self.debug, self.coverage) {
            (Some(name), _, _) => name,
            (None, false, false) => DEFAULT_NAME,
            (None, true, false) => "debug",
            (None, false, true) => COVERAGE_NAME,
            (None, true, true) => "debug-coverage",
        }
    }
}

/// The progress of a build.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// The tarball is being unpacked.
    Unpacking(&'a Path),
    /// The configuration is being made.
    Configuring(&'a Path),
    /// Things are being compiled.
    Compiling {
        /// How many have been so far.
        steps: u64,
        /// What is being compiled, as make writes it: `CC      net/mptcp/protocol.o`.
        what: &'a str,
    },
    /// The kernel is being installed.
    Installing,
}

/// A kernel that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel.
    pub kernel: Kernel,
    /// Lines of the configuration that this source does not support: cases that need them will not run.
    pub unmet: Vec<String>,
    /// How many things were compiled: few where the name had been built before.
    pub steps: u64,
}

/// Builds and installs.
pub(super) fn build(
    store: &Store,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, KernelError> {
    let name = options.name();
    if !is_name(name) {
        return Err(KernelError::Name(name.to_owned()));
    }
    make::require_programs()?;
    let source = source::find(options.source.as_deref())?;
    let tree = source::tree(store, &source, || progress(Progress::Unpacking(&source)))?;
    progress(Progress::Configuring(&tree));
    let job = Job { folder: prepare(store, name, &tree)?, tree, coverage: options.coverage };
    let mut work = || {
        let unmet = job.configure(&config::fragment(options.debug, options.coverage))?;
        Ok((unmet, job.compile(progress)?))
    };
    let (unmet, steps) = match work() {
        Err(error) if is_left_broken(&error) => {
            fs::remove_dir_all(&job.folder).map_err(KernelError::file("remove", &job.folder))?;
            prepare(store, name, &job.tree)?;
            work()?
        }
        done => done?,
    };
    progress(Progress::Installing);
    let kernel = job.install(store, options, source)?;
    Ok(Built { kernel, unmet, steps })
}

/// Whether a build failed on what an earlier one left that was cut off, by a full disk or a power failure: a file
/// `.FILE.cmd`, in which kbuild keeps how it made FILE, that is not whole. Then the only help is to begin anew.
fn is_left_broken(error: &KernelError) -> bool {
    let KernelError::Build { last, .. } = error else { return false };
    last.iter().any(|line| line.contains(".cmd:") && line.contains("***"))
}

/// The build folder of `name`; empty where it held objects of another tree.
fn prepare(store: &Store, name: &str, tree: &Path) -> Result<PathBuf, KernelError> {
    let folder = store.build_folder(name);
    let origin = folder.join(ORIGIN);
    let tree = tree.to_string_lossy();
    if folder.exists() && fs::read_to_string(&origin).is_ok_and(|text| text != tree) {
        fs::remove_dir_all(&folder).map_err(KernelError::file("remove", &folder))?;
    }
    fs::create_dir_all(&folder).map_err(KernelError::file("make", &folder))?;
    fs::write(&origin, tree.as_bytes()).map_err(KernelError::file("write", origin))?;
    let log = folder.join(LOG);
    fs::write(&log, "").map_err(KernelError::file("write", log))?;
    Ok(folder)
}

/// One build under way.
struct Job {
    tree: PathBuf,
    folder: PathBuf,
    coverage: bool,
}

impl Job {
    fn log(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    fn make(&self) -> Command {
        let mut make = Command::new("make");
        make.arg("-C").arg(&self.tree).arg("ARCH=um").arg(format!("O={}", self.folder.display()));
        make.envs(IDENTITY).env("LC_ALL", "C");
        // A whitewater that a make started is no part of that make.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARCH", "CROSS_COMPILE", "KCFLAGS", "LLVM", "LOCALVERSION"] {
            make.env_remove(name);
        }
        if self.coverage {
            make.arg(COUNTED);
        }
        make
    }

    /// Makes the configuration. Returns the lines that did not take, where the world can do without them.
    fn configure(&self, fragment: &str) -> Result<Vec<String>, KernelError> {
        let path = self.folder.join(FRAGMENT);
        fs::write(&path, fragment).map_err(KernelError::file("write", &path))?;
        make::run("make", self.make().env("KCONFIG_ALLCONFIG", &path).arg("allnoconfig"), &self.log(), |_| ())?;
        let path = self.folder.join(".config");
        let text = fs::read_to_string(&path).map_err(KernelError::file("read", path))?;
        let unmet = config::unmet(fragment, &text);
        let vital: Vec<String> = unmet.iter().filter(|line| config::is_vital(line)).cloned().collect();
        if vital.is_empty() { Ok(unmet) } else { Err(KernelError::Unsuited { lines: vital }) }
    }

    /// Compiles. Returns how many things.
    fn compile(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<u64, KernelError> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut steps = 0;
        make::run("make", self.make().arg(format!("-j{cpus}")), &self.log(), |line| {
            // `  CC      net/mptcp/protocol.o`: everything else that make says begins further left.
            if let Some(what) = line.strip_prefix("  ") {
                steps += 1;
                progress(Progress::Compiling { steps, what: what.trim() });
            }
        })?;
        Ok(steps)
    }

    /// Puts the kernel into the store: the program without its symbols, which stay in the build folder.
    fn install(&self, store: &Store, options: &BuildOptions, source: PathBuf) -> Result<Kernel, KernelError> {
        let name = options.name().to_owned();
        let folder = store.root.join(&name);
        fs::create_dir_all(&folder).map_err(KernelError::file("make", &folder))?;
        let program = folder.join(format!(".{PROGRAM}"));
        let mut strip = Command::new("strip");
        // Coverage needs no symbols either: the kernel knows the names of its counters' files.
        strip.arg("-o").arg(&program).arg(self.folder.join(PROGRAM));
        make::run("strip", &mut strip, &self.log(), |_| ())?;
        let config = folder.join(format!(".{CONFIG}"));
        fs::copy(self.folder.join(".config"), &config).map_err(KernelError::file("write", &config))?;
        if options.coverage {
            keep_notes(&self.folder, &folder.join(NOTES))?;
        }
        let manifest = Manifest {
            version: release(&self.folder)?,
            source,
            debug: options.debug,
            coverage: options.coverage,
            sha256: sha256(&program)?,
            config_sha256: sha256(&config)?,
        };
        let text = toml::to_string(&manifest).expect("plain strings and flags are TOML");
        let path = folder.join(format!(".{MANIFEST}"));
        fs::write(&path, text).map_err(KernelError::file("write", &path))?;
        // Renamed, not written in place: cases that run keep the program that they began with.
        for (from, to) in [(program, PROGRAM), (config, CONFIG), (path, MANIFEST)] {
            fs::rename(&from, folder.join(to)).map_err(KernelError::file("rename", from))?;
        }
        Ok(Kernel { name, manifest, folder })
    }
}

/// Copies what the compiler noted of the objects whose lines are counted: the build folder may go.
fn keep_notes(build: &Path, notes: &Path) -> Result<(), KernelError> {
    for (tree, prefix) in WANTED {
        let (from, to) = (build.join(tree), notes.join(tree));
        fs::create_dir_all(&to).map_err(KernelError::file("make", &to))?;
        for entry in fs::read_dir(&from).map_err(KernelError::file("read", &from))? {
            let path = entry.map_err(KernelError::file("read", &from))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(prefix) && name.ends_with(".gcno") {
                fs::copy(&path, to.join(&name)).map_err(KernelError::file("copy", &path))?;
            }
        }
    }
    Ok(())
}

/// The release that a build folder's kernel calls itself.
fn release(folder: &Path) -> Result<String, KernelError> {
    let path = folder.join("include/config/kernel.release");
    let text = fs::read_to_string(&path).map_err(KernelError::file("read", path))?;
    Ok(text.trim().to_owned())
}

fn sha256(path: &Path) -> Result<String, KernelError> {
    // Some 10 MB.
    let bytes = fs::read(path).map_err(KernelError::file("read", path))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_named_after_what_it_can_do() {
        let named = |name: Option<&str>, debug, coverage| {
            BuildOptions { source: None, name: name.map(str::to_owned), debug, coverage }.name().to_owned()
        };
        assert_eq!(named(None, false, false), "default");
        assert_eq!(named(None, true, false), "debug");
        assert_eq!(named(None, true, true), "debug-coverage");
        assert_eq!(named(Some("mine"), true, true), "mine");
    }

    #[test]
    fn objects_of_another_tree_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        let object = prepare(&store, "mine", Path::new("/one")).unwrap().join("object.o");
        fs::write(&object, "").unwrap();
        prepare(&store, "mine", Path::new("/one")).unwrap();
        assert!(object.exists());
        prepare(&store, "mine", Path::new("/other")).unwrap();
        assert!(!object.exists());
    }

    #[test]
    fn a_truncated_build_differs_from_code_that_does_not_compile() {
        let error = |line: &str| KernelError::Build {
            program: "make",
            how: "exit status: 2".into(),
            log: PathBuf::new(),
            last: vec!["  CC      init/main.o".into(), line.into()],
        };
        let cut = "..tmp_missing-syscalls.cmd:5: *** unterminated call to function 'wildcard': missing ')'.  Stop.";
        assert!(is_left_broken(&error(cut)));
        assert!(!is_left_broken(&error("net/mptcp/pm.c:5: error: expected ';' before '}' token")));
        assert!(!is_left_broken(&error("make[3]: *** [scripts/Makefile.build:287: net/mptcp/pm.o] Error 1")));
    }

    #[test]
    fn a_bad_name_is_refused_before_anything_is_done() {
        let options = BuildOptions { name: Some("../x".into()), ..BuildOptions::default() };
        let error = build(&Store::at("/nonexistent".into()), &options, &mut |_| ()).unwrap_err();
        assert!(matches!(error, KernelError::Name(_)), "{error}");
    }
}
