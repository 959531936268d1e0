//! The sockets of a namespace, as sock_diag(7) shows them and `ss -Menitam` prints them.
//!
//! The messages are put together and read by hand: `netlink-packet-sock-diag` 0.5 has no attributes in requests, and asking
//! for MPTCP takes one (the field for the protocol has 8 bits, IPPROTO_MPTCP is 262).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NlasIterator};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::errno::Errno;

use super::NetError;
use super::namespace::Namespace;
use crate::observation::SocketState;

mod info;
pub mod text;

// include/uapi/linux/{sock_diag,inet_diag,netlink}.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_MARK: u16 = 15;
const INET_DIAG_ULP_INFO: u16 = 19;
const INET_ULP_INFO_NAME: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// The length of struct nlmsghdr, and of struct inet_diag_msg behind it.
const HEADER: usize = 16;
const MESSAGE: usize = 72;

/// The largest datagram of a dump.
const ANSWER: usize = 64 * 1024;

/// The protocols that are asked for.
const PROTOCOLS: [(&str, u32); 2] = [("tcp", libc::IPPROTO_TCP as u32), ("mptcp", libc::IPPROTO_MPTCP as u32)];

/// All TCP and MPTCP sockets of a namespace, IPv4 and IPv6, in any state: listeners and TIME-WAIT too. The subflows of an
/// MPTCP socket are TCP sockets with the detail `mptcp_subflow`. A kernel that cannot show MPTCP sockets
/// (CONFIG_INET_MPTCP_DIAG) shows none.
pub fn sockets(namespace: &Namespace) -> Result<Vec<SocketState>, NetError> {
    let socket =
        namespace.run(open)?.map_err(|error| NetError::new("open a sock_diag socket", error).on(namespace.name()))?;
    of_socket(&socket).map_err(|error| error.on(namespace.name()))
}

/// The same of the calling thread's namespace.
pub fn sockets_of_own() -> Result<Vec<SocketState>, NetError> {
    of_socket(&open().map_err(|error| NetError::new("open a sock_diag socket", error))?)
}

/// The sockets of the namespace that `socket` was made in.
fn of_socket(socket: &Socket) -> Result<Vec<SocketState>, NetError> {
    let mut sockets = Vec::new();
    for (name, protocol) in PROTOCOLS {
        for family in [libc::AF_INET, libc::AF_INET6] {
            match dump(socket, name, protocol, family as u8, &mut sockets) {
                Err(error) if name == "mptcp" && lacks_handler(&error) => {}
                other => other.map_err(|error| NetError::new(format!("list the {name} sockets"), error))?,
            }
        }
    }
    Ok(sockets)
}

/// Whether the kernel has nobody to answer for a protocol.
fn lacks_handler(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::EINVAL | Errno::EOPNOTSUPP))
}

fn open() -> io::Result<Socket> {
    // Neither bound nor connected: it gets its address with its first message, which goes to the kernel.
    Socket::new(NETLINK_SOCK_DIAG)
}

/// Appends the sockets of one protocol and family.
fn dump(socket: &Socket, name: &str, protocol: u32, family: u8, found: &mut Vec<SocketState>) -> io::Result<()> {
    socket.send(&request(protocol, family), 0)?;
    let mut buffer = Vec::with_capacity(ANSWER);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..];
        while let Some(header) = rest.get(..HEADER) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let Some(body) = rest.get(HEADER..length) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink message is cut short"));
            };
            match u16::from_ne_bytes([header[4], header[5]]) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(io::Error::from_raw_os_error(-(number(body, 0, 4) as i32))),
                SOCK_DIAG_BY_FAMILY => found.extend(socket_state(name, body)),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// A struct nlmsghdr, a struct inet_diag_req_v2, and the attribute that names a protocol beyond 255.
fn request(protocol: u32, family: u8) -> Vec<u8> {
    let extensions = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1);
    let mut message = vec![0; HEADER];
    // As ss does: the field cannot hold MPTCP's number, so it says TCP, and the attribute says better.
    let field = u8::try_from(protocol).unwrap_or(libc::IPPROTO_TCP as u8);
    message.extend([family, field, extensions, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend([0; 48]);
    message.extend(8u16.to_ne_bytes());
    message.extend(INET_DIAG_REQ_PROTOCOL.to_ne_bytes());
    message.extend(protocol.to_ne_bytes());
    let length = message.len() as u32;
    message[0..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message
}

/// Reads a struct inet_diag_msg and its attributes; `None` if it is shorter than that.
fn socket_state(protocol: &str, body: &[u8]) -> Option<SocketState> {
    let (fixed, attributes) = body.split_at_checked(MESSAGE)?;
    let mut details = BTreeMap::new();
    for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
        match attribute.kind() {
            INET_DIAG_INFO if protocol == "mptcp" => info::read(&info::MPTCP, attribute.value(), &mut details),
            INET_DIAG_INFO => info::read(&info::TCP, attribute.value(), &mut details),
            INET_DIAG_SKMEMINFO => info::read(&info::MEMORY, attribute.value(), &mut details),
            INET_DIAG_MARK if number(attribute.value(), 0, 4) != 0 => {
                details.insert("mark".into(), number(attribute.value(), 0, 4));
            }
            INET_DIAG_ULP_INFO if is_mptcp_subflow(attribute.value()) => {
                details.insert("mptcp_subflow".into(), 1);
            }
            _ => {}
        }
    }
    // struct inet_diag_msg: family, state, timer, retransmits; then the addresses; then expires, rqueue, wqueue.
    let (family, state, timer) = (fixed[0], fixed[1], fixed[2]);
    if timer != 0 {
        details.insert("timer_expires_ms".into(), number(fixed, 52, 4));
    }
    Some(SocketState {
        protocol: protocol.to_owned(),
        state: state_name(state).to_owned(),
        local: address(family, &fixed[8..24], [fixed[4], fixed[5]]),
        remote: address(family, &fixed[24..40], [fixed[6], fixed[7]]),
        receive_queue: number(fixed, 56, 4) as u32,
        send_queue: number(fixed, 60, 4) as u32,
        timer: timer_name(timer).map(str::to_owned),
        details,
    })
}

/// An address and a port, as the kernel has them: in network order.
fn address(family: u8, bytes: &[u8], port: [u8; 2]) -> String {
    let address: IpAddr = match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) if family == libc::AF_INET6 as u8 => Ipv6Addr::from(bytes).into(),
        Ok([a, b, c, d, ..]) => Ipv4Addr::new(a, b, c, d).into(),
        Err(_) => return "?".into(),
    };
    SocketAddr::new(address, u16::from_be_bytes(port)).to_string()
}

/// The number of `width` bytes at `offset`, in the machine's order; 0 where there are not that many.
fn number(bytes: &[u8], offset: usize, width: usize) -> u64 {
    let mut word = [0; 8];
    match bytes.get(offset..offset + width) {
        Some(part) if cfg!(target_endian = "little") => word[..width].copy_from_slice(part),
        Some(part) => word[8 - width..].copy_from_slice(part),
        None => {}
    }
    u64::from_ne_bytes(word)
}

/// Whether the nested attributes of INET_DIAG_ULP_INFO name MPTCP.
fn is_mptcp_subflow(nested: &[u8]) -> bool {
    NlasIterator::new(nested)
        .map_while(Result::ok)
        .any(|attribute| attribute.kind() == INET_ULP_INFO_NAME && attribute.value().starts_with(b"mptcp"))
}

/// A state's name as `ss` writes it (include/net/tcp_states.h).
fn state_name(state: u8) -> &'static str {
    match state {
        1 => "ESTAB",
        2 => "SYN-SENT",
        3 | 12 => "SYN-RECV",
        4 => "FIN-WAIT-1",
        5 => "FIN-WAIT-2",
        6 => "TIME-WAIT",
        7 => "UNCONN",
        8 => "CLOSE-WAIT",
        9 => "LAST-ACK",
        10 => "LISTEN",
        11 => "CLOSING",
        13 => "BOUND-INACTIVE",
        _ => "UNKNOWN",
    }
}

/// The pending timer (net/ipv4/inet_diag.c: inet_sk_diag_fill).
fn timer_name(timer: u8) -> Option<&'static str> {
    match timer {
        1 => Some("retransmit"),
        2 => Some("keepalive"),
        3 => Some("time-wait"),
        4 => Some("probe"),
        5 => Some("delayed-ack"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_field_by_field() {
        let mut body = vec![0; MESSAGE];
        body[..4].copy_from_slice(&[libc::AF_INET as u8, 8, 4, 0]);
        body[4..8].copy_from_slice(&[0x2e, 0xe0, 0x9c, 0x40]);
        body[8..12].copy_from_slice(&[10, 0, 1, 1]);
        body[24..28].copy_from_slice(&[10, 0, 3, 1]);
        body[52..56].copy_from_slice(&250u32.to_ne_bytes());
        body[56..60].copy_from_slice(&17u32.to_ne_bytes());
        body[60..64].copy_from_slice(&4096u32.to_ne_bytes());
        let state = socket_state("tcp", &body).expect("long enough");
        assert_eq!((state.state.as_str(), state.timer.as_deref()), ("CLOSE-WAIT", Some("probe")));
        assert_eq!((state.local.as_str(), state.remote.as_str()), ("10.0.1.1:12000", "10.0.3.1:40000"));
        assert_eq!((state.receive_queue, state.send_queue), (17, 4096));
        assert_eq!(state.details, BTreeMap::from([("timer_expires_ms".to_owned(), 250)]));
        assert_eq!(socket_state("tcp", &body[..MESSAGE - 1]), None);
    }

    #[test]
    fn numbers_beyond_the_end_are_zero() {
        assert_eq!(number(&7u16.to_ne_bytes(), 0, 2), 7);
        assert_eq!(number(&[1, 2, 3], 2, 2), 0);
    }
}
