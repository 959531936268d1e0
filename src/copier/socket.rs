//! What the driver needs of a socket.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;

/// A connected stream socket that does not block.
pub trait Socket: AsFd {
    /// Reads once, as recv(2) does: 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of recv(2); [`io::ErrorKind::WouldBlock`] where nothing is there.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes once, as send(2) does, without SIGPIPE.
    ///
    /// # Errors
    /// Those of send(2); [`io::ErrorKind::WouldBlock`] where there is no room.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize>;

    /// Shuts down the sending side, as shutdown(2) with SHUT_WR does.
    ///
    /// # Errors
    /// Those of shutdown(2).
    fn shut_down(&mut self) -> io::Result<()>;
}

impl Socket for socket2::Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buffer)
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.send_with_flags(buffer, libc::MSG_NOSIGNAL)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
