//! What is checked beside the transfer: that no upper layer protocol can be put on the socket, and that the addresses of
//! the peer are what they must be.

use std::io;

use socket2::{SockAddr, Socket};

use super::options::{Options, Protocol};
use super::words::{Step, die, perror, say};
use crate::sys::sockopt;

/// `TCP_ULP` (include/uapi/linux/tcp.h).
const TCP_ULP: i32 = 31;

/// The longest name of an upper layer protocol that is looked at.
const ULP_NAME: usize = 8;

/// Checks that `socket` has no upper layer protocol but MPTCP's own, and takes neither `tls` on an MPTCP socket nor
/// `mptcp` on any. `protocol` is what it was opened with, where that is known; `when` is told with a failure.
pub(super) fn upper_layer(socket: &Socket, protocol: Option<Protocol>, when: &str) -> Step<()> {
    let number = protocol.map_or(0, Protocol::number);
    let wrong = |what: &str| die(&format!("TCP_ULP: {what}: failed for proto {number} {when}"));
    let mut name = [0; ULP_NAME];
    let length = sockopt::get_bytes(socket, libc::IPPROTO_TCP, TCP_ULP, &mut name).map_err(|_| wrong("getsockopt"))?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    if length > 0 && name != b"mptcp" {
        let name = String::from_utf8_lossy(name);
        return Err(die(&format!("unexpected ULP '{name}' for proto {number} {when}")));
    }
    if (length > 0 || protocol == Some(Protocol::Mptcp)) && set_upper_layer(socket, "tls").is_ok() {
        return Err(wrong("setsockopt"));
    }
    if set_upper_layer(socket, "mptcp").is_ok() {
        return Err(wrong("setsockopt"));
    }
    Ok(())
}

fn set_upper_layer(socket: &Socket, name: &str) -> io::Result<()> {
    sockopt::set_bytes(socket, libc::IPPROTO_TCP, TCP_ULP, name.as_bytes())
}

/// Says what is wrong with an address that accept(2) gave. Like the original it only says so.
pub(super) fn accepted_address(ipv6: bool, address: &SockAddr) {
    let (family, length, name) = if ipv6 {
        (libc::AF_INET6, size_of::<libc::sockaddr_in6>(), "ipv6")
    } else {
        (libc::AF_INET, size_of::<libc::sockaddr_in>(), "ip")
    };
    if address.as_socket().is_some_and(|address| address.port() == 0) {
        say(&format!("accept: something wrong: {name} connection from port 0"));
    }
    if address.len() as usize != length {
        say(&format!("accept: size mismatch, got {} expected {length}\n", address.len()));
    }
    if i32::from(address.family()) != family {
        say(&format!("accept: pf mismatch, expect {family}, ss_family is {}\n", address.family()));
    }
}

/// Says where an accepted socket's peer is another one than accept(2) gave.
pub(super) fn accepted_peer(socket: &Socket, address: &SockAddr) {
    let peer = match socket.peer_addr() {
        Ok(peer) => peer,
        Err(error) => return perror("getpeername", error),
    };
    if peer.len() != address.len() {
        say(&format!("check_getpeername: {} vs {}\n", peer.len(), address.len()));
    } else if peer != *address {
        let show = |address: &SockAddr| address.as_socket().map_or_else(String::new, |address| address.to_string());
        say(&format!("check_getpeername: memcmp failure: accept {} vs peername {}\n", show(address), show(&peer)));
    }
}

/// Says where a connected socket's peer is not what was asked for.
pub(super) fn connected_peer(socket: &Socket, options: &Options) {
    let peer = match socket.peer_addr().map(|peer| peer.as_socket()) {
        Ok(Some(peer)) => peer,
        Ok(None) => return,
        Err(error) => return perror("getpeername", error),
    };
    let (address, port) = (peer.ip().to_string(), peer.port().to_string());
    let asked = options.host.split('%').next().unwrap_or_default();
    if address != asked || port != options.port {
        say(&format!("check_getpeername_connect: {} vs {address}, {} vs {port}\n", options.host, options.port));
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;
    use crate::connect::words::Exit;

    #[test]
    fn fresh_sockets_pass() {
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::TCP)).expect("a socket");
        assert_eq!(upper_layer(&tcp, Some(Protocol::Tcp), "here"), Ok(()));
        match Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::MPTCP)) {
            Ok(mptcp) => assert_eq!(upper_layer(&mptcp, Some(Protocol::Mptcp), "here"), Ok(())),
            Err(error) => println!("SKIP: no MPTCP sockets: {error}"),
        }
    }

    #[test]
    fn a_socket_that_is_none_fails() {
        let (pair, _other) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("a pair");
        assert_eq!(upper_layer(&pair, None, "here"), Err(Exit::TROUBLE));
    }
}
