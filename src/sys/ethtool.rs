//! Offload switches of a device: the SIOCETHTOOL ioctl.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::ifreq;

/// A switch of a device, as `ethtool -k` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `tcp-segmentation-offload`.
    Tso,
    /// `generic-segmentation-offload`.
    Gso,
    /// `generic-receive-offload`.
    Gro,
    /// `tx-checksumming`.
    TxChecksum,
}

impl Feature {
    /// The commands that read and write it (include/uapi/linux/ethtool.h: ETHTOOL_GTSO, ETHTOOL_STSO, ...).
    fn commands(self) -> (u32, u32) {
        match self {
            Feature::Tso => (0x1e, 0x1f),
            Feature::Gso => (0x23, 0x24),
            Feature::Gro => (0x2b, 0x2c),
            Feature::TxChecksum => (0x16, 0x17),
        }
    }
}

/// struct ethtool_value.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Whether `feature` is on. `socket` is any socket of the device's namespace.
pub fn get(socket: impl AsFd, device: &str, feature: Feature) -> io::Result<bool> {
    Ok(call(socket, device, Value { command: feature.commands().0, data: 0 })? != 0)
}

/// Switches `feature`. `socket` is any socket of the device's namespace.
pub fn set(socket: impl AsFd, device: &str, feature: Feature, on: bool) -> io::Result<()> {
    call(socket, device, Value { command: feature.commands().1, data: on.into() }).map(drop)
}

fn call(socket: impl AsFd, device: &str, mut value: Value) -> io::Result<u32> {
    let mut request = ifreq(device)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL reads and writes the struct ifreq and, for these commands, the struct ethtool_value that it
    // points to; both are valid for the call.
    if unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value.data)
}
