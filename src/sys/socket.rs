//! Calls on sockets that no crate wraps as they are needed here.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd};

/// Room for the ancillary data of one call.
const CONTROL: usize = 1024;

/// One piece of ancillary data, as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancillary {
    /// SOL_SOCKET, IPPROTO_TCP, ...
    pub level: i32,
    /// Its type in that level.
    pub kind: i32,
    /// Its data.
    pub data: Vec<u8>,
}

/// Aligned as struct cmsghdr wants it.
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// As recvmsg(2) into one buffer: how many bytes came, and the ancillary data.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive_with_ancillary(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<Ancillary>)> {
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: struct msghdr is plain data; all zeros is one of its values.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: the message points to one buffer and to the room for ancillary data, both as long as it says.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut found = Vec::new();
    // SAFETY: the kernel filled the control buffer and said how far; the macros walk it within that.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !next.is_null() {
        // SAFETY: the macros give only headers that lie whole within the buffer, aligned as they must be.
        let header = unsafe { &*next };
        // SAFETY: CMSG_LEN only computes.
        let size = (header.cmsg_len as usize).saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
        // SAFETY: `cmsg_len`, which the kernel wrote, says that so much data stands behind this header.
        let data = unsafe { std::slice::from_raw_parts(libc::CMSG_DATA(next), size) };
        found.push(Ancillary { level: header.cmsg_level, kind: header.cmsg_type, data: data.to_vec() });
        // SAFETY: as above, from a header that lies in the buffer.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    Ok((length, found))
}

/// Ends the connection of a socket, which can then be connected again: connect(2) to AF_UNSPEC. What is not sent yet is
/// lost.
///
/// # Errors
/// Those of connect(2).
pub fn disconnect(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: struct sockaddr_storage is plain data; all zeros is one of its values, and its family is AF_UNSPEC.
    let nowhere: libc::sockaddr_storage = unsafe { zeroed() };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address is longer than `length` says.
    let result = unsafe { libc::connect(socket.as_fd().as_raw_fd(), (&raw const nowhere).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::sockopt;

    #[test]
    fn a_socket_is_connected_a_second_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let address = listener.local_addr().expect("bound").into();
        for _ in 0..2 {
            socket.connect(&address).expect("connect");
            listener.accept().expect("accept");
            disconnect(&socket).expect("disconnect");
            assert!(socket.peer_addr().is_err());
        }
    }

    #[test]
    fn ancillary_data_comes_with_the_bytes() {
        const TCP_INQ: i32 = 36;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        sockopt::set_int(&server, libc::IPPROTO_TCP, TCP_INQ, 1).expect("TCP_INQ");
        client.write_all(b"rapids").expect("write");
        let mut buffer = [0; 4];
        let (length, ancillary) = receive_with_ancillary(&server, &mut buffer).expect("recvmsg");
        assert_eq!(&buffer[..length], b"rapi");
        let left = Ancillary { level: libc::IPPROTO_TCP, kind: TCP_INQ, data: 2_i32.to_ne_bytes().to_vec() };
        assert_eq!(ancillary, [left]);
    }
}
