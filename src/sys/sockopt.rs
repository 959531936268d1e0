//! Socket options that no crate wraps: MPTCP_INFO, the receive window of TCP_INFO, SO_RCVLOWAT.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd};

use crate::observation::MptcpState;

/// `SOL_MPTCP` and `MPTCP_INFO` (include/uapi/linux/mptcp.h).
const SOL_MPTCP: libc::c_int = 284;
const MPTCP_INFO: libc::c_int = 1;
/// Bits of `mptcpi_flags`.
const FLAG_FALLBACK: u32 = 1 << 0;
const FLAG_REMOTE_KEY_RECEIVED: u32 = 1 << 1;

/// The head of `struct mptcp_info`, as far as Linux 5.12 has it. A longer one is cut off by the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct MptcpInfo {
    counts: [u8; 8],
    flags: u32,
    token: u32,
    write_seq: u64,
    snd_una: u64,
    rcv_nxt: u64,
    local_addr_used: u8,
    local_addr_max: u8,
    csum_enabled: u8,
}

/// `MPTCP_INFO` of a socket; ENOPROTOOPT or EOPNOTSUPP where it is no MPTCP socket.
pub fn mptcp_info(socket: &impl AsFd) -> io::Result<MptcpState> {
    let info: MptcpInfo = get(socket, SOL_MPTCP, MPTCP_INFO)?;
    Ok(MptcpState {
        fallback: info.flags & FLAG_FALLBACK != 0,
        remote_key: info.flags & FLAG_REMOTE_KEY_RECEIVED != 0,
        checksum: info.csum_enabled != 0,
        subflows: info.counts[0],
    })
}

/// Where `tcpi_rcv_wnd` lies in `struct tcp_info` (include/uapi/linux/tcp.h, Linux 6.2 and later).
const TCPI_RCV_WND: usize = 232;

/// The receive window that a TCP socket last offered, in bytes; the first subflow's for an MPTCP socket.
pub fn tcp_receive_window(socket: &impl AsFd) -> io::Result<u32> {
    let info: [u8; TCPI_RCV_WND + 4] = get(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let mut field = [0; 4];
    field.copy_from_slice(&info[TCPI_RCV_WND..]);
    Ok(u32::from_ne_bytes(field))
}

/// Sets SO_RCVLOWAT, in bytes.
pub fn set_receive_low_water(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    set_int(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, value)
}

/// Sets an option that takes an int.
pub fn set_int(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

/// Sets an option to these bytes.
pub fn set_bytes(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads at most `length` bytes from `value`, which has as many.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a connected socket back to where it was before connect, as connect(2) to AF_UNSPEC does.
pub fn disconnect(socket: &impl AsFd) -> io::Result<()> {
    // SAFETY: struct sockaddr is plain data; all zeros is one of its values.
    let mut nowhere: libc::sockaddr = unsafe { zeroed() };
    nowhere.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: `nowhere` is a sockaddr of that length for as long as the call lasts.
    let result = unsafe { libc::connect(socket.as_fd().as_raw_fd(), &raw const nowhere, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option as bytes into `buffer`; how many there are.
pub fn get_bytes(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = buffer.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `buffer`, which has as many.
    let result = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(buffer.len().min(length as usize)) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of plain data. What an older kernel does not fill stays zero.
fn get<T: Copy>(socket: &impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    // SAFETY: only types of integers alone are asked for here, which all zeros are a value of.
    let mut value: T = unsafe { zeroed() };
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which has as many.
    let result =
        unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
