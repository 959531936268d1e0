//! The folder of a campaign's findings.
//!
//! ```text
//! findings/
//!   corrupt-1a2b3c4d.toml    a finding: the smallest case so far
//!   corrupt-1a2b3c4d/        the evidence of its run
//!   in-flight/run-…/         cases that run at this moment, one folder for each living campaign
//!   interrupted/             cases that ran when an earlier campaign was killed
//!   trouble/                 cases that met trouble of our own
//! ```
//!
//! Files appear whole or not at all. A campaign holds a lock on its folder in `in-flight/`, which the kernel lets go
//! when it dies, however it dies: this is how the next one tells a killed campaign from one that still runs beside it.
//! Folders that stay empty are removed at the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::case::Case;
use crate::case::file::{self, FileError};
use crate::oracle::Verdict;
use crate::seed::Seed;

const IN_FLIGHT: &str = "in-flight";
const INTERRUPTED: &str = "interrupted";
const TROUBLE: &str = "trouble";

/// How many names are tried for a new file before giving up.
const NAMES_MAX: u32 = 10_000;

/// Something in the folder of the findings could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A case file.
    #[error(transparent)]
    Case(#[from] FileError),
    /// Anything else.
    #[error("cannot {what} {}: {cause}; {}", path.display(), advice(cause))]
    Other {
        /// What failed, in words: `make the folder`, ...
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// What to do about an error.
fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or choose a folder on another disk"
        }
        _ => "choose a folder that you may write to",
    }
}

/// For `map_err`: an error of `what` (such as `remove`) with `path`.
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |cause| StoreError::Other { what, path: path.to_owned(), cause }
}

/// The open folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    flight: PathBuf,
    _lock: Flock<File>,
}

/// Where one finding is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// The case file.
    pub file: PathBuf,
    /// The folder of the evidence.
    pub evidence: PathBuf,
    /// A folder for evidence of runs that may turn out not to matter; on the same file system.
    pub scratch: PathBuf,
}

impl Store {
    /// Opens the folder, which is made where it is missing. The second value names the files that a killed campaign
    /// left, in their new place.
    pub fn open(root: &Path) -> Result<(Store, Vec<PathBuf>), StoreError> {
        let flights = root.join(IN_FLIGHT);
        fs::create_dir_all(&flights).map_err(failed("make the folder", &flights))?;
        // Between the making of a folder and its lock, another campaign must not take it for a dead one's.
        let _alone = lock(&flights, FlockArg::LockExclusive)?;
        let left = sweep(root, &flights)?;
        let flight = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&flights)
            .map_err(failed("make a folder in", &flights))?
            .keep();
        let lock = lock(&flight, FlockArg::LockExclusiveNonblock)?;
        Ok((Store { root: root.to_owned(), flight, _lock: lock }, left))
    }

    /// Writes a case that is about to run.
    pub fn begin(&self, seed: Seed, case: &Case) -> Result<(), StoreError> {
        write(&self.flight_file(seed), case)
    }

    /// Forgets a case that has run.
    pub fn end(&self, seed: Seed) -> Result<(), StoreError> {
        let path = self.flight_file(seed);
        fs::remove_file(&path).map_err(failed("remove", &path))
    }

    /// Where the evidence of a running case goes.
    pub fn flight_evidence(&self, seed: Seed) -> PathBuf {
        self.flight.join(seed.to_string())
    }

    /// Saves a finding under a name of its own. `evidence` is moved there, if there is any.
    pub fn save(&self, verdict: &Verdict, case: &Case, evidence: Option<&Path>) -> Result<Place, StoreError> {
        let (file, folder) = reserve(&self.root, &name(verdict))?;
        let scratch = self.flight.join(folder.file_name().expect("a reserved folder has a name"));
        let place = Place { file, evidence: folder, scratch };
        place.write(case)?;
        if let Some(evidence) = evidence {
            place.take_evidence(evidence)?;
        }
        Ok(place)
    }

    /// Keeps a case that met trouble of our own.
    pub fn save_trouble(&self, seed: Seed, case: &Case, evidence: Option<&Path>) -> Result<PathBuf, StoreError> {
        let folder = self.root.join(TROUBLE);
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        let (file, folder) = reserve(&folder, &seed.to_string())?;
        write(&file, case)?;
        match evidence {
            Some(evidence) => replace(&folder, evidence)?,
            None => fs::remove_dir(&folder).map_err(failed("remove", &folder))?,
        }
        Ok(file)
    }

    fn flight_file(&self, seed: Seed) -> PathBuf {
        self.flight.join(format!("{seed}.toml"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What cannot be removed is swept by the next campaign.
        let flights = self.root.join(IN_FLIGHT);
        let Ok(_alone) = lock(&flights, FlockArg::LockExclusive) else { return };
        let _ = fs::remove_dir_all(&self.flight);
        for folder in [&flights, &self.root] {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Place {
    /// Replaces the case.
    pub fn write(&self, case: &Case) -> Result<(), StoreError> {
        write(&self.file, case)
    }

    /// Moves a folder to where this finding's evidence is, in place of what is there.
    pub fn take_evidence(&self, from: &Path) -> Result<(), StoreError> {
        replace(&self.evidence, from)
    }
}

fn write(path: &Path, case: &Case) -> Result<(), StoreError> {
    Ok(file::write(path, case)?)
}

fn replace(folder: &Path, from: &Path) -> Result<(), StoreError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed("remove", folder))?;
    }
    fs::rename(from, folder).map_err(failed("move evidence to", folder))
}

/// A free name in `parent`: the case file, and the folder beside it, which is made.
fn reserve(parent: &Path, name: &str) -> Result<(PathBuf, PathBuf), StoreError> {
    for number in 1..NAMES_MAX {
        let stem = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        let (file, folder) = (parent.join(format!("{stem}.toml")), parent.join(stem));
        if file.exists() {
            continue;
        }
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((file, folder)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed("make the folder", &folder)(error)),
        }
    }
    let full = io::Error::other(format!("every name up to {name}-{NAMES_MAX} is taken"));
    Err(failed("find a free name in", parent)(full))
}

/// The name of a finding: its verdict, and a few digits that stand for its signature.
fn name(verdict: &Verdict) -> String {
    let digest = Sha256::digest(verdict.signature.as_bytes());
    let digits: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digits}", verdict.kind.to_string().to_lowercase())
}

fn lock(folder: &Path, how: FlockArg) -> Result<Flock<File>, StoreError> {
    let open = File::open(folder).map_err(failed("open", folder))?;
    Flock::lock(open, how).map_err(|(_, errno)| failed("lock", folder)(io::Error::from(errno)))
}

/// Moves what killed campaigns left in `flights` to `root/interrupted`, and names the case files among it.
fn sweep(root: &Path, flights: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut left = Vec::new();
    for flight in list(flights)? {
        if !flight.is_dir() || lock(&flight, FlockArg::LockExclusiveNonblock).is_err() {
            continue;
        }
        let kept = root.join(INTERRUPTED);
        for path in list(&flight)? {
            let Some(name) = path.file_name() else { continue };
            fs::create_dir_all(&kept).map_err(failed("make the folder", &kept))?;
            let to = kept.join(name);
            if path.is_dir() {
                replace(&to, &path)?;
            } else {
                fs::rename(&path, &to).map_err(failed("move a case to", &to))?;
            }
            if to.extension().is_some_and(|extension| extension == "toml") {
                left.push(to);
            }
        }
        fs::remove_dir(&flight).map_err(failed("remove", &flight))?;
    }
    Ok(left)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed("list", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}
