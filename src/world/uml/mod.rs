//! The deterministic world: each case on a Linux kernel of its own, in virtual time.
//!
//! The kernel is User-Mode Linux: an ordinary process, started afresh for each case in some 10 ms, with the
//! [agent as its init](crate::agent::init). Its clock leaps from timer to timer, so waiting takes no time, and all its
//! randomness comes from the case's seed: the same case on the same kernel program is the same run, packet for packet,
//! time stamps included. docs/deterministic.md says how to get a kernel, and what this world cannot show.
//!
//! [`kernels`] builds and keeps them. This needs no privilege.

pub mod kernels;

mod console;
mod launch;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::slots::Slots;
use super::{World, WorldError};
use crate::agent::evidence::{self, OBSERVATION};
use crate::agent::init;
use crate::agent::protocol::{Errand, Reply};
use crate::case::{Case, KernelProgram};
use crate::endpoint::plant::Plant;
use crate::observation::Observation;
use crate::seed::Seed;
use crate::topology::CarrierChoice;
use kernels::{Kernel, KernelError, Store};
use launch::{Launch, Running};

/// In the evidence of this world: what the kernel said.
pub const KERNEL_LOG: &str = "kernel.log";
/// How long a kernel may compute for one case, on the host's clock, if nothing else is asked for. Waiting takes no time
/// here, so the slowest healthy case takes some seconds; what takes longer loops for ever without sleeping.
pub const WALL_LIMIT: Duration = Duration::from_secs(60);
/// How many of a console's last lines an error shows.
const LAST_LINES: usize = 12;

/// How a deterministic world works.
#[derive(Clone, Debug)]
pub struct UmlOptions {
    /// How endpoints err on purpose: for tests of the tester.
    pub plant: Option<Plant>,
    /// Which device carries impaired links.
    pub carrier: CarrierChoice,
    /// How long a kernel may compute for one case, on the host's clock.
    pub wall_limit: Duration,
    /// The program that is the guest's init: one whose `main` begins with [`init::main`] where [`init::is_guest`] says so.
    /// `None`: this very program.
    pub agent: Option<PathBuf>,
    /// Whether each case runs twice, and has to be the same run both times.
    pub check: bool,
}

impl Default for UmlOptions {
    fn default() -> UmlOptions {
        UmlOptions { plant: None, carrier: CarrierChoice::Auto, wall_limit: WALL_LIMIT, agent: None, check: false }
    }
}

/// A deterministic kernel, started anew for each case.
#[derive(Debug)]
pub struct UmlWorld {
    kernel: Kernel,
    options: UmlOptions,
    agent: File,
    slots: Slots,
    /// The kernels that run, by a number of their own, for [`World::abandon`].
    running: Mutex<(u64, BTreeMap<u64, OwnedFd>)>,
}

impl From<KernelError> for WorldError {
    fn from(error: KernelError) -> WorldError {
        WorldError::Unable(error.to_string())
    }
}

fn trouble<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> WorldError + 'a {
    move |error| WorldError::Trouble(format!("{what} {}: {error}", path.display()))
}

impl UmlWorld {
    /// Opens the world on this user's kernel of that name, or on the default one.
    ///
    /// # Errors
    /// [`WorldError::Unable`] where there is no such kernel.
    pub fn open(kernel: Option<&str>) -> Result<UmlWorld, WorldError> {
        UmlWorld::with(Store::of_this_user()?.find(kernel)?, UmlOptions::default())
    }

    /// Opens the world on a kernel.
    pub fn with(kernel: Kernel, options: UmlOptions) -> Result<UmlWorld, WorldError> {
        let path = options.agent.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let agent = File::open(&path).map_err(trouble("open the agent's program", &path))?;
        let slots = Slots::of_this_process().map_err(|error| WorldError::Trouble(error.to_string()))?;
        Ok(UmlWorld { kernel, options, agent, slots, running: Mutex::default() })
    }

    /// Its kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// On how many CPUs its kernels run, one on each at a time if as many cases are asked for at once.
    pub fn cpus(&self) -> usize {
        self.slots.cpus()
    }

    /// Starts a kernel and has it switch off at once: how long that takes is the least that any case takes.
    ///
    /// # Errors
    /// [`WorldError::AgentLost`] with the end of the kernel's console where it does not come up.
    pub fn boot(&self) -> Result<(), WorldError> {
        let folder = case_folder()?;
        match self.start(folder.path(), Seed(0))? {
            Some(status) if status.code() == Some(init::DONE.into()) => Ok(()),
            end => Err(self.lost(end, &console_of(folder.path())?)),
        }
    }

    /// Runs a case and digests all that was seen of it, packets and their virtual time stamps included: SHA-256 in
    /// hexadecimal digits. Two runs of a case have the same one.
    pub fn fingerprint(&self, case: &Case) -> Result<(Observation, String), WorldError> {
        let run = self.run_once(case)?;
        let prints = run.prints()?;
        let mut hash = Sha256::new();
        for (name, print) in prints {
            hash.update(name.as_encoded_bytes());
            hash.update(print);
        }
        Ok((run.observation, hex(&hash.finalize())))
    }

    /// Runs a case on a fresh kernel.
    fn run_once(&self, case: &Case) -> Result<Run, WorldError> {
        let folder = case_folder()?;
        let errand = serde_json::to_vec(&self.errand(case)).map_err(|error| WorldError::Trouble(error.to_string()))?;
        write(&folder.path().join(init::ERRAND), &errand)?;
        let end = self.start(folder.path(), case.seed)?;

        let console = console_of(folder.path())?;
        let complaints = console::complaints(&console);
        let mut observation = match reply(folder.path())? {
            Some(Reply::Observed(observation)) => *observation,
            Some(Reply::Unable(text)) => return Err(WorldError::Unable(text)),
            Some(Reply::Trouble(text)) => return Err(WorldError::Trouble(text)),
            Some(other) => return Err(WorldError::Trouble(format!("the agent said {other:?}"))),
            None if complaints.is_empty() => return Err(self.lost(end, &console)),
            None => Observation::of_a_crash(self.kernel.manifest.version.clone()),
        };
        observation.kernel_log = complaints;
        Ok(Run { observation, console, folder })
    }

    /// Runs a kernel on a case folder. `None` where it had to be killed.
    fn start(&self, folder: &Path, seed: Seed) -> Result<Option<ExitStatus>, WorldError> {
        let slot = self.slots.take(1);
        let program = self.kernel.program();
        let launch =
            Launch { program: &program, agent: self.agent.as_fd(), folder, cpu: slot.cpus().first().copied(), seed };
        let mut kernel = launch.start().map_err(trouble("start the kernel", &program))?;
        let number = self.enter(&kernel)?;
        let end = kernel.wait(self.options.wall_limit);
        self.lock().1.remove(&number);
        end.map_err(trouble("wait for the kernel", &program))
    }

    fn enter(&self, kernel: &Running) -> Result<u64, WorldError> {
        let handle = kernel.handle().map_err(|error| WorldError::Trouble(error.to_string()))?;
        let mut running = self.lock();
        running.0 += 1;
        let number = running.0;
        running.1.insert(number, handle);
        Ok(number)
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, OwnedFd>)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn errand(&self, case: &Case) -> Errand {
        Errand {
            case: case.clone(),
            // A guest has one.
            cpus: Vec::new(),
            plant: self.options.plant,
            // What is captured wakes the agent up, so a run without would be another run.
            capture: true,
            carrier: self.options.carrier,
        }
    }

    /// What it means that there is no reply.
    fn lost(&self, end: Option<ExitStatus>, console: &str) -> WorldError {
        let last = console::last(console, LAST_LINES);
        let how = match end {
            None => format!(
                "computed for {} s without an end and was killed: something in its kernel loops without sleeping",
                self.options.wall_limit.as_secs()
            ),
            Some(status) if status.code() == Some(init::HANGED.into()) => "hung in virtual time".into(),
            Some(status) => format!("ended without a reply ({status})"),
        };
        WorldError::AgentLost(if last.is_empty() { how } else { format!("{how}; its console ends with\n{last}") })
    }
}

impl World for UmlWorld {
    fn name(&self) -> &'static str {
        "uml"
    }

    fn kernel(&self) -> String {
        self.kernel.manifest.version.clone()
    }

    fn program(&self) -> Option<KernelProgram> {
        Some(KernelProgram { name: self.kernel.name.clone(), sha256: self.kernel.manifest.sha256.clone() })
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn run(&self, case: &Case, keep: &dyn Fn(&Observation) -> Option<PathBuf>) -> Result<Observation, WorldError> {
        let run = self.run_once(case)?;
        if self.options.check {
            run.same_as(&self.run_once(case)?)?;
        }
        if let Some(place) = keep(&run.observation) {
            run.complete()?;
            evidence::hand_over(&run.evidence(), &place).map_err(|error| WorldError::Trouble(error.to_string()))?;
        }
        Ok(run.observation)
    }

    fn abandon(&self) {
        for handle in self.lock().1.values() {
            launch::kill(handle.as_fd());
        }
    }
}

/// A case that has run, with its folder.
#[derive(Debug)]
struct Run {
    observation: Observation,
    console: String,
    folder: TempDir,
}

impl Run {
    fn evidence(&self) -> PathBuf {
        self.folder.path().join(init::EVIDENCE)
    }

    /// Lays beside the guest's evidence what only the outside knows.
    fn complete(&self) -> Result<(), WorldError> {
        let observation = serde_json::to_vec_pretty(&self.observation);
        let observation = observation.map_err(|error| WorldError::Trouble(error.to_string()))?;
        write(&self.evidence().join(OBSERVATION), &observation)?;
        write(&self.evidence().join(KERNEL_LOG), self.console.as_bytes())
    }

    /// SHA-256 of each file of the evidence, by name.
    fn prints(&self) -> Result<BTreeMap<OsString, Vec<u8>>, WorldError> {
        self.complete()?;
        let folder = self.evidence();
        prints(&folder).map_err(trouble("read", &folder))
    }

    /// Refuses another run of the same case that was not the same.
    fn same_as(&self, other: &Run) -> Result<(), WorldError> {
        let (one, other) = (self.prints()?, other.prints()?);
        let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        let differ = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
        let differ: Vec<_> = differ.map(|name| name.to_string_lossy()).collect();
        if differ.is_empty() { Ok(()) } else { Err(WorldError::Differs(differ.join(", "))) }
    }
}

/// A fresh folder for one case, with a place for its evidence. It goes when the value goes.
fn case_folder() -> Result<TempDir, WorldError> {
    let folder = tempfile::Builder::new().prefix("whitewater-case-").tempdir();
    let folder = folder.map_err(trouble("make a case folder in", &std::env::temp_dir()))?;
    let evidence = folder.path().join(init::EVIDENCE);
    fs::create_dir(&evidence).map_err(trouble("make", &evidence))?;
    Ok(folder)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), WorldError> {
    fs::write(path, bytes).map_err(trouble("write", path))
}

/// What the kernel in this case folder has said. It may be anything but is meant to be text.
fn console_of(folder: &Path) -> Result<String, WorldError> {
    let path = folder.join(launch::CONSOLE);
    let bytes = fs::read(&path).map_err(trouble("read", &path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The agent's last word, where it came to one.
fn reply(folder: &Path) -> Result<Option<Reply>, WorldError> {
    let path = folder.join(init::REPLY);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(trouble("read", &path)(error)),
    };
    // A kernel that died while the reply was on its way leaves a part of it.
    Ok(serde_json::from_slice(&bytes).ok())
}

/// SHA-256 of each file of a folder, by name.
fn prints(folder: &Path) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let print = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name(), Sha256::digest(fs::read(entry.path())?).to_vec()))
    };
    fs::read_dir(folder)?.map(print).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(capture: &str) -> Run {
        let folder = case_folder().unwrap();
        let run = Run { observation: Observation::of_a_crash("7.2".into()), console: String::new(), folder };
        fs::write(run.evidence().join("ns1-ns2.pcapng"), capture).unwrap();
        run
    }

    #[test]
    fn two_runs_that_differ_are_told_by_the_files_that_do() {
        let run_one = run("a packet");
        assert!(run_one.same_as(&run("a packet")).is_ok());
        let error = run_one.same_as(&run("another packet")).unwrap_err();
        assert!(matches!(&error, WorldError::Differs(files) if files == "ns1-ns2.pcapng"), "{error}");
    }
}
