//! Which world the cases run in, and opens it.

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
    /// Run cases on this machine's kernel in real time (host), or on a User-Mode-Linux kernel in virtual time (uml),
    /// where the same case is the same run; auto: uml where a kernel for it is installed
    #[arg(
        long = "world",
        value_name = "WORLD",
        env = "WHITEWATER_WORLD",
        hide_env_values = true,
        default_value = "auto"
    )]
    kind: Kind,

    /// Run cases on this one of the kernels that `whitewater kernel list` shows; it means --world uml
    #[arg(long, value_name = "NAME", env = "WHITEWATER_KERNEL", hide_env_values = true)]
    kernel: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Auto,
    Host,
    Uml,
}

/// What is asked of a world beside cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// A fault planted on purpose, to see that it is found.
    pub plant: Option<Plant>,
    /// Each case runs twice and has to be the same run.
    pub check: bool,
    /// The lines that the kernel executes are counted.
    pub coverage: bool,
    /// All packets of the hosts of both ends are captured.
    pub capture: bool,
}

/// A world that is open.
pub struct Opened {
    /// The world.
    pub world: Arc<dyn World>,
    /// Why it was chosen, in a few words; empty where somebody asked for it.
    pub why: String,
    /// How many cases run at once where nobody says.
    pub jobs: usize,
    /// The lines that its kernel executes, where they are counted.
    pub coverage: Option<Counted>,
}

/// The lines that a kernel executes.
pub struct Counted {
    /// Whose.
    pub kernel: Kernel,
    /// How often.
    pub coverage: Arc<Coverage>,
}

impl Counted {
    /// Tells people which lines they are, and leaves a tracefile of lcov where one is asked for.
    pub fn tell(&self, people: &mut dyn Write, lcov: Option<&Path>) -> Result<(), CoverageError> {
        let files = self.coverage.files(&self.kernel)?;
        let table = report::coverage::table(&files, self.coverage.runs());
        // Where nobody reads any more, the exit code still says what happened.
        let _ = people.write_all(table.as_bytes());
        lcov.map_or(Ok(()), |path| coverage::write_lcov(path, &files))
    }
}

/// Why there is no world: with the exit code that says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The flags contradict each other.
    #[error("{0}")]
    Flags(&'static str),
    /// This machine cannot have it.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The kernel cannot be had.
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
    /// The same flags, for this kernel. An error where they ask for the host's.
    pub fn on_kernel(&self, name: &str) -> Result<WorldArgs, OpenError> {
        match self.kind {
            Kind::Host => Err(OpenError::Flags("--kernel-source builds a kernel for --world uml, not for the host's")),
            Kind::Auto | Kind::Uml => Ok(WorldArgs { kind: Kind::Uml, kernel: Some(name.to_owned()) }),
        }
    }

    /// The kernel that is asked for by name.
    pub fn kernel(&self) -> Option<&str> {
        self.kernel.as_deref()
    }

    /// Opens the world that the flags ask for.
    ///
    /// Opening the host's forks, so the fewer threads there are, the better.
    pub fn open(&self, wishes: Wishes) -> Result<Opened, OpenError> {
        match (self.kind, &self.kernel) {
            (Kind::Host, Some(_)) => {
                Err(OpenError::Flags("--kernel names a kernel of the uml world: leave it out, or --world host"))
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

    /// Opens the world for cases that were saved: where the flags leave the choice, the one that they were seen in.
    pub fn open_for<'a>(&self, cases: impl IntoIterator<Item = &'a Case>, wishes: Wishes) -> Result<Opened, OpenError> {
        let mut records = cases.into_iter().map(|case| case.finding.as_ref().map(|record| record.world.as_str()));
        let first = records.next().flatten();
        let same = first.filter(|first| records.all(|other| other == Some(first)));
        match (self.kind, &self.kernel, same) {
            (Kind::Auto, None, Some("host")) => host(wishes, "it was seen there".to_owned()),
            _ => self.open(wishes),
        }
    }
}

/// The uml world where a kernel for it is installed and starts, else the host's.
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
    // A kernel that does not start here is better known now than from every case.
    world.boot()?;
    // A kernel computes all the time, and more of them than CPUs are in each other's way, but for one: it has a CPU busy
    // while the case of another is judged and cleared away.
    let jobs = world.cpus() + 1;
    let coverage = coverage.map(|coverage| Counted { kernel, coverage });
    Ok(Opened { world: Arc::new(world), why, jobs, coverage })
}

impl Opened {
    /// What is known of its kernel.
    pub fn known(&self) -> Known {
        Known::of_kernel(&self.world.kernel())
    }

    /// What may be drawn in it.
    pub fn space(&self, filters: &Filters) -> Space {
        let space = filters.space();
        // A kernel of the uml world is built with sch_netem; one of the host may have it, which few do.
        if self.world.program().is_some() { space.with_netem() } else { space }
    }

    /// Why cases cannot have MPTCP in it, where that is so.
    pub fn lacks_mptcp(&self) -> Option<String> {
        // A kernel of the uml world is built with it.
        if self.world.program().is_some() { None } else { features::has_mptcp().err().map(|error| error.to_string()) }
    }

    /// What is to be said where a saved case was seen on another kernel program than this one.
    pub fn other_program(&self, case: &Case) -> Option<String> {
        let record = case.finding.as_ref()?;
        let (then, now) = (record.program.as_ref()?, self.world.program());
        if now.as_ref().is_some_and(|now| now.sha256 == then.sha256) {
            return None;
        }
        let now = match now {
            Some(now) => format!("{:?}, {}, sha256 {}", now.name, self.world.kernel(), short(&now.sha256)),
            None => format!("the {} world's", self.world.name()),
        };
        Some(format!(
            "it was seen on the kernel {:?} ({}, sha256 {}), and this one is another ({now}): the same packets are not to be expected",
            then.name,
            record.kernel,
            short(&then.sha256)
        ))
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
