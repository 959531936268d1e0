//! One frame out of a packet socket, with what the kernel tells beside it.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg};

/// `sll_pkttype` of what the device sends (linux/if_packet.h).
const PACKET_OUTGOING: u8 = 4;

/// A frame that a packet socket saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How much of it there is.
    pub length: usize,
    /// The index of its device.
    pub device: usize,
    /// Whether the device sent it.
    pub outgoing: bool,
    /// When, since 1970, where the socket tells.
    pub at: Duration,
}

/// Room for what [`receive`] is told.
pub fn control() -> Vec<u8> {
    nix::cmsg_space!(nix::sys::time::TimeSpec)
}

/// Takes the next frame out of `socket`, as far as it fits into `buffer`.
///
/// # Errors
/// EAGAIN if there is none.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8], control: &mut [u8]) -> Result<Seen, Errno> {
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let stamp = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    Ok(Seen {
        length: message.bytes,
        device: message.address.map_or(0, |address| address.ifindex()),
        outgoing: message.address.is_some_and(|address| address.pkttype() == PACKET_OUTGOING),
        at: stamp.unwrap_or_default(),
    })
}
