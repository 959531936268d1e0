//! A command in a guest: any program of the host, on a kernel of this world, in virtual time.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::launch::{Ended, Launch};
use super::{UmlWorld, WorldError, case_folder, console, console_of, lost, trouble, write};
use crate::agent::command::{CONSOLES, ORDER, OUTCOME, Order, Outcome};
use crate::agent::init::COVERAGE;

/// How often to check whether the command has printed anything.
const LOOK: Duration = Duration::from_millis(20);
/// What is handed on at once.
const CHUNK: usize = 64 << 10;

/// How a command in a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its exit code as a shell has it; `None`: the kernel went down before it ended.
    pub code: Option<u8>,
    /// The complaints of the kernel: panics, warnings, the reports of its checks.
    pub complaints: Vec<String>,
}

impl UmlWorld {
    /// Runs a command in a guest with this many MiB of memory, without a limit. What it prints goes to `output` and `errors`
    /// while it runs.
    ///
    /// # Errors
    /// [`WorldError::AgentLost`] where the guest ended early, and not for its kernel's fault; also after
    /// [`abandon`](crate::world::World::abandon).
    pub fn command(
        &self,
        order: &Order,
        memory: u32,
        output: impl Write + Send,
        errors: impl Write + Send,
    ) -> Result<CommandEnd, WorldError> {
        let folder = case_folder()?;
        let folder = folder.path();
        let bytes = serde_json::to_vec(order).map_err(|error| WorldError::Trouble(error.to_string()))?;
        write(&folder.join(ORDER), &bytes)?;
        let paths = CONSOLES.map(|number| folder.join(format!("console{number}.log")));
        // Files, not pipes: a kernel in virtual time cannot wait for the reader of a pipe.
        let consoles = paths.iter().map(|path| File::create(path).map_err(trouble("make", path)));
        let consoles = consoles.collect::<Result<Vec<_>, _>>()?;
        let slot = self.slots.take(1);
        let (program, cpu) = (self.kernel.program(), slot.cpus().first().copied());
        let (agent, seed) = (self.agent.as_fd(), order.seed);
        let memory_folder = self.memory_folder.as_ref().map(AsFd::as_fd);
        let launch = Launch { program: &program, agent, folder, cpu, seed, memory, memory_folder, consoles };
        let done = AtomicBool::new(false);
        let end = std::thread::scope(|scope| {
            let handed =
                [scope.spawn(|| hand_on(&paths[0], &done, output)), scope.spawn(|| hand_on(&paths[1], &done, errors))];
            let end = self.launch(&launch, Duration::MAX);
            done.store(true, Ordering::Release);
            for thread in handed {
                let handed = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                handed.map_err(|error| WorldError::Trouble(format!("hand on what the command prints: {error}")))?;
            }
            end
        })?;
        let counted = folder.join(COVERAGE);
        if let Some(coverage) = self.options.coverage.as_ref().filter(|_| counted.exists()) {
            coverage.add(&counted)?;
        }
        let said = console_of(folder)?;
        let complaints = console::complaints(&said);
        match outcome(folder)? {
            Some(Outcome { code }) => Ok(CommandEnd { code: Some(code), complaints }),
            None if !complaints.is_empty() || matches!(end, Ended::KernelComputed(_)) => {
                Ok(CommandEnd { code: None, complaints })
            }
            None => Err(lost(end, &said)),
        }
    }
}

/// Copies what is appended to a file, until the writer is done.
fn hand_on(path: &Path, done: &AtomicBool, mut to: impl Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        // Asked before the last look, so that nothing is left out.
        let last = done.load(Ordering::Acquire);
        match file.read(&mut buffer)? {
            0 if last => return Ok(()),
            0 => std::thread::sleep(LOOK),
            length => {
                to.write_all(&buffer[..length])?;
                to.flush()?;
            }
        }
    }
}

fn outcome(folder: &Path) -> Result<Option<Outcome>, WorldError> {
    let path = folder.join(OUTCOME);
    match fs::read(&path) {
        // A kernel that died while it was on its way leaves a part of it.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trouble("read", &path)(error)),
    }
}
