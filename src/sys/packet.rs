//! AF_PACKET sockets: packet(7).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

// include/uapi/linux/if_packet.h
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Opens a non-blocking raw packet socket in the calling thread's network namespace. It receives nothing before [`bind`],
/// so nothing stray is queued.
pub fn open() -> io::Result<OwnedFd> {
    // SAFETY: socket takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// From now on the socket sees every frame of the device with this index, which should be up: binding to one that is
/// down leaves an ENETDOWN for the next call on the socket.
pub fn bind(socket: impl AsFd, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer is valid for the length given.
    let result = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The socket no longer sees what this device sends, its own frames included.
pub fn ignore_outgoing(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32)
}

/// The kernel cuts every frame to its first `length` bytes before it queues it.
pub fn snap(socket: impl AsFd, length: u32) -> io::Result<()> {
    // BPF_RET | BPF_K: the number of bytes to keep.
    let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: length }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// How many frames the AF_PACKET socket could not take since the last call (`tp_drops` of `PACKET_STATISTICS`).
///
/// # Errors
/// `ENOPROTOOPT` or `EOPNOTSUPP` where `socket` is no packet socket.
pub fn drops(socket: impl AsFd) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut size = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; both pointers are to live, writable values, and
    // `size` says how large the first one is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(statistics.tp_drops) } else { Err(io::Error::last_os_error()) }
}

fn set<T>(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is valid for the length given; the callers pass the type that the option takes, and what a
    // struct sock_fprog points to lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
