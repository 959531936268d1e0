//! What a copier shows to a watcher while it works.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;

use super::{Copier, STATES};

/// How far a copier has got, for another thread to see. Each figure is right by itself; two of them may be a moment apart.
#[derive(Debug)]
pub struct Progress {
    sent: AtomicU64,
    received: AtomicU64,
    moves: AtomicU64,
    state: AtomicUsize,
    pausing: AtomicBool,
    /// Who waits for bytes, and for how many.
    watcher: OnceLock<Thread>,
    alarm: AtomicU64,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            sent: AtomicU64::default(),
            received: AtomicU64::default(),
            moves: AtomicU64::default(),
            state: AtomicUsize::default(),
            pausing: AtomicBool::default(),
            watcher: OnceLock::new(),
            alarm: AtomicU64::new(u64::MAX),
        }
    }
}

impl Progress {
    /// Nothing has happened yet.
    pub fn new() -> Progress {
        Progress::default()
    }

    /// Unparks `thread` whenever the bytes come that [`Progress::wake_at`] asks for. The first call counts.
    pub fn watched_by(&self, thread: Thread) {
        // A second watcher is a mistake of the caller's, who then waits longer.
        let _ = self.watcher.set(thread);
    }

    /// Asks to be woken up once this many bytes have been read, or soon after where they have been already. Only the least
    /// number asked for since the last waking counts.
    pub fn wake_at(&self, bytes: u64) {
        self.alarm.fetch_min(bytes, Ordering::AcqRel);
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
        if copier.received() >= self.alarm.load(Ordering::Acquire) {
            self.alarm.store(u64::MAX, Ordering::Release);
            self.watcher.get().into_iter().for_each(Thread::unpark);
        }
    }
}
