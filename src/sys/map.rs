//! Mappings: of a file in memory of our own, and of files that others may change.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A file that lives in memory alone, all of it mapped. Pages take memory once they are written.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and is no thread's in particular.
unsafe impl Send for MappedFile {}

impl MappedFile {
    /// A file of `length` bytes, at least one, all zeros.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2) and mmap(2).
    pub fn new(length: usize) -> io::Result<MappedFile> {
        let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        let file = File::from(memfd_create(c"whitewater payload", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(length.get() as u64)?;
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory in use.
        let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(MappedFile { file, start, length: length.get() })
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// Those of pwrite(2); EINVAL where they would lie beyond the end.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.length) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.file.write_all_at(bytes, offset as u64)
    }

    /// All of it, as it is mapped.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `length` readable bytes for as long as `self` lives. Only `put` changes them, which
        // has `self` to itself; nobody else knows the file, and nobody makes it shorter.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length) }
    }
}

impl AsFd for MappedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: nothing borrows the mapping any more. Failing would leave it there until the process ends.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_mapped_and_nothing_lies_beyond_the_end() {
        let mut file = MappedFile::new(8192).unwrap();
        file.put(4095, b"ab").unwrap();
        assert_eq!(&file.bytes()[4094..4098], b"\0ab\0");
        assert!(file.put(8191, b"ab").is_err());
        assert!(MappedFile::new(0).is_err());
    }
}
