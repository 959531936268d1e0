//! Packet sockets: one that watches a device, and one that stands in for the far end of a link.

use std::os::fd::{AsFd, OwnedFd};

use super::NetError;
use super::device::Device;
use crate::sys;

/// How much of a frame a capture keeps: every header that TCP and MPTCP can have, and the first bytes of the payload.
pub const SNAP: u32 = 256;

/// How much a packet socket may hold, in bytes; the kernel caps it at `net.core.rmem_max` and then doubles it.
const BUFFER: usize = 8 << 20;

/// Opens a non-blocking socket of the calling thread's namespace that, once bound, sees the first [`SNAP`] bytes of every
/// frame of its device in both directions, one frame for each recvfrom(2); `sll_pkttype` tells the direction.
pub fn open_capture() -> Result<OwnedFd, NetError> {
    let socket = open()?;
    sys::packet::snap(&socket, SNAP).map_err(|error| NetError::new("attach a filter to a packet socket", error))?;
    Ok(socket)
}

/// Opens a non-blocking socket of the calling thread's namespace that, once bound, receives what comes in at its device,
/// and nothing that leaves through it.
pub fn open_far_end() -> Result<OwnedFd, NetError> {
    let socket = open()?;
    sys::packet::ignore_outgoing(&socket).map_err(|error| NetError::new("set PACKET_IGNORE_OUTGOING", error))?;
    Ok(socket)
}

fn open() -> Result<OwnedFd, NetError> {
    let socket = sys::packet::open().map_err(|error| NetError::new("open a packet socket", error))?;
    // No more than a wish: the kernel cuts it to what this machine allows.
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &BUFFER)
        .map_err(|errno| NetError::new("set the receive buffer of a packet socket", errno))?;
    Ok(socket)
}

/// Binds a socket to a device, which should be up.
pub fn bind(socket: impl AsFd, device: &Device) -> Result<(), NetError> {
    sys::packet::bind(socket, device.index)
        .map_err(|error| NetError::new("bind a packet socket to it", error).device(&device.name))
}
