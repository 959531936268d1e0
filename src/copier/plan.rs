//! What a copier is to do, and what came of it.

use std::time::Duration;

use nix::errno::Errno;

use crate::case::{Chunks, Pattern};
use crate::seed::Seed;

/// Everything that a copier is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many bytes to send.
    pub send: u64,
    /// How to cut the writes, and where to rest.
    pub write: Chunks,
    /// How to cut the reads, and where to rest.
    pub read: Chunks,
    /// When to start sending.
    pub start: When,
    /// When to shut down the sending side, once everything is sent.
    pub shut_down: When,
    /// How long to rest between the last byte and the shutdown.
    pub pause: Duration,
    /// When to leave, whatever is left to do: once this many bytes are sent, and so many received.
    pub leave: Option<(u64, u64)>,
    /// Where random chunk sizes come from.
    pub seed: Seed,
    /// The name of this copier's random streams: `client`, `server`.
    pub name: &'static str,
}

impl Default for Plan {
    /// Sends nothing and shuts down at once.
    fn default() -> Plan {
        Plan {
            send: 0,
            write: Chunks::default(),
            read: Chunks::default(),
            start: When::AtOnce,
            shut_down: When::AtOnce,
            pause: Duration::ZERO,
            leave: None,
            seed: Seed::default(),
            name: "copier",
        }
    }
}

impl Plan {
    /// Whether it rests anywhere: where not, it does not matter what time it is.
    pub fn has_rests(&self) -> bool {
        let rests = |chunks: &Chunks| !chunks.pauses.is_empty() || matches!(chunks.pattern, Pattern::Bursts { .. });
        !self.pause.is_zero() || rests(&self.write) || rests(&self.read)
    }
}

/// The earliest moment for a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// As soon as it can be.
    #[default]
    AtOnce,
    /// Once the end of the peer's stream has been read.
    AfterEnd,
}

/// How a copier came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything is sent, the sending side is shut down, and the end of the peer's stream was read.
    Done,
    /// It left where its plan says so.
    Left,
    /// It was told to stop.
    Stopped,
    /// A call failed.
    Failed {
        /// `send`, `recv`, `shutdown` or `poll`.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
}

/// What came of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many bytes the socket took.
    pub sent: u64,
    /// How many bytes were read.
    pub received: u64,
    /// Whether the sending side was shut down.
    pub shut_down: bool,
    /// Whether the end of the peer's stream was read.
    pub end_of_stream: bool,
    /// How it ended.
    pub ended: Ended,
    /// Where it was then: one of [`STATES`](super::STATES).
    pub state: &'static str,
}
