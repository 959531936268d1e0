//! Worlds: where a case happens.

pub mod host;
pub mod uml;

mod slots;

use std::path::PathBuf;

use crate::case::{Case, KernelProgram};
use crate::observation::Observation;

/// A place where cases run. Several threads may run cases in it at once.
pub trait World: Send + Sync {
    /// Its name, as `--world` takes it.
    fn name(&self) -> &'static str;

    /// The kernel that its cases run on, as `uname -rv` shows it, or at least its release; empty if unknown.
    fn kernel(&self) -> String {
        String::new()
    }

    /// The program file of this kernel, if it has one.
    fn program(&self) -> Option<KernelProgram> {
        None
    }

    /// Whether the same case is the same run here, to the last packet: then one run decides.
    fn is_exact(&self) -> bool {
        false
    }

    /// Runs one case in an agent of its own and returns what was seen.
    ///
    /// `keep` is asked once the run is over: if it names a folder, which must exist, the agent leaves its evidence there
    /// (see [`crate::agent::evidence`]) before this call returns.
    fn run(&self, case: &Case, keep: &dyn Fn(&Observation) -> Option<PathBuf>) -> Result<Observation, WorldError>;

    /// Ends every case that is running now: its agent dies, and its [`run`](World::run) soon returns
    /// [`WorldError::AgentLost`]. Cases that start later run as usual. May be called from any thread, and repeatedly. A world
    /// whose cases always end at once need not do anything.
    fn abandon(&self) {}
}

/// Why a world could not run a case.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// This machine cannot run it; the text says what is missing and how to get it.
    #[error("{0}")]
    Unable(String),
    /// The agent ended before it answered: it crashed, hung or was killed.
    #[error("the agent of this case {0}")]
    AgentLost(String),
    /// Two runs of this case in an exact world were not the same; the text says what differs.
    #[error("two runs of this case differ: {0}")]
    Differs(String),
    /// The agent met trouble that has nothing to do with what is tested.
    #[error("{0}")]
    Trouble(String),
}
