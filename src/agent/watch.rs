//! Watching over a transfer: it ends, or nothing moves any more, or its time is over.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::copier::Progress;
use crate::observation::End;
use crate::oracle::Expectation;

/// How often the watcher looks, and the most that one look may add to the time in which nothing moved: where this
/// process gets no CPU, its kernel timers may fire but its endpoints cannot run, and that is nobody's stall.
const TICK: Duration = Duration::from_millis(50);

/// How endpoints say that they have ended: one number that each adds to. A channel of the standard library would look at
/// the clock seven times a tick, each time for as much as a tick costs here.
#[derive(Debug)]
pub(super) struct Ends(EventFd);

/// Says that an endpoint has ended, by whatever way its thread does.
#[derive(Debug)]
pub(super) struct Ending<'a>(&'a Ends);

impl Ends {
    pub(super) fn new() -> Result<Ends, Errno> {
        EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map(Ends)
    }

    /// To be dropped when an endpoint has ended.
    pub(super) fn one(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Waits for a tick at most. How many have ended meanwhile.
    fn wait(&self) -> usize {
        let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], tick) {
            Ok(1) => self.0.read().map_or(0, |ended| ended as usize),
            // Interrupted, or nothing: the caller looks at the time.
            _ => 0,
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // It is a number far from its end, so nothing can be in the way.
        let _ = self.0.0.write(1);
    }
}

/// Waits for both endpoints to end, each of which says so by `ends`. Where nothing moves for a while, `heal` is called:
/// a transfer that a rough network holds up is to come through once the network is smooth.
///
/// Returns how it ended, and the longest time on end in which nothing moved.
pub(super) fn watch(
    ends: &Ends,
    progress: [&Progress; 2],
    expectation: &Expectation,
    heal: impl Fn(),
) -> (End, Duration) {
    let start = Instant::now();
    let mut running = progress.len();
    let mut idle = Duration::ZERO;
    let mut moved = progress.map(Progress::moves);
    let mut last = start;
    let mut healed = false;
    let mut silence = Duration::ZERO;
    while running > 0 {
        let ended = ends.wait();
        if ended > 0 {
            running = running.saturating_sub(ended);
            idle = Duration::ZERO;
            continue;
        }
        let now = Instant::now();
        let seen = progress.map(Progress::moves);
        if seen != moved || progress.iter().any(|endpoint| endpoint.is_pausing()) {
            moved = seen;
            idle = Duration::ZERO;
        } else {
            idle += (now - last).min(TICK);
        }
        last = now;
        silence = silence.max(idle);
        if idle >= expectation.quiet && !healed {
            healed = true;
            heal();
        }
        if idle >= expectation.patience {
            return (End::Stalled { idle }, silence);
        }
        if now - start >= expectation.budget {
            return (End::OutOfTime, silence);
        }
    }
    (End::Finished, silence)
}
