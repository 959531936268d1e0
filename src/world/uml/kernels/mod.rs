//! The kernels of the deterministic world: building, keeping and checking them.
//!
//! They are kept in one folder, the [`Store`]. Each has a folder of its name with the program (`linux`), the configuration
//! it was built with (`config`) and its version, hashes and origin (`kernel.toml`). Folders that begin with a dot are for
//! builds: `.build` keeps the objects of each kernel, so that the next build of that name compiles only what has changed,
//! and `.source` keeps unpacked tarballs.

mod build;
mod config;
mod make;
mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use build::{BuildOptions, Built, Progress};
pub use make::missing_packages;
pub use source::newest as newest_source;

/// The environment variable that names another folder for kernels.
pub const FOLDER_VARIABLE: &str = "WHITEWATER_KERNELS";
/// The name of a kernel that was given no other.
pub const DEFAULT_NAME: &str = "default";

/// The name of a kernel that counts its lines and was given no other.
pub(super) const COVERAGE_NAME: &str = "coverage";

/// The program of a kernel, in its folder.
const PROGRAM: &str = "linux";
/// The configuration it was built with.
const CONFIG: &str = "config";
/// What the compiler noted of each object whose lines are counted, for gcov.
const NOTES: &str = "notes";
/// What else is known of it.
const MANIFEST: &str = "kernel.toml";
/// The most characters that a name may have.
const NAME_MAX: usize = 64;

/// Why something about kernels failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no kernel of this name.
    #[error("no kernel {name:?} is installed in {}; {}", folder.display(), there_are(installed))]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The names that there are.
        installed: Vec<String>,
    },
    /// There is no kernel that counts its lines.
    #[error(
        "no kernel in {} counts the lines that it executes; `whitewater kernel build --coverage` makes one",
        folder.display()
    )]
    Counting {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A name that could not be a folder of its own.
    #[error(
        "{0:?} is no name for a kernel: use up to {NAME_MAX} letters, digits, '-', '_' and '.', and no '.' in front"
    )]
    Name(String),
    /// This user has no folder to keep kernels in.
    #[error("this user has no home folder to keep kernels in: set {FOLDER_VARIABLE} to a folder")]
    Homeless,
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
    /// A `kernel.toml` that says nothing.
    #[error("{} is not readable ({error}); remove its folder and build the kernel again", path.display())]
    Manifest {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: Box<toml::de::Error>,
    },
    /// There is no source that a kernel could be built from.
    #[error("{0}")]
    Source(String),
    /// Programs that a build needs are not there.
    #[error("building a kernel needs {}, which {} missing: apt-get install {packages}", programs.join(", "), if programs.len() == 1 { "is" } else { "are" })]
    Programs {
        /// Their names.
        programs: Vec<&'static str>,
        /// The Debian packages that bring them.
        packages: String,
    },
    /// This source cannot make a kernel as this world needs it.
    #[error("this source cannot have what the deterministic world needs: {}", lines.join(", "))]
    Unsuited {
        /// The lines of the configuration that did not take.
        lines: Vec<String>,
    },
    /// A program of the build failed.
    #[error("{program} failed ({how}); the whole output is in {}; it ends with\n{}", log.display(), last.join("\n"))]
    Build {
        /// `make`, `tar`, ...
        program: &'static str,
        /// Its exit.
        how: String,
        /// Everything it said.
        log: PathBuf,
        /// The last of it.
        last: Vec<String>,
    },
}

impl KernelError {
    fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> KernelError {
        let path = path.into();
        move |error| KernelError::File { what, path, error }
    }
}

fn there_are(installed: &[String]) -> String {
    match installed {
        [] => "`whitewater kernel build` makes one".into(),
        [one] => format!("there is {one}"),
        several => format!("there are {}", several.join(", ")),
    }
}

/// What is known of an installed kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its release, as `uname -r` shows it.
    pub version: String,
    /// The tree or tarball that it was built from.
    pub source: PathBuf,
    /// Whether it checks itself: KASAN, lockdep and others.
    pub debug: bool,
    /// Whether it counts the lines that it executes.
    pub coverage: bool,
    /// SHA-256 of the program, in hexadecimal digits. Another program is another world: the same case may run otherwise.
    pub sha256: String,
    /// SHA-256 of its configuration.
    pub config_sha256: String,
}

/// An installed kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub manifest: Manifest,
    folder: PathBuf,
}

impl Kernel {
    /// The program: a Linux kernel.
    pub fn program(&self) -> PathBuf {
        self.folder.join(PROGRAM)
    }

    /// The folder of what the compiler noted of the objects whose lines this kernel counts.
    pub(in crate::world::uml) fn notes(&self) -> PathBuf {
        self.folder.join(NOTES)
    }

    /// The lines of the fragments that this kernel's configuration does not hold; empty for one that has all that cases
    /// may need.
    pub fn unmet(&self) -> Result<Vec<String>, KernelError> {
        let path = self.folder.join(CONFIG);
        let config = fs::read_to_string(&path).map_err(KernelError::file("read", path))?;
        Ok(config::unmet(&config::fragment(self.manifest.debug, self.manifest.coverage), &config))
    }
}

/// The folder that holds the kernels.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// This user's: the folder that `WHITEWATER_KERNELS` names, or `kernels` in the user's data folder
    /// (`~/.local/share/whitewater`, see the XDG base directories). It need not exist.
    pub fn of_this_user() -> Result<Store, KernelError> {
        if let Some(folder) = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
            let root = std::path::absolute(&folder).map_err(KernelError::file("find", folder))?;
            return Ok(Store { root });
        }
        let folders = directories::ProjectDirs::from("", "", "whitewater").ok_or(KernelError::Homeless)?;
        Ok(Store { root: folders.data_dir().join("kernels") })
    }

    /// The one in `root`, an absolute path.
    pub fn at(root: PathBuf) -> Store {
        Store { root }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// All kernels, by name.
    pub fn list(&self) -> Result<Vec<Kernel>, KernelError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(KernelError::file("read", &self.root)(error)),
        };
        let mut kernels = Vec::new();
        for entry in entries {
            let entry = entry.map_err(KernelError::file("read", &self.root))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_name(&name) && entry.path().join(MANIFEST).exists() {
                kernels.push(self.load(name)?);
            }
        }
        kernels.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(kernels)
    }

    /// The kernel `name`. Without a name: the one called [`DEFAULT_NAME`], or else the only one there is.
    pub fn find(&self, name: Option<&str>) -> Result<Kernel, KernelError> {
        let wanted = name.unwrap_or(DEFAULT_NAME);
        if is_name(wanted) && self.root.join(wanted).join(MANIFEST).exists() {
            return self.load(wanted.to_owned());
        }
        let mut kernels = self.list()?;
        if name.is_none() && kernels.len() == 1 {
            return Ok(kernels.remove(0));
        }
        let installed = kernels.into_iter().map(|kernel| kernel.name).collect();
        Err(KernelError::Unknown { name: wanted.to_owned(), folder: self.root.clone(), installed })
    }

    /// Removes the kernel `name` and what is kept for its next build.
    pub fn remove(&self, name: &str) -> Result<(), KernelError> {
        let kernel = self.find(Some(name))?;
        let build = self.build_folder(name);
        if build.exists() {
            fs::remove_dir_all(&build).map_err(KernelError::file("remove", build))?;
        }
        fs::remove_dir_all(&kernel.folder).map_err(KernelError::file("remove", &kernel.folder))
    }

    /// Builds a kernel and installs it. Tells how far it is through `progress`.
    pub fn build(&self, options: &BuildOptions, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Built, KernelError> {
        build::build(self, options, progress)
    }

    /// A kernel that counts the lines that it executes: the one called `coverage`, or else the only one there is.
    pub fn find_counting(&self) -> Result<Kernel, KernelError> {
        let mut kernels = self.list()?;
        kernels.retain(|kernel| kernel.manifest.coverage);
        let wanted = kernels.iter().position(|kernel| kernel.name == COVERAGE_NAME);
        match (wanted, kernels.len()) {
            (Some(index), _) => Ok(kernels.swap_remove(index)),
            (None, 1) => Ok(kernels.swap_remove(0)),
            (None, 0) => Err(KernelError::Counting { folder: self.root.clone() }),
            (None, _) => self.find(Some(COVERAGE_NAME)),
        }
    }

    fn load(&self, name: String) -> Result<Kernel, KernelError> {
        let folder = self.root.join(&name);
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(KernelError::file("read", &path))?;
        let manifest = toml::from_str(&text).map_err(|error| KernelError::Manifest { path, error: Box::new(error) })?;
        Ok(Kernel { name, manifest, folder })
    }

    fn build_folder(&self, name: &str) -> PathBuf {
        self.root.join(".build").join(name)
    }

    fn source_folder(&self) -> PathBuf {
        self.root.join(".source")
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with('.') && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(store: &Store, name: &str) {
        let folder = store.root.join(name);
        fs::create_dir_all(&folder).unwrap();
        let manifest = Manifest {
            version: "7.2.13".into(),
            source: "/usr/src/linux".into(),
            debug: false,
            coverage: false,
            sha256: "00".into(),
            config_sha256: "11".into(),
        };
        fs::write(folder.join(MANIFEST), toml::to_string(&manifest).unwrap()).unwrap();
        fs::write(folder.join(CONFIG), config::fragment(false, false)).unwrap();
    }

    #[test]
    fn kernels_are_found_by_name_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("kernels"));
        assert_eq!(store.list().unwrap(), []);
        let error = store.find(None).unwrap_err().to_string();
        assert!(error.contains("`whitewater kernel build` makes one"), "{error}");

        install(&store, "mine");
        assert_eq!(store.find(None).unwrap().name, "mine");
        install(&store, "default");
        fs::create_dir_all(store.build_folder("mine")).unwrap();
        assert_eq!(store.find(None).unwrap().name, "default");
        assert_eq!(store.find(Some("mine")).unwrap().manifest.version, "7.2.13");
        let error = store.find(Some("yours")).unwrap_err().to_string();
        assert!(error.contains("no kernel \"yours\"") && error.contains("there are default, mine"), "{error}");

        store.remove("mine").unwrap();
        assert!(!store.build_folder("mine").exists());
        assert_eq!(store.list().unwrap().len(), 1, "what a build keeps is no kernel");
    }

    #[test]
    fn a_name_stays_within_the_store() {
        for name in ["", ".build", "../elsewhere", "a/b", "with space", &"x".repeat(NAME_MAX + 1)] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("net-next_7.2"));
    }

    #[test]
    fn missing_options_are_listed_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        install(&store, "default");
        let kernel = store.find(None).unwrap();
        assert_eq!(kernel.unmet().unwrap(), Vec::<String>::new());
        let path = kernel.folder.join(CONFIG);
        let config = fs::read_to_string(&path).unwrap().replace("CONFIG_MPTCP=y\n", "# CONFIG_MPTCP is not set\n");
        fs::write(&path, config).unwrap();
        assert_eq!(kernel.unmet().unwrap(), ["CONFIG_MPTCP=y"]);
    }
}
