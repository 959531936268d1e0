//! A folder in memory whose files lie in huge pages (Documentation/admin-guide/mm/transhuge.rst).
//!
//! A kernel that fills memory page by page takes some two microseconds for each of 4 KiB; one of 2 MiB takes a tenth of
//! a millisecond and stands for 512 of them. `/dev/shm` has small ones, whatever the machine could do.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use super::process::{ForkResult, adopt, exit_now, fork};

/// Makes a memory file system that has no place in the tree of files: it is reached through its descriptor alone, and
/// goes with the last one and with its last file. An ordinary user has it made in a user namespace of its own.
///
/// # Errors
/// EINVAL where this kernel has no huge pages, EPERM where an ordinary user may not have a user namespace. Linux 5.2 and
/// later. Whoever can do without goes without.
pub fn folder() -> io::Result<OwnedFd> {
    match make() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => in_a_namespace(),
        result => result,
    }
}

fn make() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // A file smaller than a huge page gets none.
    fsconfig_set_string(&context, "huge", "within_size")?;
    fsconfig_set_string(&context, "mode", "0700")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// [`make`] in a child that is root of a user namespace of its own, where it may mount.
fn in_a_namespace() -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let maps = [Uid::effective().as_raw(), Gid::effective().as_raw()].map(|id| format!("{id} {id} 1"));
    match fork()? {
        ForkResult::Child => {
            let made = enter(&maps).and_then(|()| make()).and_then(|folder| hand_over(&theirs, &folder));
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
            match ended {
                WaitStatus::Exited(_, code) if code != 0 => Err(io::Error::from_raw_os_error(code)),
                _ => folder,
            }
        }
    }
}

/// Moves this process into a user namespace in which its user and group stay who they are, and into a mount namespace of that.
fn enter([user, group]: &[String; 2]) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", user)?;
    fs::write("/proc/self/gid_map", group)
}

fn hand_over(to: &UnixStream, folder: &OwnedFd) -> io::Result<()> {
    let folder = [folder.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&folder)];
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&[0])], &message, MsgFlags::empty(), None)?;
    Ok(())
}

fn take_over(from: &UnixStream) -> io::Result<OwnedFd> {
    let (mut byte, mut space) = ([0], nix::cmsg_space!([RawFd; 1]));
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let [fd] = fds[..]
        {
            return Ok(adopt(fd));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
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
        match folder() {
            Ok(folder) => holds_files(&folder),
            Err(error) => println!("SKIP: no folder in huge pages here: {error}"),
        }
    }

    #[test]
    fn a_namespace_of_its_own_has_one_that_the_outside_can_use() {
        match in_a_namespace() {
            Ok(folder) => holds_files(&folder),
            Err(error) => println!("SKIP: no folder in huge pages in a user namespace here: {error}"),
        }
    }
}
