//! The host world: cases on this machine's kernel, in real time.
//!
//! A [`HostWorld`] owns one small process, the nursery, in a user namespace of its own, which needs no privilege.
//! For each case the nursery forks an agent, which makes its network namespaces and goes with them when the case is over,
//! however it ends. Whatever ends the world, even a kill -9, ends the nursery, and the nursery's end ends every agent.

mod nursery;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::slots::Slots;
use super::{World, WorldError};
use crate::agent::protocol::{self, Errand, ProtocolError, Reply, Request};
use crate::case::Case;
use crate::endpoint::plant::Plant;
use crate::net::features;
use crate::observation::Observation;
use crate::oracle::Expectation;
use crate::topology::CarrierChoice;
use nursery::Nursery;

/// How a host world works.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// How endpoints err on purpose: for tests of the tester.
    pub plant: Option<Plant>,
    /// Whether links without impairments are captured for the evidence, too.
    pub capture: bool,
    /// Whether all packets of the hosts of both ends are captured, too.
    pub capture_hosts: bool,
    /// Which device carries impaired links.
    pub carrier: CarrierChoice,
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        HostOptions { plant: None, capture: true, capture_hosts: false, carrier: CarrierChoice::Auto }
    }
}

/// How much time an agent may need beyond its case's budget and patience before it counts as hung: for building the
/// topology, for settling and for writing.
const AGENT_GRACE: Duration = Duration::from_secs(60);

/// Network namespaces on this kernel.
#[derive(Debug)]
pub struct HostWorld {
    options: HostOptions,
    nursery: Mutex<Nursery>,
    slots: Slots,
}

impl HostWorld {
    /// Opens the world.
    ///
    /// This forks, so the fewer threads there are at this moment, the better.
    pub fn new(options: HostOptions) -> Result<HostWorld, WorldError> {
        let nursery = Nursery::start()?;
        let slots = Slots::of_this_process().map_err(|error| WorldError::Trouble(error.to_string()))?;
        Ok(HostWorld { options, nursery: Mutex::new(nursery), slots })
    }

    /// How many CPUs its agents share.
    pub fn cpus(&self) -> usize {
        self.slots.cpus()
    }

    /// A new agent, at the other end of the stream. A nursery that has died or was closed is replaced.
    fn agent(&self) -> Result<UnixStream, WorldError> {
        let mut nursery = self.nursery.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Ok(stream) = nursery.agent() {
            return Ok(stream);
        }
        *nursery = Nursery::start()?;
        nursery.agent().map_err(|error| WorldError::Trouble(format!("start an agent: {error}")))
    }
}

impl World for HostWorld {
    fn name(&self) -> &'static str {
        "host"
    }

    fn kernel(&self) -> String {
        features::kernel().unwrap_or_default()
    }

    fn run(&self, case: &Case, keep: &dyn Fn(&Observation) -> Option<PathBuf>) -> Result<Observation, WorldError> {
        let expectation = Expectation::of(case);
        let slot = self.slots.take(usize::from(case.cpus));
        let mut stream = self.agent()?;
        // The bound of a hung agent: every wait of an agent is shorter than this.
        let bound = expectation.budget + 2 * expectation.patience + AGENT_GRACE;
        stream.set_read_timeout(Some(bound)).map_err(|error| WorldError::Trouble(error.to_string()))?;

        let mut agent = Agent { stream: &mut stream, pid: None };
        let errand = Errand {
            case: case.clone(),
            cpus: slot.cpus().to_vec(),
            plant: self.options.plant,
            capture: self.options.capture,
            capture_hosts: self.options.capture_hosts,
            evidence: false,
            carrier: self.options.carrier,
            coverage: false,
        };
        let observation = agent.observe(errand)?;
        let end = match keep(&observation) {
            Some(folder) => agent.keep(folder),
            None => agent.say(&Request::Forget),
        };
        agent.until_exit()?;
        end.map(|()| observation)
    }

    fn abandon(&self) {
        self.nursery.lock().unwrap_or_else(std::sync::PoisonError::into_inner).close();
    }
}

/// The conversation with one agent.
struct Agent<'a> {
    stream: &'a mut UnixStream,
    pid: Option<u32>,
}

impl Agent<'_> {
    fn observe(&mut self, errand: Errand) -> Result<Observation, WorldError> {
        self.say(&Request::Run(Box::new(errand)))?;
        loop {
            match self.hear()? {
                Reply::Started { pid } => self.pid = Some(pid),
                Reply::Observed(observation) => return Ok(*observation),
                Reply::Unable(text) => return Err(WorldError::Unable(text)),
                Reply::Trouble(text) => return Err(WorldError::Trouble(text)),
                Reply::Exited { how, .. } => return Err(WorldError::AgentLost(how)),
                Reply::Kept => {}
            }
        }
    }

    fn keep(&mut self, folder: PathBuf) -> Result<(), WorldError> {
        self.say(&Request::Keep { folder })?;
        match self.hear()? {
            Reply::Kept => Ok(()),
            Reply::Trouble(text) | Reply::Unable(text) => Err(WorldError::Trouble(text)),
            Reply::Exited { how, .. } => Err(WorldError::AgentLost(how)),
            Reply::Started { .. } | Reply::Observed(_) => Err(WorldError::Trouble("the agent lost its place".into())),
        }
    }

    /// Waits until the agent's process is gone, and everything it had with it.
    fn until_exit(&mut self) -> Result<(), WorldError> {
        loop {
            match self.hear()? {
                Reply::Exited { clean: true, .. } => return Ok(()),
                Reply::Exited { how, .. } => return Err(WorldError::AgentLost(how)),
                _ => {}
            }
        }
    }

    fn say(&mut self, request: &Request) -> Result<(), WorldError> {
        protocol::send(self.stream, request).map_err(|error| self.lost(error))
    }

    fn hear(&mut self) -> Result<Reply, WorldError> {
        protocol::receive(self.stream).map_err(|error| self.lost(error))
    }

    /// What a broken conversation means. A hung agent is killed here; its nursery does the rest.
    fn lost(&self, error: ProtocolError) -> WorldError {
        let hung = matches!(&error, ProtocolError::Gone(io) if io.kind() == io::ErrorKind::WouldBlock);
        match (hung, self.pid.and_then(|pid| i32::try_from(pid).ok())) {
            (true, Some(pid)) => {
                // It may have ended just now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                WorldError::AgentLost("hung and was killed".into())
            }
            (true, None) => WorldError::AgentLost("never started".into()),
            (false, _) => WorldError::AgentLost(format!("broke off: {error}")),
        }
    }
}
