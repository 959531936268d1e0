//! Watching over a transfer: it ends, or nothing moves any more, or its time is over.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::copier::Progress;
use crate::observation::End;
use crate::oracle::Expectation;

/// How often the watcher looks, and the most that one look may add to the time in which nothing moved: where this
/// process gets no CPU, its kernel timers may fire but its endpoints cannot run, and that is nobody's stall.
const TICK: Duration = Duration::from_millis(50);

/// Waits for both endpoints to end, each of which says so over `ended`. Where nothing moves for a while, `heal` is called:
/// a transfer that a rough network holds up is to come through once the network is smooth.
///
/// Returns how it ended, and the longest time on end in which nothing moved.
pub(super) fn watch(
    ended: &Receiver<()>,
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
        match ended.recv_timeout(TICK) {
            Ok(()) => {
                running -= 1;
                idle = Duration::ZERO;
                continue;
            }
            // Both senders are gone without a word: the endpoints' threads have ended.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
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
