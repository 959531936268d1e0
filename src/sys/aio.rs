//! Many reads and writes in one system call: io_submit(2). By hand, because the asynchronous I/O of the C library, which `nix`
//! has, runs on threads.
//!
//! It is for non-blocking descriptors of devices and sockets, whose reads and writes are done, well or not, when the
//! call returns; what would have to wait ends with EAGAIN.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;

/// How many operations go into one call.
const AT_ONCE: usize = 128;
/// What a ring begins with (fs/aio.c, AIO_RING_MAGIC).
const MAGIC: u32 = 0xa10a_10a1;
/// IOCB_CMD_PREAD and IOCB_CMD_PWRITE (include/uapi/linux/aio_abi.h).
const READ: u16 = 0;
const WRITE: u16 = 1;
/// Features of a ring that one has to know before one reads it (fs/aio.c, AIO_RING_INCOMPAT_FEATURES).
const FEATURES: u32 = 0;

/// A read or a write.
#[derive(Debug)]
pub enum Operation<'a> {
    /// Reads into the buffer.
    Read(BorrowedFd<'a>, &'a mut [u8]),
    /// Writes all of the buffer.
    Write(BorrowedFd<'a>, &'a [u8]),
}

/// Where operations are handed in.
#[derive(Debug)]
pub struct Aio {
    context: libc::c_ulong,
}

/// The head of the memory in which the kernel tells what is done (fs/aio.c, struct aio_ring): events follow.
#[repr(C)]
struct Ring {
    id: u32,
    events: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
    compatible: u32,
    incompatible: u32,
    header_length: u32,
}

/// struct io_event (include/uapi/linux/aio_abi.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Done {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

impl Aio {
    /// # Errors
    /// ENOSYS where the kernel has no CONFIG_AIO, EAGAIN if all users together have too many of these; ENOTSUP where
    /// its ring is not as this program knows it.
    pub fn new() -> io::Result<Aio> {
        let mut context: libc::c_ulong = 0;
        // SAFETY: the kernel writes one word through the pointer, which is valid for the call.
        if unsafe { libc::syscall(libc::SYS_io_setup, AT_ONCE, &raw mut context) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let aio = Aio { context };
        let ring = aio.ring();
        let known = ring.magic == MAGIC && ring.incompatible == FEATURES;
        if known { Ok(aio) } else { Err(io::Error::from_raw_os_error(libc::ENOTSUP)) }
    }

    fn ring(&self) -> &Ring {
        // SAFETY: the context is the address of the ring, which the kernel has mapped until io_destroy, that is, until
        // this is dropped. The two numbers that change meanwhile are atomic.
        unsafe { &*(self.context as *const Ring) }
    }

    /// Carries out all operations, in order, and puts what each came to into `results`, in the same order.
    pub fn carry_out(&mut self, operations: &mut [Operation<'_>], results: &mut Vec<Result<usize, Errno>>) {
        results.clear();
        results.resize(operations.len(), Err(Errno::EINPROGRESS));
        for (operations, results) in operations.chunks_mut(AT_ONCE).zip(results.chunks_mut(AT_ONCE)) {
            self.carry_out_some(operations, results);
        }
    }

    fn carry_out_some(&mut self, operations: &mut [Operation<'_>], results: &mut [Result<usize, Errno>]) {
        let mut blocks: Vec<libc::iocb> = operations.iter_mut().enumerate().map(block).collect();
        let pointers: Vec<*mut libc::iocb> = blocks.iter_mut().map(ptr::from_mut).collect();
        let (mut next, mut open) = (0, 0);
        while next < pointers.len() {
            let left = &pointers[next..];
            // SAFETY: each pointer is to a block that lives until the end of this function, and each block names a
            // buffer, with its length, that `operations` keeps borrowed as long. None is in use by the kernel once this
            // function returns, since it returns only when all that was taken is done.
            let taken = unsafe { libc::syscall(libc::SYS_io_submit, self.context, left.len(), left.as_ptr()) };
            match usize::try_from(taken) {
                Ok(taken) if taken > 0 => (next, open) = (next + taken, open + taken),
                // The first of them is refused as it stands.
                _ => {
                    results[next] = Err(if taken < 0 { Errno::last() } else { Errno::EIO });
                    next += 1;
                }
            }
        }
        while open > 0 {
            let mut done = |event: Done| {
                results[event.data as usize] = usize::try_from(event.result).map_err(|_| error(event.result));
                open -= 1;
            };
            if !self.collect(&mut done) {
                self.wait(&mut done);
            }
        }
    }

    /// Takes what the ring tells is done; false if it tells nothing.
    fn collect(&mut self, done: &mut dyn FnMut(Done)) -> bool {
        let ring = self.ring();
        let (begin, end) = (ring.head.load(Ordering::Relaxed), ring.tail.load(Ordering::Acquire));
        let mut head = begin;
        while head != end {
            // SAFETY: `header_length` bytes behind its beginning, the ring holds as many events as it says, and the
            // kernel does not touch those between head and tail.
            let event = unsafe {
                let first = (self.context as *const u8).add(ring.header_length as usize).cast::<Done>();
                first.add(head as usize).read()
            };
            done(event);
            head = (head + 1) % ring.events;
        }
        ring.head.store(head, Ordering::Release);
        begin != end
    }

    /// Waits for one to be done. None of these descriptors lets it come to that.
    fn wait(&mut self, done: &mut dyn FnMut(Done)) {
        let mut event = Done::default();
        let forever = ptr::null_mut::<libc::timespec>();
        // SAFETY: the kernel writes one event through the pointer, which is valid for the call.
        let got = unsafe { libc::syscall(libc::SYS_io_getevents, self.context, 1, 1, &raw mut event, forever) };
        match got {
            1 => done(event),
            // Interrupted. Anything else cannot be, and must not become a loop that never sleeps.
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: no operation is under way, and nobody has a reference into the ring.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

fn block((number, operation): (usize, &mut Operation<'_>)) -> libc::iocb {
    let (code, descriptor, buffer, length) = match operation {
        Operation::Read(descriptor, buffer) => (READ, descriptor.as_raw_fd(), buffer.as_mut_ptr() as u64, buffer.len()),
        Operation::Write(descriptor, buffer) => (WRITE, descriptor.as_raw_fd(), buffer.as_ptr() as u64, buffer.len()),
    };
    // SAFETY: struct iocb is plain data; all zeros is one of its values.
    let mut block: libc::iocb = unsafe { std::mem::zeroed() };
    block.aio_data = number as u64;
    block.aio_lio_opcode = code;
    block.aio_fildes = descriptor as u32;
    block.aio_buf = buffer;
    block.aio_nbytes = length as u64;
    block
}

fn error(result: i64) -> Errno {
    Errno::from_raw(i32::try_from(-result).unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn reads_and_writes_are_carried_out_in_order_and_each_has_its_result() {
        let mut aio = match Aio::new() {
            Ok(aio) => aio,
            Err(error) => return println!("SKIP: this kernel has no io_setup: {error}"),
        };
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut results = Vec::new();
        // More than one call takes, and several times the ring.
        for round in 0..5_u8 {
            let texts: Vec<[u8; 2]> = (0..150).map(|number| [round, number]).collect();
            for texts in texts.chunks(5) {
                let mut buffers = [[0; 9]; 6];
                let mut operations: Vec<_> = texts.iter().map(|text| Operation::Write(ours.as_fd(), text)).collect();
                operations.extend(buffers.iter_mut().map(|buffer| Operation::Read(theirs.as_fd(), buffer)));
                aio.carry_out(&mut operations, &mut results);
                assert_eq!(results, [vec![Ok(2); 10], vec![Err(Errno::EAGAIN)]].concat());
                let read: Vec<&[u8]> = buffers[..5].iter().map(|buffer| &buffer[..2]).collect();
                assert_eq!(read, texts);
            }
        }
        let mut many: Vec<_> = (0..300).map(|_| Operation::Write(null.as_fd(), b"x")).collect();
        many[299] = Operation::Write(ours.as_fd(), b"last");
        aio.carry_out(&mut many, &mut results);
        assert_eq!(results, [vec![Err(Errno::EBADF); 299], vec![Ok(4)]].concat());
    }
}
