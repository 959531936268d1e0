//! A file in memory, to write from.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A file mapped for reading, shared with whoever else maps it. It is never seen as a slice: the file may change or
/// shrink under it, which is the kernel's business only.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`.
    ///
    /// # Errors
    /// Those of mmap(2); EINVAL where `length` is 0.
    pub fn new(file: impl AsFd, length: usize) -> io::Result<Mapping> {
        let size = NonZeroUsize::new(length).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: no address is asked for, so no memory that anybody uses is replaced.
        let start = unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Mapping { start, length })
    }

    /// Writes what it holds from `offset` on to `to`, once, as write(2) does.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn write(&self, to: impl AsFd, offset: usize) -> io::Result<usize> {
        let offset = offset.min(self.length);
        // SAFETY: `offset` is not beyond the mapping, and the kernel reads no further than its end. Where the file has
        // become shorter the call fails with EFAULT.
        let written =
            unsafe { libc::write(to.as_fd().as_raw_fd(), self.start.as_ptr().byte_add(offset), self.length - offset) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing points into it. Unmapping what was mapped does not fail.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}
