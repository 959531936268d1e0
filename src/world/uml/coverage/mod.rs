//! Which lines of its own code a kernel has executed over a campaign.
//!
//! Each guest of a kernel with coverage leaves its counters, which are added up here. At the end the compiler's own `gcov`
//! turns them into lines, with the notes (`.gcno`) that are kept with the kernel.

mod gcda;
mod lines;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::agent::coverage::WANTED;

use super::kernels::Kernel;
use gcda::Gcda;

pub use lines::{FileLines, Function, lcov};

/// Why there is no coverage.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// This kernel counts nothing.
    #[error(
        "the kernel {0:?} does not count its lines: `whitewater kernel build --coverage` makes one that does; choose \
         it with --kernel"
    )]
    Plain(String),
    /// A file could not be read or written.
    #[error("{what} {}: {error}", path.display())]
    File {
        /// `read`, `write`, ...
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Counters that make no sense.
    #[error("the counters of {object} are {why}")]
    Counters {
        /// Whose.
        object: String,
        /// What is wrong.
        why: String,
    },
    /// gcov did not do its work.
    #[error("gcov failed on {object} ({why}); it comes with gcc, and must be of the version that built the kernel")]
    Gcov {
        /// On what.
        object: String,
        /// What it said.
        why: String,
    },
}

impl CoverageError {
    fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> CoverageError {
        let path = path.into();
        move |error| CoverageError::File { what, path, error }
    }
}

/// Writes `files` to `path` as a tracefile of lcov.
///
/// # Errors
/// [`CoverageError::File`] where that cannot be done.
pub fn write_lcov(path: &Path, files: &BTreeMap<String, FileLines>) -> Result<(), CoverageError> {
    fs::write(path, lcov(files)).map_err(CoverageError::file("write", path))
}

/// The counters of all runs so far.
#[derive(Debug, Default)]
pub struct Coverage {
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    /// By the object's path in the kernel tree: `net/mptcp/protocol.gcda`.
    objects: BTreeMap<String, Gcda>,
    runs: u64,
}

impl Coverage {
    /// Nothing counted so far.
    pub fn new() -> Coverage {
        Coverage::default()
    }

    /// Adds the counters that a guest has left in `folder`.
    ///
    /// # Errors
    /// Where they cannot be read, or are not those of the kernel of the runs before.
    pub fn add(&self, folder: &Path) -> Result<(), CoverageError> {
        let mut run = Vec::new();
        for (tree, _) in WANTED {
            let from = folder.join(tree);
            for entry in fs::read_dir(&from).map_err(CoverageError::file("read", &from))? {
                let path = entry.map_err(CoverageError::file("read", &from))?.path();
                let object = format!("{tree}/{}", path.file_name().unwrap_or_default().to_string_lossy());
                let bytes = fs::read(&path).map_err(CoverageError::file("read", path))?;
                let gcda = Gcda::parse(bytes)
                    .map_err(|why| CoverageError::Counters { object: object.clone(), why: why.to_string() })?;
                run.push((object, gcda));
            }
        }
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.runs += 1;
        for (object, gcda) in run {
            match sums.objects.get_mut(&object) {
                Some(sum) => sum.add(&gcda).map_err(|why| CoverageError::Counters { object, why: why.to_string() })?,
                None => drop(sums.objects.insert(object, gcda)),
            }
        }
        Ok(())
    }

    /// How many runs have been counted.
    pub fn runs(&self) -> u64 {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).runs
    }

    /// The lines of net/mptcp and net/ipv4/tcp*.c, by file, with how often each was executed on `kernel`.
    ///
    /// # Errors
    /// [`CoverageError::Gcov`] where gcov is missing or of another version than the compiler was.
    pub fn files(&self, kernel: &Kernel) -> Result<BTreeMap<String, FileLines>, CoverageError> {
        self.files_with(&kernel.notes())
    }

    /// The same, with the compiler's notes in this folder.
    fn files_with(&self, notes: &Path) -> Result<BTreeMap<String, FileLines>, CoverageError> {
        let folder = tempfile::tempdir().map_err(CoverageError::file("make", std::env::temp_dir()))?;
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = BTreeMap::new();
        for (object, gcda) in &sums.objects {
            let data = folder.path().join(object);
            let note = Path::new(object).with_extension("gcno");
            if let Some(parent) = data.parent() {
                fs::create_dir_all(parent).map_err(CoverageError::file("make", parent))?;
            }
            fs::write(&data, gcda.bytes()).map_err(CoverageError::file("write", &data))?;
            let from = notes.join(&note);
            fs::copy(&from, folder.path().join(&note)).map_err(CoverageError::file("copy", from))?;
            lines::add(&mut files, object, folder.path())?;
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A program of two sources, of which one function is never called.
    const SOURCES: [(&str, &str); 2] = [
        ("net/mptcp/pm.c", "int called(int n)\n{\n\treturn n + 1;\n}\nint never(void)\n{\n\treturn 2;\n}\n"),
        ("net/ipv4/tcp.c", "int called(int);\nint main(int argc, char **argv)\n{\n\treturn called(argc) - 2;\n}\n"),
    ];

    fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
        let output = Command::new(program).args(arguments).current_dir(folder).output();
        output.is_ok_and(|output| output.status.success())
    }

    #[test]
    fn what_a_real_compiler_counts_is_added_up_and_read() {
        if !["gcc", "gcov"].iter().all(|program| run(program, &["--version"], Path::new("/"))) {
            println!("SKIP: no gcc or no gcov; apt-get install gcc");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut objects = Vec::new();
        for (path, text) in SOURCES {
            fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            fs::write(folder.join(path), text).unwrap();
            let object = path.replace(".c", ".o");
            assert!(run("gcc", &["--coverage", "-c", path, "-o", &object], folder));
            objects.push(object);
        }
        assert!(run("gcc", &["--coverage", &objects[0], &objects[1], "-o", "program"], folder));

        let counters = folder.join("counters");
        let coverage = Coverage::new();
        for _ in 0..3 {
            assert!(run("./program", &[], folder));
            for (path, _) in SOURCES {
                let data = Path::new(path).with_extension("gcda");
                fs::create_dir_all(counters.join(&data).parent().unwrap()).unwrap();
                // A program adds to what is there; a guest's kernel begins anew.
                fs::rename(folder.join(&data), counters.join(&data)).unwrap();
            }
            coverage.add(&counters).unwrap();
        }
        assert_eq!(coverage.runs(), 3);
        let files = coverage.files_with(folder).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["net/ipv4/tcp.c", "net/mptcp/pm.c"]);
        let file = &files["net/mptcp/pm.c"];
        assert_eq!(file.lines, BTreeMap::from([(1, 3), (3, 3), (5, 0), (7, 0)]));
        assert_eq!((file.functions["called"].calls, file.functions["never"].calls), (3, 0));
    }
}
