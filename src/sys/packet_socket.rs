//! Packet sockets: the one option of theirs that no crate wraps.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many frames the AF_PACKET socket could not take since the last call (`tp_drops` of `PACKET_STATISTICS`).
///
/// # Errors
/// `ENOPROTOOPT` or `EOPNOTSUPP` where `socket` is no packet socket.
pub fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut size = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; both pointers are to live, writable values, and
    // `size` says how large the first one is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(statistics.tp_drops) } else { Err(io::Error::last_os_error()) }
}
