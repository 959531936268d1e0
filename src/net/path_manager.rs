//! MPTCP's path managers, over generic netlink: limits and endpoints of the one in the kernel, what one in user space has the
//! kernel do, and [events] that tell of connections.
//!
//! The messages are put together by hand: the crate for them (`mptcp-pm`) is asynchronous, and wants a runtime.
//! Names and numbers are those of include/uapi/linux/mptcp_pm.h and mptcp.h.

pub mod events;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::NetError;

// include/uapi/linux/{netlink,genetlink}.h
const NLMSG_ERROR: u16 = 2;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
/// Set in the type of an attribute that holds others.
const NLA_F_NESTED: u16 = 1 << 15;
const NLMSGERR_ATTR_MSG: u16 = 1;

const FAMILY: &[u8] = b"mptcp_pm\0";
const VERSION: u8 = 1;
const CMD_ADD_ADDR: u8 = 1;
const CMD_DEL_ADDR: u8 = 2;
const CMD_FLUSH_ADDRS: u8 = 4;
const CMD_SET_LIMITS: u8 = 5;
const CMD_SET_FLAGS: u8 = 7;
const CMD_ANNOUNCE: u8 = 8;
const CMD_REMOVE: u8 = 9;
const CMD_SUBFLOW_CREATE: u8 = 10;
const CMD_SUBFLOW_DESTROY: u8 = 11;
const ATTR_ADDR: u16 = 1;
const ATTR_RCV_ADD_ADDRS: u16 = 2;
const ATTR_SUBFLOWS: u16 = 3;
const ATTR_TOKEN: u16 = 4;
const ATTR_LOC_ID: u16 = 5;
const ATTR_ADDR_REMOTE: u16 = 6;
const ADDR_FAMILY: u16 = 1;
const ADDR_ID: u16 = 2;
const ADDR_V4: u16 = 3;
const ADDR_V6: u16 = 4;
const ADDR_PORT: u16 = 5;
const ADDR_FLAGS: u16 = 6;

/// The lengths of struct nlmsghdr and struct genlmsghdr.
const HEADER: usize = 16;
const GENERIC: usize = 4;

/// The largest answer.
const ANSWER: usize = 16 * 1024;

/// Flags of an endpoint (MPTCP_PM_ADDR_FLAG_*).
pub mod flag {
    /// Announce it.
    pub const SIGNAL: u32 = 1 << 0;
    /// Make a subflow from it.
    pub const SUBFLOW: u32 = 1 << 1;
    /// Its subflows are backups.
    pub const BACKUP: u32 = 1 << 2;
    /// Make subflows from it to every address of the peer.
    pub const FULLMESH: u32 = 1 << 3;
    /// Use it for subflows to announced addresses.
    pub const LAMINAR: u32 = 1 << 5;
}

/// An endpoint as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port that is announced with it.
    pub port: Option<u16>,
    /// Its identifier; `None` lets the kernel choose one, or find the endpoint by its address.
    pub id: Option<u8>,
    /// See [`flag`].
    pub flags: u32,
}

/// A socket to the path manager of one network namespace.
#[derive(Debug)]
pub struct PathManager {
    socket: Socket,
    family: u16,
    sequence: u32,
    host: String,
}

impl PathManager {
    /// Opens one in the calling thread's network namespace. `host` is what error messages call that.
    ///
    /// # Errors
    /// ENOENT where the kernel has no MPTCP path manager.
    pub fn open(host: &str) -> Result<PathManager, NetError> {
        let socket = open().map_err(|error| NetError::new("open a generic netlink socket", error).on(host))?;
        let mut manager = PathManager { socket, family: GENL_ID_CTRL, sequence: 0, host: host.to_owned() };
        manager.family = manager.numbers().map_err(|error| nobody(host, error))?.0;
        Ok(manager)
    }

    /// Sets how many further subflows a connection may have, and how many announced addresses are taken up.
    pub fn set_limits(&mut self, subflows: u8, accepted: u8) -> Result<(), NetError> {
        let mut body = Vec::new();
        attribute(&mut body, ATTR_RCV_ADD_ADDRS, &u32::from(accepted).to_ne_bytes());
        attribute(&mut body, ATTR_SUBFLOWS, &u32::from(subflows).to_ne_bytes());
        self.command(CMD_SET_LIMITS, &body, || format!("set limits to {subflows} subflows, {accepted} addresses"))
    }

    /// Adds an endpoint.
    pub fn add(&mut self, endpoint: &Endpoint) -> Result<(), NetError> {
        self.command(CMD_ADD_ADDR, &nested(endpoint), || format!("add endpoint {}", endpoint.address))
    }

    /// Removes the endpoint with this identifier. Where it is 0, the address tells which first subflow is meant.
    pub fn remove(&mut self, endpoint: &Endpoint) -> Result<(), NetError> {
        self.command(CMD_DEL_ADDR, &nested(endpoint), || format!("remove endpoint {}", endpoint.address))
    }

    /// Sets or clears [`flag::BACKUP`] (and [`flag::FULLMESH`]) of an endpoint, as its flags have them.
    pub fn set_flags(&mut self, endpoint: &Endpoint) -> Result<(), NetError> {
        self.command(CMD_SET_FLAGS, &nested(endpoint), || format!("set flags of endpoint {}", endpoint.address))
    }

    /// Removes all endpoints, and closes what the path manager listens on for them.
    pub fn flush(&mut self) -> Result<(), NetError> {
        self.command(CMD_FLUSH_ADDRS, &[], || "remove all endpoints".to_owned())
    }

    /// Has the connection `token` announce an address (ADD_ADDR). This, and all that names a token, only where the path manager
    /// is one of user space.
    pub fn announce(&mut self, token: u32, local: &Endpoint) -> Result<(), NetError> {
        let body = [tokened(token), nested(local)].concat();
        self.command(CMD_ANNOUNCE, &body, || format!("announce {}", local.address))
    }

    /// Has it take back the address with this identifier (RM_ADDR).
    pub fn withdraw(&mut self, token: u32, id: u8) -> Result<(), NetError> {
        let mut body = tokened(token);
        attribute(&mut body, ATTR_LOC_ID, &[id]);
        self.command(CMD_REMOVE, &body, || format!("withdraw address {id}"))
    }

    /// Has it make a subflow.
    pub fn create(&mut self, token: u32, local: &Endpoint, remote: SocketAddr) -> Result<(), NetError> {
        let body = [tokened(token), nested(local), far(remote)].concat();
        self.command(CMD_SUBFLOW_CREATE, &body, || format!("make a subflow from {} to {remote}", local.address))
    }

    /// Has it end a subflow.
    pub fn destroy(&mut self, token: u32, local: SocketAddr, remote: SocketAddr) -> Result<(), NetError> {
        let near = Endpoint { address: local.ip(), port: Some(local.port()), id: None, flags: 0 };
        let body = [tokened(token), nested(&near), far(remote)].concat();
        self.command(CMD_SUBFLOW_DESTROY, &body, || format!("destroy the subflow from {local} to {remote}"))
    }

    /// Has it make a subflow a backup or none (MP_PRIO).
    pub fn prioritize(&mut self, token: u32, local: IpAddr, remote: SocketAddr, backup: bool) -> Result<(), NetError> {
        let flags = if backup { flag::BACKUP } else { 0 };
        let near = Endpoint { address: local, port: None, id: None, flags };
        let body = [tokened(token), nested(&near), far(remote)].concat();
        self.command(CMD_SET_FLAGS, &body, || format!("set the priority of the subflow from {local} to {remote}"))
    }

    /// The numbers of the path manager's family, and of the group of its events. A kernel gives them once.
    fn numbers(&mut self) -> io::Result<(u16, Option<u32>)> {
        static FOUND: OnceLock<(u16, Option<u32>)> = OnceLock::new();
        match FOUND.get() {
            Some(numbers) => Ok(*numbers),
            None => self.find().map(|numbers| *FOUND.get_or_init(|| numbers)),
        }
    }

    fn find(&mut self) -> io::Result<(u16, Option<u32>)> {
        let mut body = Vec::new();
        attribute(&mut body, CTRL_ATTR_FAMILY_NAME, FAMILY);
        self.send(CTRL_CMD_GETFAMILY, &body, 0)?;
        let answer = self.receive()?;
        if let Some(error) = error_of(&answer) {
            return Err(error.0);
        }
        let told = answer.get(HEADER + GENERIC..).unwrap_or_default();
        let id = value(told, CTRL_ATTR_FAMILY_ID).and_then(|id| id.try_into().ok()).map(u16::from_ne_bytes);
        let groups = value(told, CTRL_ATTR_MCAST_GROUPS).unwrap_or_default();
        let events = attributes(groups).find_map(|(_, group)| {
            let ours = value(group, CTRL_ATTR_MCAST_GRP_NAME) == Some(events::GROUP);
            value(group, CTRL_ATTR_MCAST_GRP_ID).filter(|_| ours)?.try_into().ok().map(u32::from_ne_bytes)
        });
        let id = id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer has no family"))?;
        Ok((id, events))
    }

    /// Sends a command and waits for its acknowledgement.
    fn command(&mut self, command: u8, body: &[u8], operation: impl Fn() -> String) -> Result<(), NetError> {
        let done = self.send(command, body, NLM_F_ACK).and_then(|()| self.receive());
        let failed = |error| NetError::new(operation(), error).on(&self.host);
        match error_of(&done.map_err(failed)?) {
            Some((error, words)) => Err(failed(error).detail(words)),
            None => Ok(()),
        }
    }

    fn send(&mut self, command: u8, body: &[u8], flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = (HEADER + GENERIC + body.len()) as u32;
        let mut message = Vec::with_capacity(length as usize);
        message.extend(length.to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([command, VERSION, 0, 0]);
        message.extend(body);
        self.socket.send(&message, 0).map(drop)
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(ANSWER);
        self.socket.recv(&mut buffer, 0)?;
        Ok(buffer)
    }
}

/// Opens a generic netlink socket.
fn open() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    socket.set_ext_ack(true)?;
    // Neither bound nor connected: it gets its address with its first message, which goes to the kernel.
    Ok(socket)
}

/// What is said where a kernel has no path manager.
fn nobody(host: &str, error: io::Error) -> NetError {
    NetError::new("find the path manager by generic netlink", error).on(host).way_out("the kernel needs CONFIG_MPTCP")
}

/// The attributes in `bytes`: kinds and values. By hand, because `NlasIterator` lends a value no longer than its item lives.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [length, kind] = [rest.get(..2)?, rest.get(2..4)?].map(|half| u16::from_ne_bytes([half[0], half[1]]));
        let value = rest.get(4..usize::from(length))?;
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NLA_F_NESTED, value))
    })
}

/// The value of one of them.
fn value(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The error that a message tells of, with the kernel's words for it; `None` for an acknowledgement and for data.
pub(super) fn error_of(message: &[u8]) -> Option<(io::Error, Option<String>)> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    if kind != NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(message.get(HEADER..HEADER + 4)?.try_into().ok()?);
    // Behind the code a copy of the request: its length is in its header.
    let copied = message.get(HEADER + 4..HEADER + 8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let attributes = copied.and_then(|length| message.get(HEADER + 4 + (length as usize).next_multiple_of(4)..));
    let words = attributes
        .and_then(|told| value(told, NLMSGERR_ATTR_MSG))
        .map(|words| String::from_utf8_lossy(words).trim_end_matches('\0').to_owned());
    (code != 0).then(|| (Errno::from_raw(-code).into(), words))
}

/// An endpoint as the attribute that commands take.
fn nested(endpoint: &Endpoint) -> Vec<u8> {
    let mut inner = Vec::new();
    match endpoint.address {
        IpAddr::V4(address) => {
            attribute(&mut inner, ADDR_FAMILY, &(libc::AF_INET as u16).to_ne_bytes());
            attribute(&mut inner, ADDR_V4, &address.octets());
        }
        IpAddr::V6(address) => {
            attribute(&mut inner, ADDR_FAMILY, &(libc::AF_INET6 as u16).to_ne_bytes());
            attribute(&mut inner, ADDR_V6, &address.octets());
        }
    }
    if let Some(id) = endpoint.id {
        attribute(&mut inner, ADDR_ID, &[id]);
    }
    if let Some(port) = endpoint.port {
        attribute(&mut inner, ADDR_PORT, &port.to_ne_bytes());
    }
    attribute(&mut inner, ADDR_FLAGS, &endpoint.flags.to_ne_bytes());
    let mut outer = Vec::new();
    attribute(&mut outer, ATTR_ADDR | NLA_F_NESTED, &inner);
    outer
}

/// The connection that a command is about.
fn tokened(token: u32) -> Vec<u8> {
    let mut body = Vec::new();
    attribute(&mut body, ATTR_TOKEN, &token.to_ne_bytes());
    body
}

/// The address of the peer.
fn far(remote: SocketAddr) -> Vec<u8> {
    let endpoint = Endpoint { address: remote.ip(), port: Some(remote.port()), id: None, flags: 0 };
    let mut body = nested(&endpoint);
    body[2..4].copy_from_slice(&(ATTR_ADDR_REMOTE | NLA_F_NESTED).to_ne_bytes());
    body
}

/// Appends an attribute: its length, its type, its value, and what fills the word up.
pub(super) fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend((value.len() as u16 + 4).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_fill_whole_words() {
        let mut bytes = Vec::new();
        attribute(&mut bytes, ADDR_ID, &[7]);
        let length = 5u16.to_ne_bytes();
        let kind = ADDR_ID.to_ne_bytes();
        assert_eq!(bytes, [length[0], length[1], kind[0], kind[1], 7, 0, 0, 0]);
    }

    #[test]
    fn an_acknowledgement_is_no_error() {
        let mut message = vec![0; HEADER + 4 + HEADER];
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert!(error_of(&message).is_none());
        message[HEADER..HEADER + 4].copy_from_slice(&(-22i32).to_ne_bytes());
        let (error, words) = error_of(&message).expect("an error");
        assert_eq!((error.raw_os_error(), words), (Some(22), None));
    }
}
