//! The driver: feeds the machine from poll(2).

use std::io;
use std::ops::{ControlFlow, Range};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::{Action, BUFFER, Copier, Event, Outcome, Plan, Progress, Ready, Socket};

/// How many wake-ups in a row may come to nothing before the driver stops trusting poll.
const IDLE_WAKES: u32 = 8;

/// How long the driver then leaves the socket alone each time, so that a socket that is always ready and never works
/// does not cost a CPU.
const NAP: Duration = Duration::from_millis(1);

/// The longest single poll: waking up early does no harm, and any longer rest is waited for in parts.
const POLL_AT_MOST: Duration = Duration::from_secs(3600);

/// Carries out `plan` on `socket` until it is done, a call fails, or `stop` is readable.
///
/// `fill(offset, buffer)` writes the bytes of the stream to send from `offset` on into `buffer`; the same bytes may be
/// asked for again. `take(bytes)` gets what was read, in order, each byte once; where it breaks, the copier is stopped.
/// `progress` is kept up to date.
pub fn drive(
    plan: Plan,
    socket: &mut dyn Socket,
    fill: &mut dyn FnMut(u64, &mut [u8]),
    take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    progress: &Progress,
    stop: BorrowedFd<'_>,
) -> Outcome {
    let mut waiter = Waiter::new(stop, plan.has_rests());
    let mut copier = Copier::new(plan);
    let mut outgoing = Outgoing { bytes: vec![0; BUFFER], holds: 0..0 };
    let mut incoming = vec![0; BUFFER];
    let mut event = Event::Woken { now: waiter.now(), ready: Ready::default() };
    let mut enough = false;
    loop {
        let action = copier.step(event);
        progress.show(&copier);
        event = match action {
            Action::Finish(ended) => return copier.outcome(ended),
            _ if enough => Event::Stop,
            Action::Wait { read, write, until } => waiter.wait(socket.as_fd(), read, write, until, copier.moves()),
            Action::Read { at_most } => Event::Read(socket.read(&mut incoming[..at_most]).map_err(errno_of)),
            Action::Write { offset, length } => {
                Event::Written(socket.write(outgoing.bytes(offset, length, fill)).map_err(errno_of))
            }
            Action::ShutDown => Event::ShutDown(socket.shut_down().map_err(errno_of)),
        };
        if let Event::Read(Ok(length)) = event
            && length > 0
        {
            enough = take(&incoming[..length]).is_break();
        }
    }
}

/// The bytes about to be sent. What the socket did not take is kept, not made again.
struct Outgoing {
    bytes: Vec<u8>,
    holds: Range<u64>,
}

impl Outgoing {
    fn bytes(&mut self, offset: u64, length: usize, fill: &mut dyn FnMut(u64, &mut [u8])) -> &[u8] {
        let end = offset + length as u64;
        if self.holds.contains(&offset) {
            let skip = (offset - self.holds.start) as usize;
            let held = (self.holds.end - self.holds.start) as usize;
            self.bytes.copy_within(skip..held, 0);
        } else {
            self.holds.end = offset;
        }
        self.holds.start = offset;
        if self.holds.end < end {
            let held = (self.holds.end - offset) as usize;
            fill(self.holds.end, &mut self.bytes[held..length]);
            self.holds.end = end;
        }
        &self.bytes[..length]
    }
}

/// Waits with poll, and is the only one to look at a clock.
struct Waiter<'a> {
    stop: BorrowedFd<'a>,
    zero: Instant,
    /// Whether the copier needs to know the time. A guest pays for each look at it.
    rests: bool,
    /// How far the copier was at the last wake-up that poll called ready, and how many such wake-ups came to nothing since.
    moves: u64,
    idle_wakes: u32,
}

impl<'a> Waiter<'a> {
    fn new(stop: BorrowedFd<'a>, rests: bool) -> Waiter<'a> {
        Waiter { stop, zero: Instant::now(), rests, moves: 0, idle_wakes: 0 }
    }

    fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    fn wait(&mut self, socket: BorrowedFd<'_>, read: bool, write: bool, until: Option<Duration>, moves: u64) -> Event {
        if moves != self.moves {
            (self.moves, self.idle_wakes) = (moves, 0);
        }
        if self.idle_wakes >= IDLE_WAKES {
            let nap = self.now().saturating_add(NAP);
            // Nothing is polled but the stop descriptor; then the socket gets its chance once more.
            match self.poll(None, Some(until.map_or(nap, |until| until.min(nap)))) {
                Ok(_) => {}
                Err(event) => return event,
            }
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, read);
        wanted.set(PollFlags::POLLOUT, write);
        // poll reports a hang-up even if nothing is wanted; then the socket is left out.
        let found = match self.poll((!wanted.is_empty()).then_some((socket, wanted)), until) {
            Ok(found) => found,
            Err(event) => return event,
        };
        let ready = Ready {
            read: found.contains(PollFlags::POLLIN),
            write: found.contains(PollFlags::POLLOUT),
            hung_up: found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL),
        };
        self.idle_wakes += u32::from(ready != Ready::default());
        Event::Woken { now: if self.rests { self.now() } else { Duration::ZERO }, ready }
    }

    /// What poll found of the socket, or the event that ends the waiting. An interrupted poll found nothing.
    fn poll(&self, socket: Option<(BorrowedFd<'_>, PollFlags)>, until: Option<Duration>) -> Result<PollFlags, Event> {
        let timeout = until.map(|until| TimeSpec::from_duration(until.saturating_sub(self.now()).min(POLL_AT_MOST)));
        let mut fds = vec![PollFd::new(self.stop, PollFlags::POLLIN)];
        fds.extend(socket.map(|(socket, wanted)| PollFd::new(socket, wanted)));
        match ppoll(&mut fds, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Event::PollFailed(errno)),
        }
        let found = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        if !found(&fds[0]).is_empty() {
            return Err(Event::Stop);
        }
        Ok(fds.get(1).map_or(PollFlags::empty(), found))
    }
}

fn errno_of(error: io::Error) -> Errno {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number),
        None if error.kind() == io::ErrorKind::WouldBlock => Errno::EAGAIN,
        None if error.kind() == io::ErrorKind::Interrupted => Errno::EINTR,
        None => Errno::EIO,
    }
}
