//! What a copier shows to a watcher while it works.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::{Copier, STATES};

/// How far a copier is, for another thread to see. Each figure is true by itself; two of them may be a moment apart.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    received: AtomicU64,
    moves: AtomicU64,
    state: AtomicUsize,
    pausing: AtomicBool,
}

impl Progress {
    /// Nothing has happened yet.
    pub fn new() -> Progress {
        Progress::default()
    }

    /// How many bytes the socket has taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many bytes have been read.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Grows whenever bytes move, a planned rest ends, the sending side is shut down or the peer's end is read. As long
    /// as it stands still while the copier is not [pausing](Progress::is_pausing), nothing happens.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Whether the copier rests, in either direction, because its plan says so: then nothing need happen.
    pub fn is_pausing(&self) -> bool {
        self.pausing.load(Ordering::Relaxed)
    }

    /// Where it is: one of [`STATES`].
    pub fn state(&self) -> &'static str {
        STATES[self.state.load(Ordering::Relaxed)]
    }

    /// Shows where `copier` is.
    pub fn show(&self, copier: &Copier) {
        self.sent.store(copier.sent(), Ordering::Relaxed);
        self.received.store(copier.received(), Ordering::Relaxed);
        self.state.store(copier.state_index(), Ordering::Relaxed);
        self.pausing.store(copier.is_pausing(), Ordering::Relaxed);
        self.moves.store(copier.moves(), Ordering::Relaxed);
    }
}
