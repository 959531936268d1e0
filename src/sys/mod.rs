//! Every `unsafe` of the crate, each with its reason. Nothing here knows what a case is.
#![allow(unsafe_code)]

pub mod aio;
pub mod ethtool;
pub mod heap;
pub mod huge_pages;
pub mod map;
pub mod packet;
pub mod process;
pub mod signal;
pub mod socket;
pub mod sockopt;
pub mod tun;
pub mod uml;

/// A `struct ifreq` that names a device and is zero elsewhere; EINVAL where the name is too long for one.
fn ifreq(device: &str) -> std::io::Result<libc::ifreq> {
    // SAFETY: struct ifreq is plain data; all zeros is one of its values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}
