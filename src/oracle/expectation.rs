//! What a case may lead to, derived from its data alone.

use std::time::Duration;

use crate::case::Case;

/// What may happen in a case, and how long its parts may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How long no byte may move before the transfer counts as stalled. Counted by the agent in ticks that its own CPU
    /// granted, so a busy machine is given more time.
    pub patience: Duration,
    /// How long the whole transfer may take before the run is given up undecided.
    pub budget: Duration,
    /// Whether MPTCP may fall back to TCP.
    pub may_fall_back: bool,
    /// Whether the kernel may give up the connection (ETIMEDOUT and what follows from it).
    pub may_time_out: bool,
}

impl Expectation {
    /// What `case` may lead to.
    pub fn of(_case: &Case) -> Expectation {
        todo!()
    }
}
