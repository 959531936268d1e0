//! The kernel's events about the MPTCP connections of a namespace (the group `mptcp_pm_events`; include/uapi/linux/mptcp.h).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use netlink_sys::Socket;

use super::{ANSWER, GENERIC, GENL_ID_CTRL, HEADER, NetError, PathManager, nobody, open, value};
use crate::observation::{PmEvent, PmEventKind};

/// The group's name.
pub(super) const GROUP: &[u8] = b"mptcp_pm_events\0";

// enum mptcp_event_attr
const TOKEN: u16 = 1;
const LOC_ID: u16 = 3;
const REM_ID: u16 = 4;
const SADDR4: u16 = 5;
const SADDR6: u16 = 6;
const DADDR4: u16 = 7;
const DADDR6: u16 = 8;
const SPORT: u16 = 9;
const DPORT: u16 = 10;
const BACKUP: u16 = 11;
const ERROR: u16 = 12;

/// What may wait to be read, in bytes: the events of some thousand subflows.
const QUEUE: usize = 8 << 20;

/// A socket that hears all events of one network namespace.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
    host: String,
    heard: Mutex<Heard>,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The events, in order.
    pub events: Vec<PmEvent>,
    /// Whether some are missing, for want of room.
    pub incomplete: bool,
}

impl Events {
    /// Listens in the calling thread's network namespace. `host` is what error messages call that.
    ///
    /// # Errors
    /// ENOENT where the kernel has no MPTCP path manager.
    pub fn listen(host: &str) -> Result<Events, NetError> {
        let failed = |operation: &'static str| move |error| NetError::new(operation, error).on(host);
        let mut socket = open().map_err(failed("open a generic netlink socket"))?;
        // The kernel's own address is 0, and what it says to all is not for itself: a socket without an address of its own hears
        // nothing (net/netlink/af_netlink.c, do_one_broadcast).
        socket.bind_auto().map_err(failed("bind a netlink socket"))?;
        let mut asking = PathManager { socket, family: GENL_ID_CTRL, sequence: 0, host: host.to_owned() };
        let (_, group) = asking.numbers().map_err(|error| nobody(host, error))?;
        let group = group.ok_or_else(|| nobody(host, io::ErrorKind::NotFound.into()))?;
        let socket = asking.socket;
        // As much as is allowed; events that are lost all the same are reported as such.
        let _ = socket.set_rx_buf_sz(QUEUE as i32);
        socket.set_non_blocking(true).map_err(failed("make a netlink socket non-blocking"))?;
        socket.add_membership(group).map_err(failed("listen to the path manager's events"))?;
        Ok(Events { socket, host: host.to_owned(), heard: Mutex::default() })
    }

    /// Reads what has come since the last time, and returns it.
    pub fn receive(&self) -> Result<Vec<PmEvent>, NetError> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = heard.events.len();
        loop {
            let mut buffer = Vec::with_capacity(ANSWER);
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => heard.events.extend(event(&buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard.incomplete = true,
                Err(error) => {
                    return Err(NetError::new("receive the path manager's events", error).on(&self.host));
                }
            }
        }
        Ok(heard.events[before..].to_vec())
    }

    /// All that was received so far.
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The event that a message tells of; `None` for one of a kind that is not known here.
fn event(message: &[u8]) -> Option<PmEvent> {
    use PmEventKind::*;
    let kind = match message.get(HEADER)? {
        1 => Created,
        2 => Established,
        3 => Closed,
        6 => Announced,
        7 => Removed,
        10 => SubflowEstablished,
        11 => SubflowClosed,
        13 => SubflowPriority,
        15 => ListenerCreated,
        16 => ListenerClosed,
        _ => return None,
    };
    let told = message.get(HEADER + GENERIC..)?;
    let byte = |kind| value(told, kind).and_then(|value| value.first().copied());
    let end = |v4, v6, port| {
        let octets = |kind| value(told, kind).map(<[u8]>::to_vec);
        let v4 = octets(v4).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(IpAddr::from);
        let v6 = octets(v6).and_then(|octets| <[u8; 16]>::try_from(octets).ok()).map(IpAddr::from);
        let port = value(told, port).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
        v4.or(v6).map(|address| SocketAddr::new(address, port))
    };
    Some(PmEvent {
        kind,
        token: value(told, TOKEN).and_then(|token| token.try_into().ok()).map_or(0, u32::from_ne_bytes),
        local: end(SADDR4, SADDR6, SPORT),
        remote: end(DADDR4, DADDR6, DPORT),
        local_id: byte(LOC_ID),
        remote_id: byte(REM_ID),
        backup: byte(BACKUP).is_some_and(|backup| backup != 0),
        error: byte(ERROR),
    })
}

#[cfg(test)]
mod tests {
    use super::super::attribute;
    use super::*;

    #[test]
    fn an_event_is_read_with_its_addresses() {
        let mut message = vec![0; HEADER];
        message.extend([11, 1, 0, 0]);
        attribute(&mut message, TOKEN, &7u32.to_ne_bytes());
        attribute(&mut message, SADDR4, &[10, 0, 11, 1]);
        attribute(&mut message, DADDR4, &[10, 0, 11, 2]);
        attribute(&mut message, SPORT, &5000u16.to_be_bytes());
        attribute(&mut message, DPORT, &80u16.to_be_bytes());
        attribute(&mut message, LOC_ID, &[2]);
        attribute(&mut message, BACKUP, &[1]);
        let event = event(&message).expect("an event");
        assert_eq!((event.kind, event.token, event.local_id), (PmEventKind::SubflowClosed, 7, Some(2)));
        let ends = [event.local, event.remote].map(|end| end.map(|end| end.to_string()));
        assert_eq!(ends, [Some("10.0.11.1:5000".into()), Some("10.0.11.2:80".into())]);
        assert!(event.backup && event.error.is_none());
    }

    #[test]
    fn what_is_no_event_is_left_alone() {
        assert_eq!(event(&[0; HEADER + GENERIC]), None);
        assert_eq!(event(&[]), None);
    }
}
