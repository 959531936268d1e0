//! A connected socket as the copier sees it.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::copier;
use crate::observation::MptcpState;
use crate::sys::sockopt;

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: socket2::Socket,
}

impl Wire {
    pub(super) fn new(socket: socket2::Socket) -> Wire {
        Wire { socket }
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
        Read::read(&mut self.socket, buffer)
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // A peer that is gone is an error to tell of, not a signal to die from.
        self.socket.send_with_flags(buffer, libc::MSG_NOSIGNAL)
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
