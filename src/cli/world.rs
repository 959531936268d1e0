//! Chooses the world that cases run in, and opens it.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::campaign::Known;
use crate::case::Case;
use crate::case::strategy::Space;
use crate::endpoint::plant::Plant;
use crate::net::features;
use crate::report;
use crate::world::host::{HostOptions, HostWorld};
use crate::world::uml::coverage::{self, Coverage, CoverageError};
use crate::world::uml::kernels::{Kernel, KernelError, Store};
use crate::world::uml::{UmlOptions, UmlWorld};
use crate::world::{World, WorldError};

use super::options::{self, Filters};

/// Where cases run.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "World")]
pub struct WorldArgs {
    /// Run cases on this machine's kernel in real time (host), or on a User-Mode Linux kernel in virtual time (uml),
    /// where the same case is always the same run; auto chooses uml if a kernel for it is installed
    #[arg(
        long = "world",
        value_name = "WORLD",
        env = "WHITEWATER_WORLD",
        hide_env_values = true,
        default_value = "auto"
    )]
    kind: Kind,

    /// Run cases on this kernel of `whitewater kernel list`; implies --world uml
    #[arg(long, value_name = "NAME", env = "WHITEWATER_KERNEL", hide_env_values = true)]
    kernel: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Auto,
    Host,
    Uml,
}

/// What a world is asked to do beside running cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Plant this fault on purpose, to see that it is found.
    pub plant: Option<Plant>,
    /// Run each case twice and compare the runs.
    pub check: bool,
    /// Count the lines that the kernel executes.
    pub coverage: bool,
    /// Capture all packets on the hosts of both ends.
    pub capture: bool,
}

/// A world, open for cases.
pub struct Opened {
    /// The world.
    pub world: Arc<dyn World>,
    /// Why it was chosen, in a few words; empty if the flags asked for it.
    pub why: String,
    /// How many cases run at once by default.
    pub jobs: usize,
    /// The lines that its kernel executes, if they are counted.
    pub coverage: Option<KernelCoverage>,
}

/// Which lines a kernel executes.
pub struct KernelCoverage {
    /// The kernel.
    pub kernel: Kernel,
    /// Its lines, and how often each ran.
    pub coverage: Arc<Coverage>,
}

impl KernelCoverage {
    /// Prints a table for people, and writes an lcov tracefile if one is asked for.
    pub fn report(&self, people: &mut dyn Write, lcov: Option<&Path>) -> Result<(), CoverageError> {
        let files = self.coverage.files(&self.kernel)?;
        let table = report::coverage::table(&files, self.coverage.runs());
        // If nobody reads any more, the exit code still says what happened.
        let _ = people.write_all(table.as_bytes());
        lcov.map_or(Ok(()), |path| coverage::write_lcov(path, &files))
    }
}

/// Why no world could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The flags contradict each other.
    #[error("{0}")]
    Flags(&'static str),
    /// The world does not work on this machine.
    #[error(transparent)]
    World(#[from] WorldError),
    /// There is no such kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl OpenError {
    /// The exit code for it.
    pub fn code(&self) -> u8 {
        if matches!(self, OpenError::Flags(_)) { super::exit::USAGE } else { super::exit::UNABLE }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("world", &self.world.name()).field("why", &self.why).finish_non_exhaustive()
    }
}

impl WorldArgs {
    /// The same flags, for this kernel. An error if they ask for the host world.
    pub fn on_kernel(&self, name: &str) -> Result<WorldArgs, OpenError> {
        match self.kind {
            Kind::Host => Err(OpenError::Flags("--kernel-source builds a kernel for --world uml, not for the host's")),
            Kind::Auto | Kind::Uml => Ok(WorldArgs { kind: Kind::Uml, kernel: Some(name.to_owned()) }),
        }
    }

    /// The name of the kernel that is asked for.
    pub fn kernel(&self) -> Option<&str> {
        self.kernel.as_deref()
    }

    /// Opens the world that the flags ask for.
    ///
    /// Opening the host world forks, so the fewer threads there are, the better.
    pub fn open(&self, wishes: Wishes) -> Result<Opened, OpenError> {
        match (self.kind, &self.kernel) {
            (Kind::Host, Some(_)) => {
                Err(OpenError::Flags("--kernel names a kernel of the uml world: drop it, or drop --world host"))
            }
            (Kind::Host, None) if wishes.coverage => {
                Err(OpenError::Flags("--coverage needs --world uml: this machine's kernel counts no lines"))
            }
            (Kind::Auto | Kind::Uml, None) if wishes.coverage => {
                uml(Store::of_this_user()?.find_counting()?, wishes, String::new())
            }
            (Kind::Host, None) => host(wishes, String::new()),
            (Kind::Uml, name) => uml(Store::of_this_user()?.find(name.as_deref())?, wishes, String::new()),
            (Kind::Auto, Some(name)) => uml(Store::of_this_user()?.find(Some(name))?, wishes, String::new()),
            (Kind::Auto, None) => auto(wishes),
        }
    }

    /// Opens the world for saved cases: the one that all of them were seen in, if the flags leave the choice.
    pub fn open_for<'a>(&self, cases: impl IntoIterator<Item = &'a Case>, wishes: Wishes) -> Result<Opened, OpenError> {
        let mut records = cases.into_iter().map(|case| case.finding.as_ref().map(|record| record.world.as_str()));
        let first = records.next().flatten();
        let same = first.filter(|first| records.all(|other| other == Some(first)));
        match (self.kind, &self.kernel, same) {
            (Kind::Auto, None, Some("host")) => host(wishes, "the case was seen there".to_owned()),
            _ => self.open(wishes),
        }
    }
}

/// The uml world if a kernel for it is installed and starts, else the host world.
fn auto(wishes: Wishes) -> Result<Opened, OpenError> {
    let kernel = match Store::of_this_user().and_then(|store| store.find(None)) {
        Ok(kernel) => kernel,
        Err(error) if wishes.check => return Err(error.into()),
        Err(KernelError::Unknown { installed, .. }) if installed.is_empty() => {
            return host(wishes, "no kernel is installed; `whitewater kernel build` makes one".to_owned());
        }
        Err(error) => return host(wishes, error.to_string()),
    };
    let opened = uml(kernel, wishes, "a kernel for it is installed".to_owned());
    match opened {
        Err(error) if !wishes.check => host(wishes, format!("the uml world does not work here: {error}")),
        opened => opened,
    }
}

fn host(wishes: Wishes, why: String) -> Result<Opened, OpenError> {
    if wishes.check {
        return Err(OpenError::Flags("--check-determinism needs --world uml: in real time no run is like the last"));
    }
    let world =
        HostWorld::new(HostOptions { plant: wishes.plant, capture_hosts: wishes.capture, ..HostOptions::default() })?;
    Ok(Opened { world: Arc::new(world), why, jobs: options::default_jobs(), coverage: None })
}

fn uml(kernel: Kernel, wishes: Wishes, why: String) -> Result<Opened, OpenError> {
    let coverage = wishes.coverage.then(|| Arc::new(Coverage::new()));
    let options = UmlOptions {
        plant: wishes.plant,
        check: wishes.check,
        coverage: coverage.clone(),
        capture_hosts: wishes.capture,
        ..UmlOptions::default()
    };
    let world = UmlWorld::with(kernel.clone(), options)?;
    // Find out now, not with every case, if the kernel does not start.
    world.boot()?;
    // A guest keeps a CPU busy, so more guests than CPUs get in each other's way. One more pays off: it computes while
    // another's case is judged and cleaned up.
    let jobs = world.cpus() + 1;
    let coverage = coverage.map(|coverage| KernelCoverage { kernel, coverage });
    Ok(Opened { world: Arc::new(world), why, jobs, coverage })
}

impl Opened {
    /// The known bugs of its kernel.
    pub fn known(&self) -> Known {
        Known::of_kernel(&self.world.kernel())
    }

    /// What may be drawn in it.
    pub fn space(&self, filters: &Filters) -> Space {
        let space = filters.space();
        // A kernel of the uml world is built with sch_netem; a host's may lack it. And there time is virtual.
        if self.world.program().is_some() { space.with_netem().with_long_waits() } else { space }
    }

    /// Why cases cannot use MPTCP in it, if they cannot.
    pub fn lacks_mptcp(&self) -> Option<String> {
        // A kernel of the uml world is built with it.
        if self.world.program().is_some() { None } else { features::has_mptcp().err().map(|error| error.to_string()) }
    }

    /// A note for a saved case that was seen on another kernel program than this one.
    pub fn other_program(&self, case: &Case) -> Option<String> {
        let record = case.finding.as_ref()?;
        let (then, now) = (record.program.as_ref()?, self.world.program());
        if now.as_ref().is_some_and(|now| now.sha256 == then.sha256) {
            return None;
        }
        let now = match now {
            Some(now) => format!("{:?}, {}, sha256 {}", now.name, self.world.kernel(), short(&now.sha256)),
            None => format!("that of the {} world", self.world.name()),
        };
        Some(format!(
            "seen on the kernel {:?} ({}, sha256 {}), but this one is another ({now}): do not expect the same packets",
            then.name,
            record.kernel,
            short(&then.sha256)
        ))
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
