//! Copying: sending the bytes of one stream and reading another over one connected socket.
//!
//! [`Copier`] is the state machine: it takes what happened ([`Event`]) and answers what to do next ([`Action`]). It holds no
//! descriptor, reads no clock and is random only by its plan's seed, so endpoints, property tests and the fuzz target all
//! drive the same machine. [`drive`] is the driver that feeds it from poll(2).
//!
//! This room does not know what the bytes are, or whether those that arrive are right.

mod cut;
mod drive;
mod inlet;
mod machine;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod model;
mod outlet;
mod plan;
mod progress;
mod socket;
#[cfg(test)]
mod tests;

pub use drive::drive;
pub use inlet::Inlet;
pub use machine::{Action, CALLS, Copier, Event, Ready, STATES};
pub use outlet::Outlet;
pub use plan::{Ended, Outcome, Plan, When};
pub use progress::Progress;
pub use socket::Socket;

/// The size of the buffers, and so the most that one call moves, in bytes.
pub const BUFFER: usize = 64 * 1024;

/// Three pieces of this many bytes, for calls that take several: the first has one byte, and none is longer than the last.
fn thirds(length: usize) -> [std::ops::Range<usize>; 3] {
    let first = length.min(1);
    let second = first + (length - first) / 3;
    [0..first, first..second, second..length]
}
