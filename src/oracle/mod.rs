//! Oracles: pure functions from a case and what was seen of it to a verdict. No clock, no I/O.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::observation::Observation;

pub mod expectation;

pub use expectation::Expectation;

/// What a run of a case showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The kind.
    pub kind: Kind,
    /// What was seen, in one line. Empty for [`Kind::Pass`].
    pub what: String,
    /// What groups findings of one bug: the kind and what it looked like, without offsets, times and addresses.
    pub signature: String,
}

/// The kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All as it should be.
    Pass,
    /// Wrong bytes arrived.
    Corrupt,
    /// The stream ended before its last byte.
    Truncated,
    /// The stream went on after its last byte.
    Extra,
    /// No progress although the network would have let it.
    Stalled,
    /// An endpoint met an error that nothing in the case explains.
    Reset,
    /// MPTCP fell back to TCP for no reason in the case.
    UnexpectedFallback,
    /// A counter of the kernel moved, or failed to, against what the case implies.
    CounterBroken,
    /// Something was left over.
    Leak,
    /// The kernel complained.
    Splat,
    /// A foreign program crashed.
    Crashed,
    /// Trouble of our own: never a finding.
    HarnessError,
    /// This machine, or the time there was, could not decide the case.
    Skip,
}

impl Kind {
    /// Whether a verdict of this kind is a finding.
    pub fn is_finding(self) -> bool {
        !matches!(self, Kind::Pass | Kind::HarnessError | Kind::Skip)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Judges what was seen of a case.
pub fn judge(_case: &Case, _seen: &Observation) -> Verdict {
    todo!()
}
