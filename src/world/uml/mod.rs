//! The deterministic world: each case on a Linux kernel of its own, in virtual time.
//!
//! The kernel is User-Mode Linux: an ordinary process, started afresh for each case in some 10 ms, with the
//! [agent as its init](crate::agent::init). Its clock jumps from timer to timer, so waiting takes no time, and all its
//! randomness comes from the case's seed: the same case on the same kernel program is the same run, packet for packet,
//! time stamps included. docs/deterministic.md says how to get a kernel, and what this world cannot show.
//!
//! [`kernels`] builds and keeps them. This needs no privilege.

pub mod coverage;
pub mod kernels;

mod command;
mod console;
mod hang;
mod launch;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::observation::{End, Observation};
use crate::sys::huge_pages;
use crate::topology::CarrierChoice;
pub use command::CommandEnd;
use coverage::{Coverage, CoverageError};
use kernels::{Kernel, KernelError, Store};
use launch::{Ended, Launch, Running};

/// In the evidence of this world: the kernel's console.
pub const KERNEL_LOG: &str = "kernel.log";
/// How many of a console's last lines an error shows.
const LAST_LINES: usize = 12;
/// How much of a kernel's console is searched for complaints: the first one matters.
const CONSOLE_READ_MAX: u64 = 16 << 20;
/// The longest reply of an agent that is read.
const REPLY_MAX: u64 = 256 << 20;

/// How a deterministic world works.
#[derive(Clone, Debug)]
pub struct UmlOptions {
    /// How endpoints err on purpose: for tests of the tester.
    pub plant: Option<Plant>,
    /// Which device carries impaired links.
    pub carrier: CarrierChoice,
    /// How much CPU time of the host a case may take; `None`: a generous amount for its bytes and the kernel. Waiting takes
    /// none in this world, so a case that takes longer computes for ever.
    pub cpu_limit: Option<Duration>,
    /// The program that is the guest's init: one whose `main` begins with [`init::main`] where [`init::is_guest`] says so.
    /// `None`: this very program.
    pub agent: Option<PathBuf>,
    /// Where the lines that the kernel executes are added up. The kernel must be one that counts them.
    pub coverage: Option<Arc<Coverage>>,
    /// Whether each case runs twice, and has to be the same run both times.
    pub check: bool,
    /// Whether all packets of the hosts of both ends are captured for the evidence, too, in a run of their own.
    pub capture_hosts: bool,
}

impl Default for UmlOptions {
    fn default() -> UmlOptions {
        UmlOptions {
            plant: None,
            carrier: CarrierChoice::Auto,
            cpu_limit: None,
            agent: None,
            coverage: None,
            check: false,
            capture_hosts: false,
        }
    }
}

/// A deterministic kernel, started anew for each case.
#[derive(Debug)]
pub struct UmlWorld {
    kernel: Kernel,
    options: UmlOptions,
    agent: File,
    /// Where the guests' memory lies, in huge pages, if this machine has them for us.
    memory_folder: Option<OwnedFd>,
    slots: Slots,
    /// The kernels that run, by a number of their own, for [`World::abandon`].
    running: Mutex<(u64, BTreeMap<u64, OwnedFd>)>,
}

impl From<KernelError> for WorldError {
    fn from(error: KernelError) -> WorldError {
        WorldError::Unable(error.to_string())
    }
}

impl From<CoverageError> for WorldError {
    fn from(error: CoverageError) -> WorldError {
        match error {
            CoverageError::Plain(_) => WorldError::Unable(error.to_string()),
            _ => WorldError::Trouble(error.to_string()),
        }
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
    ///
    /// # Errors
    /// [`WorldError::Unable`] where lines are to be counted and the kernel does not.
    pub fn with(kernel: Kernel, options: UmlOptions) -> Result<UmlWorld, WorldError> {
        if options.coverage.is_some() && !kernel.manifest.coverage {
            return Err(CoverageError::Plain(kernel.name).into());
        }
        let path = options.agent.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let agent = File::open(&path).map_err(trouble("open the agent's program", &path))?;
        let slots = Slots::of_this_process().map_err(|error| WorldError::Trouble(error.to_string()))?;
        // Small pages do as well: they only take longer.
        let memory_folder = huge_pages::folder().ok();
        Ok(UmlWorld { kernel, options, agent, memory_folder, slots, running: Mutex::default() })
    }

    /// Its kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// On how many CPUs its kernels run, one on each at a time if as many cases are asked for at once.
    pub fn cpus(&self) -> usize {
        self.slots.cpus()
    }

    /// Starts a kernel and has it switch off at once. No case takes less time than that.
    ///
    /// # Errors
    /// [`WorldError::AgentLost`] with the end of the kernel's console if it does not come up.
    pub fn boot(&self) -> Result<(), WorldError> {
        let folder = case_folder()?;
        let case = Case::default();
        let memory = launch::memory(&case, self.kernel.manifest.debug);
        match self.start(folder.path(), &case, memory, self.cpu_limit(&case))? {
            Ended::Exited(status) if status.code() == Some(init::DONE.into()) => Ok(()),
            end => Err(lost(end, &console_of(folder.path())?)),
        }
    }

    /// Runs a case and returns the digest of everything seen, including packets and their virtual time stamps: SHA-256 in
    /// hexadecimal digits. Two runs of a case have the same digest.
    pub fn fingerprint(&self, case: &Case) -> Result<(Observation, String), WorldError> {
        let run = self.run_once(case, true)?;
        let prints = run.prints()?;
        let mut hash = Sha256::new();
        for (name, print) in prints {
            hash.update(name.as_encoded_bytes());
            hash.update(print);
        }
        Ok((run.observation, hex(&hash.finalize())))
    }

    /// Runs a case on a fresh kernel. `evidence`: whatever it shows, else for a finding alone.
    fn run_once(&self, case: &Case, evidence: bool) -> Result<Run, WorldError> {
        self.run_errand(&self.errand(case, evidence))
    }

    fn run_errand(&self, errand: &Errand) -> Result<Run, WorldError> {
        self.run_within(errand, launch::memory(&errand.case, self.kernel.manifest.debug))
    }

    /// Runs an errand in a guest with this much memory, in MiB. One that runs out of it runs again with much more: only a leak
    /// uses that up as well.
    fn run_within(&self, errand: &Errand, memory: u32) -> Result<Run, WorldError> {
        let case = &errand.case;
        let folder = case_folder()?;
        let bytes = serde_json::to_vec(errand).map_err(|error| WorldError::Trouble(error.to_string()))?;
        write(&folder.path().join(init::ERRAND), &bytes)?;
        let end = self.start(folder.path(), case, memory, self.cpu_limit(case))?;

        let console = console_of(folder.path())?;
        if console::lacks_memory(&console) && memory < launch::MEMORY_AMPLE {
            return self.run_within(errand, launch::MEMORY_AMPLE);
        }
        let complaints = console::complaints(&console);
        let mut observation = match reply(folder.path())? {
            Some(Reply::Observed(observation)) => *observation,
            Some(Reply::Unable(text)) => return Err(WorldError::Unable(text)),
            Some(Reply::Trouble(text)) => return Err(WorldError::Trouble(text)),
            Some(other) => return Err(WorldError::Trouble(format!("the agent said {other:?}"))),
            None => match (hang::of_kernel(end, &hung(folder.path())), complaints.is_empty()) {
                (Some(hang), _) => Observation::of_nothing(End::KernelHung(hang), World::kernel(self)),
                (None, false) => Observation::of_a_crash(World::kernel(self)),
                (None, true) => return Err(lost(end, &console)),
            },
        };
        observation.kernel_log = complaints;
        let counted = folder.path().join(init::COVERAGE);
        if let Some(coverage) = self.options.coverage.as_ref().filter(|_| counted.exists()) {
            coverage.add(&counted)?;
        }
        Ok(Run { observation, console, folder })
    }

    fn cpu_limit(&self, case: &Case) -> Duration {
        self.options.cpu_limit.unwrap_or_else(|| hang::cpu_limit(case, self.kernel.manifest.debug))
    }

    /// Runs the kernel of a case on its folder.
    fn start(&self, folder: &Path, case: &Case, memory: u32, limit: Duration) -> Result<Ended, WorldError> {
        let slot = self.slots.take(1);
        let program = self.kernel.program();
        let cpu = slot.cpus().first().copied();
        let (agent, consoles, seed) = (self.agent.as_fd(), Vec::new(), case.seed);
        let memory_folder = self.memory_folder.as_ref().map(AsFd::as_fd);
        self.launch(&Launch { program: &program, agent, folder, cpu, seed, memory, memory_folder, consoles }, limit)
    }

    /// Starts a kernel and waits for its end.
    fn launch(&self, launch: &Launch<'_>, limit: Duration) -> Result<Ended, WorldError> {
        let mut kernel = launch.start().map_err(trouble("start the kernel", launch.program))?;
        let number = self.enter(&kernel)?;
        let end = kernel.wait(limit);
        self.lock().1.remove(&number);
        end.map_err(trouble("wait for the kernel", launch.program))
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

    /// The same run once more, now for its evidence.
    fn again(&self, case: &Case, run: &Run) -> Result<Run, WorldError> {
        let again = self.run_once(case, true)?;
        if again.observation != run.observation {
            return Err(WorldError::Differs(OBSERVATION.to_owned()));
        }
        Ok(again)
    }

    /// Leaves captures of the hosts of both ends in `place`, and notes in `observation` what they met.
    ///
    /// They are of a run of their own: a packet that a capture has, too, is not merged with others in a queue of the kernel, so
    /// what lies there may not show. The packets are the same.
    fn capture_hosts(&self, case: &Case, place: &Path, observation: &mut Observation) -> Result<(), WorldError> {
        let run = self.run_errand(&Errand { capture_hosts: true, ..self.errand(case, true) })?;
        evidence::hand_over(&run.evidence(), place).map_err(|error| WorldError::Trouble(error.to_string()))?;
        for (host, story) in run.observation.hosts {
            observation.hosts.entry(host).or_default().captured = story.captured;
        }
        Ok(())
    }

    fn errand(&self, case: &Case, evidence: bool) -> Errand {
        Errand {
            case: case.clone(),
            // A guest has one.
            cpus: Vec::new(),
            plant: self.options.plant,
            // What is captured wakes the agent up, so a run without would be another run.
            capture: true,
            capture_hosts: false,
            evidence,
            carrier: self.options.carrier,
            coverage: self.options.coverage.is_some(),
        }
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
        let check = self.options.check;
        let mut run = self.run_once(case, check)?;
        if check {
            run.same_as(&self.run_once(case, true)?)?;
        }
        if let Some(place) = keep(&run.observation) {
            if !run.has_evidence() {
                run = self.again(case, &run)?;
            }
            run.complete()?;
            if self.options.capture_hosts {
                // First: what both runs leave is that of the run itself.
                self.capture_hosts(case, &place, &mut run.observation)?;
            }
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

    /// Whether the guest has left any.
    fn has_evidence(&self) -> bool {
        self.evidence().join(OBSERVATION).exists()
    }

    /// Lays beside the guest's evidence what only the outside knows.
    fn complete(&self) -> Result<(), WorldError> {
        let observation = serde_json::to_vec_pretty(&self.observation);
        let observation = observation.map_err(|error| WorldError::Trouble(error.to_string()))?;
        write(&self.evidence().join(OBSERVATION), &observation)?;
        let threads = hung(self.folder.path());
        if !threads.is_empty() {
            write(&self.evidence().join(init::HUNG), threads.as_bytes())?;
        }
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
    let mut bytes = Vec::new();
    let read = fs::File::open(&path).and_then(|file| file.take(CONSOLE_READ_MAX).read_to_end(&mut bytes));
    read.map_err(trouble("read", &path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A guest that ended without a reply, and not for its kernel's fault.
fn lost(end: Ended, console: &str) -> WorldError {
    let (how, last) = (hang::words(end), console::last(console, LAST_LINES));
    WorldError::AgentLost(if last.is_empty() { how } else { format!("{how}; its console ends with\n{last}") })
}

/// What the watchdog has left of a hung agent; empty where it left nothing.
fn hung(folder: &Path) -> String {
    fs::read_to_string(folder.join(init::HUNG)).unwrap_or_default()
}

/// The agent's last word, where it came to one.
fn reply(folder: &Path) -> Result<Option<Reply>, WorldError> {
    let path = folder.join(init::REPLY);
    let length = fs::metadata(&path).map_or(0, |meta| meta.len());
    if length > REPLY_MAX {
        return Err(WorldError::Trouble(format!(
            "the agent's reply has {length} bytes, where at most {REPLY_MAX} are read"
        )));
    }
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
    fn two_runs_that_differ_are_reported_with_the_files_that_differ() {
        let run_one = run("a packet");
        assert!(run_one.same_as(&run("a packet")).is_ok());
        let error = run_one.same_as(&run("another packet")).unwrap_err();
        assert!(matches!(&error, WorldError::Differs(files) if files == "ns1-ns2.pcapng"), "{error}");
    }
}
