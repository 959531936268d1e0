//! Both ways at once, driven by poll(2).

use std::io::{self, Stdout};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;
use socket2::Socket;

use super::receive;
use super::send::{self, Outgoing};
use super::session::Session;
use super::words::{Exit, Step, perror, say};
use crate::sys::signal;

/// The bytes that are read at once.
const BUFFER: usize = 8192;

/// A transfer under way.
struct Transfer<'a> {
    session: &'a mut Session,
    input: BorrowedFd<'a>,
    socket: &'a Socket,
    output: Stdout,
    outgoing: &'a mut Outgoing,
    /// What is waited for.
    wanted: PollFlags,
    sent: u64,
    received: u64,
}

/// What the transfer does next.
enum Next {
    /// The other direction.
    On,
    /// Waits again.
    Again,
    /// Ends, well.
    End,
}

/// Copies both ways. Says whether the peer's end of stream came last, so that this end took the longer.
pub(super) fn copy(
    session: &mut Session,
    input: BorrowedFd<'_>,
    socket: &Socket,
    outgoing: &mut Outgoing,
) -> Step<bool> {
    // As the original's fcntl, whose failure would show elsewhere.
    let _ = socket.set_nonblocking(true);
    let wanted = PollFlags::POLLIN | PollFlags::POLLOUT;
    let mut transfer =
        Transfer { session, input, socket, output: io::stdout(), outgoing, wanted, sent: 0, received: 0 };
    let end_came_last = transfer.run()?;
    if transfer.session.options.slow.is_some() && !signal::user_signal_came() {
        // Some time for late joins and announcements.
        send::rest(transfer.session.options.wait);
    }
    Ok(end_came_last)
}

impl Transfer<'_> {
    fn run(&mut self) -> Step<bool> {
        let mut buffer = vec![0; BUFFER];
        while !self.wanted.is_empty() && !signal::user_signal_came() {
            let found = self.wait()?;
            if found.contains(PollFlags::POLLIN) {
                match self.read(&mut buffer)? {
                    Next::On | Next::Again => {}
                    Next::End => return Ok(self.wanted.is_empty()),
                }
            }
            if found.contains(PollFlags::POLLOUT) {
                match self.write()? {
                    Next::On => {}
                    Next::Again => continue,
                    Next::End => return Ok(false),
                }
            }
            if found.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL) {
                if self.session.options.tolerant {
                    continue;
                }
                say(&format!("Unexpected revents: POLLERR/POLLNVAL({:x})\n", found.bits()));
                return Err(Exit::BROKEN);
            }
            if self.session.options.stop_after.is_some_and(|most| self.sent >= most && self.received >= most) {
                break;
            }
        }
        Ok(false)
    }

    fn wait(&self) -> Step<PollFlags> {
        let timeout = self.session.poll_timeout();
        let mut fds = [PollFd::new(self.socket.as_fd(), self.wanted)];
        match poll(&mut fds, timeout) {
            Ok(0) => {
                let bit = |flag| (self.wanted & flag).bits();
                let (read, write) = (bit(PollFlags::POLLIN), bit(PollFlags::POLLOUT));
                say(&format!("copyfd_io_poll: poll timed out (events: POLLIN {read}, POLLOUT {write})\n"));
                Err(Exit::NOT_THROUGH)
            }
            Ok(_) => Ok(fds[0].revents().unwrap_or(PollFlags::empty())),
            Err(Errno::EINTR) => Ok(PollFlags::empty()),
            Err(errno) => {
                perror("poll", errno);
                Err(Exit::TROUBLE)
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Step<Next> {
        let result = match self.session.options.stop_after {
            Some(most) => {
                let left = usize::try_from(most - self.received).map_or(BUFFER, |left| left.min(BUFFER));
                read(self.socket, &mut buffer[..left]).map_err(io::Error::from)
            }
            None => self.session.reader.read(self.socket, buffer)?,
        };
        match result {
            Ok(0) => {
                self.wanted -= PollFlags::POLLIN;
                Ok(if self.wanted.is_empty() { Next::End } else { Next::On })
            }
            Ok(length) => {
                self.received += length as u64;
                receive::store(&self.output, &buffer[..length])?;
                Ok(Next::On)
            }
            Err(_) if self.session.options.tolerant => Ok(Next::End),
            Err(error) => {
                perror("read", error);
                Err(Exit::READ)
            }
        }
    }

    fn write(&mut self) -> Step<Next> {
        match self.outgoing.fill(self.input) {
            Err(Errno::EINTR) => return Ok(Next::Again),
            Err(errno) => {
                perror("read", errno);
                return Err(Exit::INPUT);
            }
            Ok(0) => {
                self.wanted -= PollFlags::POLLOUT;
                if self.wanted.is_empty() {
                    return Ok(Next::End);
                }
                self.session.shut_down(self.socket);
                return Ok(Next::On);
            }
            Ok(_) => {}
        }
        if let Some(most) = self.session.options.stop_after {
            self.outgoing.cut(usize::try_from(most - self.sent).unwrap_or(usize::MAX));
        }
        match self.session.writer.write(self.socket, self.outgoing.bytes()) {
            Ok(length) => {
                self.outgoing.advance(length);
                self.sent += length as u64;
                Ok(Next::On)
            }
            Err(error) if self.session.options.tolerant && is_expected(&error) => {
                // The peer's reset: there may still be something to read.
                self.wanted -= PollFlags::POLLOUT;
                Ok(Next::Again)
            }
            Err(error) => {
                perror("write", error);
                Err(Exit::WRITE)
            }
        }
    }
}

fn is_expected(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ECONNRESET | Errno::EPIPE))
}

/// The longest wait as poll(2) wants it.
pub(super) fn timeout(longest: Option<std::time::Duration>) -> PollTimeout {
    longest.map_or(PollTimeout::NONE, |longest| PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX))
}
