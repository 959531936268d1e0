//! A folder in memory whose files lie in large pages.
//!
//! A kernel that fills memory page by page takes some two microseconds for each of 4 KiB; one of 2 MiB takes a tenth of
//! a millisecond and stands for 512 of them. `/dev/shm` has small ones, whatever the machine could do.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid};

use super::process::{ForkResult, exit_now, fork};

// include/uapi/linux/mount.h.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const MOUNT_ATTR_NOSUID: libc::c_uint = 2;
const MOUNT_ATTR_NODEV: libc::c_uint = 4;

/// Makes a memory file system that has no place in the tree of files: it is reached through its descriptor alone, and
/// goes with the last one and with its last file. An ordinary user has it made in a user namespace of its own.
///
/// # Errors
/// EINVAL where this kernel has no large pages, EPERM where an ordinary user may not have a user namespace. Linux 5.2 and
/// later. Whoever can do without goes without.
pub fn large_pages() -> io::Result<OwnedFd> {
    match make() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => in_a_namespace(),
        result => result,
    }
}

fn make() -> io::Result<OwnedFd> {
    // SAFETY: the call reads the name, which ends with a zero.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), FSOPEN_CLOEXEC) })?;
    // A file smaller than a large page gets none.
    configure(&context, FSCONFIG_SET_STRING, Some((c"huge", c"within_size")))?;
    configure(&context, FSCONFIG_SET_STRING, Some((c"mode", c"0700")))?;
    configure(&context, FSCONFIG_CMD_CREATE, None)?;
    let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    // SAFETY: the call takes three integers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

fn configure(context: &OwnedFd, command: libc::c_uint, option: Option<(&CStr, &CStr)>) -> io::Result<()> {
    let (key, value) =
        option.map_or((std::ptr::null(), std::ptr::null()), |(key, value)| (key.as_ptr(), value.as_ptr()));
    // SAFETY: key and value are null, where the command takes none, or end with a zero and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, open and nobody else's; the kernel numbers descriptors by int.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

/// [`make`] in a child that is root of a user namespace of its own, where it may mount.
fn in_a_namespace() -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    // The child of a process with threads does best not to allocate.
    let [uid, gid] = [Uid::effective().as_raw(), Gid::effective().as_raw()]
        .map(|id| CString::new(format!("{id} {id} 1")).expect("digits hold no zero"));
    match fork()? {
        ForkResult::Child => {
            let made = enter(&uid, &gid).and_then(|()| make()).and_then(|folder| hand_over(&theirs, folder.as_fd()));
            exit_now(made.err().and_then(|error| error.raw_os_error()).unwrap_or_default());
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let folder = take_over(&ours);
            let ended = loop {
                match waitpid(child, None) {
                    Err(Errno::EINTR) => {}
                    ended => break ended?,
                }
            };
            match (ended, folder) {
                (nix::sys::wait::WaitStatus::Exited(_, code), _) if code != 0 => {
                    Err(io::Error::from_raw_os_error(code))
                }
                (_, folder) => folder,
            }
        }
    }
}

/// Moves this process into a user namespace in which its user stays who it is, and into a mount namespace of that.
fn enter(uid: &CStr, gid: &CStr) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    for (path, text) in [(c"/proc/self/setgroups", c"deny"), (c"/proc/self/uid_map", uid), (c"/proc/self/gid_map", gid)]
    {
        // SAFETY: the path ends with a zero and outlives the call.
        let file = owned(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) }.into())?;
        nix::unistd::write(&file, text.to_bytes())?;
    }
    Ok(())
}

/// A message of one byte and one descriptor: struct cmsghdr, and the number padded to its alignment.
#[repr(C, align(8))]
struct Rights([u8; RIGHTS]);
// SAFETY: both compute sizes alone.
const RIGHTS: usize = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as usize;

fn hand_over(to: &UnixStream, folder: BorrowedFd<'_>) -> io::Result<()> {
    message(|header| {
        // SAFETY: `message` gives a header whose control buffer has room for one descriptor.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(first).cast::<RawFd>().write_unaligned(folder.as_raw_fd());
            libc::sendmsg(to.as_raw_fd(), header, 0)
        }
    })
    .map(drop)
}

fn take_over(from: &UnixStream) -> io::Result<OwnedFd> {
    let mut number = -1;
    message(|header| {
        // SAFETY: as above; the kernel fills the buffer, and what it says of it is looked at before it is read.
        unsafe {
            let length = libc::recvmsg(from.as_raw_fd(), header, libc::MSG_CMSG_CLOEXEC);
            let first = libc::CMSG_FIRSTHDR(header);
            if length > 0 && !first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS {
                number = libc::CMSG_DATA(first).cast::<RawFd>().read_unaligned();
            }
            length
        }
    })?;
    match number {
        ..0 => Err(io::ErrorKind::UnexpectedEof.into()),
        number => Ok(super::process::adopt(number)),
    }
}

/// Has `call` use a message with room for one byte and one descriptor.
fn message(call: impl FnOnce(&mut libc::msghdr) -> isize) -> io::Result<isize> {
    let (mut byte, mut rights) = ([0_u8], Rights([0; RIGHTS]));
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: struct msghdr is plain data; all zeros is one of its values.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = rights.0.as_mut_ptr().cast();
    header.msg_controllen = RIGHTS as _;
    let result = call(&mut header);
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    /// A file without a name in the folder, as a guest's kernel makes its own.
    fn file(folder: &OwnedFd) -> File {
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o700).open(path).unwrap()
    }

    fn holds_files(folder: &OwnedFd) {
        let mut file = file(folder);
        file.set_len(4 << 20).unwrap();
        file.write_all(b"kept").unwrap();
        file.rewind().unwrap();
        let mut text = [0; 4];
        file.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"kept");
    }

    #[test]
    fn its_files_can_be_written_and_read() {
        match large_pages() {
            Ok(folder) => holds_files(&folder),
            Err(error) => println!("SKIP: no folder in large pages here: {error}"),
        }
    }

    #[test]
    fn a_namespace_of_its_own_has_one_that_the_outside_can_use() {
        match in_a_namespace() {
            Ok(folder) => holds_files(&folder),
            Err(error) => println!("SKIP: no folder in large pages in a user namespace here: {error}"),
        }
    }
}
