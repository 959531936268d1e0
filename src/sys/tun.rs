//! TAP devices: ioctls on `/dev/net/tun`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::ifreq;

/// The device that makes devices.
pub const PATH: &str = "/dev/net/tun";

// include/uapi/linux/if_tun.h: _IOW('T', 202, int) and _IOW('T', 218, unsigned int).
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETIFINDEX: libc::c_ulong = 0x4004_54da;

/// Opens the control device, non-blocking. The namespace of a device made through it is the one that the calling thread
/// is in now.
pub fn open() -> io::Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(PATH)?;
    Ok(file.into())
}

/// Makes a TAP device (IFF_TAP | IFF_NO_PI, no virtio header): a frame read is one that the kernel sent, at most the MTU
/// and its header long, with complete checksums; a frame written is one that it receives.
///
/// The device lives as long as the descriptor. It has interface index `index`, which must be free.
pub fn make_tap(name: &str, index: u32) -> io::Result<OwnedFd> {
    let fd = open()?;
    // SAFETY: TUNSETIFINDEX reads an unsigned int through the pointer, which is valid for the call.
    if unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFINDEX, &raw const index) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut request = ifreq(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes a struct ifreq through the pointer, which is valid for the call.
    if unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}
