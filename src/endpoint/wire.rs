//! A connected socket as the copier sees it.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::options;
use crate::case::{Change, Io, Receiving, Way};
use crate::copier::{self, Inlet, Outlet};
use crate::observation::{MptcpState, Story};
use crate::sys::sockopt;

/// A connected, non-blocking stream socket; or one that connects by its first write.
#[derive(Debug)]
pub(super) struct Wire {
    socket: socket2::Socket,
    io: Io,
    outlet: Outlet,
    inlet: Inlet,
    /// Where the first write connects to.
    connects_to: Option<socket2::SockAddr>,
    /// Whether the connection may still be on its way.
    connecting: bool,
    /// Options that are still to be set, the last one first.
    changes: Vec<Change>,
    /// What befell while they were set.
    aside: Story,
    opened: u64,
}

/// What a wire has to do.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// How many bytes it sends.
    pub(super) total: u64,
    /// How many the peer sends.
    pub(super) incoming: u64,
    /// By which calls.
    pub(super) io: Io,
    /// Which options change on the way, in order.
    pub(super) changes: Vec<Change>,
    /// Where its first write connects to, with MSG_FASTOPEN; `None`: it is connected.
    pub(super) connects_to: Option<socket2::SockAddr>,
}

impl Wire {
    /// A wire that does `job`.
    pub(super) fn new(socket: socket2::Socket, job: Job) -> io::Result<Wire> {
        let Job { total, incoming, io, mut changes, connects_to } = job;
        changes.reverse();
        let (outlet, inlet) = (Outlet::new(io.send, total)?, Inlet::new(io, incoming)?);
        let connecting = connects_to.is_some();
        Ok(Wire { socket, io, outlet, inlet, connects_to, connecting, changes, aside: Story::default(), opened: 0 })
    }

    /// Whether a shutdown now might come before the connection, which would end it (net/ipv4/af_inet.c, inet_shutdown).
    pub(super) fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Says that it is connected.
    pub(super) fn connected(&mut self) {
        self.connecting = false;
    }

    /// Sets the options whose turn has come.
    fn change(&mut self) {
        while let Some(change) = self.changes.last().copied() {
            let moved = match change.of {
                Way::Sent => self.outlet.sent(),
                Way::Received => self.inlet.received(),
            };
            if moved < change.at {
                break;
            }
            self.changes.pop();
            options::set_number(&self.socket, change.option, change.value, &mut self.aside);
            *self.aside.calls.entry("options changed".into()).or_default() += 1;
        }
    }

    /// The first write: bytes and SYN at once, where there is a cookie for it.
    fn open(&mut self, to: &socket2::SockAddr, buffer: &[u8]) -> io::Result<usize> {
        match self.socket.send_to_with_flags(buffer, to, libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL) {
            Ok(taken) => {
                self.outlet.skip(taken);
                self.opened += 1;
                Ok(taken)
            }
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => match self.socket.connect(to) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// How it receives.
    pub(super) fn receiving(&self) -> Receiving {
        self.io.receive
    }

    /// Spoils the last `taken` bytes that were sent, where the kernel may still look at them.
    pub(super) fn spoil(&mut self, taken: usize) {
        self.outlet.spoil(taken);
    }

    /// Adds to the story which calls there were, and where the kernel contradicted itself.
    pub(super) fn tell(&mut self, story: &mut Story) {
        self.outlet.collect(self.socket.as_fd());
        for (name, count) in self.outlet.calls().chain(self.inlet.calls()) {
            *story.calls.entry(name.to_owned()).or_default() += count;
        }
        for (name, count) in std::mem::take(&mut self.aside.calls) {
            *story.calls.entry(name).or_default() += count;
        }
        if self.opened > 0 {
            *story.calls.entry("bytes with the SYN".into()).or_default() += self.opened;
        }
        for refused in self.aside.refused_options.drain(..) {
            if !story.refused_options.contains(&refused) {
                story.refused_options.push(refused);
            }
        }
        story.contradictions.extend_from_slice(self.inlet.contradictions());
    }

    /// The socket, still open.
    pub(super) fn into_socket(self) -> socket2::Socket {
        self.socket
    }

    /// What the kernel says of an MPTCP socket. One whose peer spoke plain TCP may have become a TCP socket
    /// (net/mptcp/protocol.c, mptcp_stream_accept), which knows no `MPTCP_INFO`: it has fallen back, too.
    pub(super) fn mptcp_state(&self) -> MptcpState {
        match sockopt::mptcp_info(&self.socket) {
            Ok(info) => info,
            Err(_) => MptcpState { fallback: true, ..MptcpState::default() },
        }
    }

    /// The receive window last offered to the peer, in bytes.
    pub(super) fn receive_window(&self) -> io::Result<u32> {
        sockopt::tcp_receive_window(&self.socket)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl copier::Socket for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.connects_to.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.change();
        let result = self.inlet.read(self.socket.as_fd(), buffer);
        match &result {
            // Nothing comes before the connection.
            Ok(length) => self.connecting &= *length == 0,
            Err(_) => self.outlet.collect(self.socket.as_fd()),
        }
        result
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.change();
        if let Some(to) = self.connects_to.take() {
            return self.open(&to, buffer);
        }
        self.outlet.write(self.socket.as_fd(), buffer)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}

/// What a wait ended with.
pub(super) enum Awaited {
    /// The socket is ready.
    Ready,
    /// The endpoint has to stop.
    Stop,
}

/// Waits until `socket` is ready for `events`, or has an error, or `stop` is readable.
pub(super) fn wait(socket: BorrowedFd<'_>, events: PollFlags, stop: BorrowedFd<'_>) -> io::Result<Awaited> {
    let mut fds = [PollFd::new(socket, events), PollFd::new(stop, PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[1].any().unwrap_or(false) => return Ok(Awaited::Stop),
            Ok(_) => return Ok(Awaited::Ready),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
