//! A connected socket as the copier sees it.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::case::{Io, Receiving};
use crate::copier::{self, Inlet, Outlet};
use crate::observation::{MptcpState, Story};
use crate::sys::sockopt;

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: socket2::Socket,
    io: Io,
    outlet: Outlet,
    inlet: Inlet,
}

impl Wire {
    /// A wire that sends `total` bytes and expects `incoming`, by the calls that `io` names.
    pub(super) fn new(socket: socket2::Socket, io: Io, total: u64, incoming: u64) -> io::Result<Wire> {
        Ok(Wire { socket, io, outlet: Outlet::new(io.send, total)?, inlet: Inlet::new(io, incoming)? })
    }

    /// How it receives.
    pub(super) fn receiving(&self) -> Receiving {
        self.io.receive
    }

    /// Spoils the last `taken` bytes that were sent, where the kernel may still look at them.
    pub(super) fn spoil(&mut self, taken: usize) {
        self.outlet.spoil(taken);
    }

    /// Tells which calls there were, and where the kernel contradicted itself.
    pub(super) fn tell(&mut self, story: &mut Story) {
        self.outlet.collect(self.socket.as_fd());
        let calls = self.outlet.calls().chain(self.inlet.calls());
        story.calls = calls.map(|(name, count)| (name.to_owned(), count)).collect();
        story.contradictions = self.inlet.contradictions().to_vec();
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
        let result = self.inlet.read(self.socket.as_fd(), buffer);
        if result.is_err() {
            self.outlet.collect(self.socket.as_fd());
        }
        result
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
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

/// Waits until `socket` is ready for `events`, or has an error to tell, or `stop` is readable.
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
