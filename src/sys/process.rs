//! Processes: what the standard library has no safe word for.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd;
pub use nix::unistd::ForkResult;

/// Splits the process in two: fork(2).
///
/// The child has a copy of the calling thread alone. It may do what it likes where the caller was single-threaded. A
/// lock that another thread held at this moment stays locked in the child for ever, the allocator's included (glibc
/// resets its own), so a child of a multi-threaded process does best to stay small and to end with [`exit_now`].
pub fn fork() -> io::Result<ForkResult> {
    // SAFETY: fork itself reads and writes no memory of ours. What a child of a multi-threaded process may do is the
    // caller's to keep, as described above; breaking it can deadlock the child but not corrupt memory.
    unsafe { unistd::fork() }.map_err(io::Error::from)
}

/// Ends the process at once: _exit(2). No destructor, no `atexit` handler runs and no buffer is flushed, so a forked
/// child never repeats its parent's farewells.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any code, touches no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Asks the kernel to kill this process once the thread that forked it ends (PR_SET_PDEATHSIG). A parent that was gone
/// before the call is not noticed: compare `getppid()` afterwards.
pub fn set_parent_death_signal() -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
}

/// Takes over a descriptor that came in a message (SCM_RIGHTS) and that nobody else owns yet.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for the receiver of the message, who hands it to us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Closes every descriptor but the three standard ones and `keep`: in a forked child, which has copies of all that its
/// parent had and would keep them open.
pub fn close_all_but(keep: RawFd) {
    const FIRST: libc::c_uint = 3;
    let keep = libc::c_uint::try_from(keep).unwrap_or(FIRST);
    let close = |first: libc::c_uint, last: libc::c_uint| {
        if first <= last {
            // SAFETY: closing a descriptor touches no memory. The child's copies of its parent's owners of these
            // descriptors are never used or dropped: it ends with `exit_now`.
            unsafe { libc::close_range(first, last, 0) };
        }
    };
    close(FIRST, keep.saturating_sub(1));
    close(keep + 1, libc::c_uint::MAX);
}

/// Runs `body` in a forked child and returns the child's exit code: 0 where `body` returned `Ok`, 1 with the error on
/// standard error where it did not, 101 where it panicked, 102 where it could not be tied to its parent's life, and `128 + signal` where a signal killed it.
///
/// For tests that change the whole process, such as entering a user namespace.
#[cfg(test)]
pub fn in_child(body: impl FnOnce() -> Result<(), String>) -> io::Result<i32> {
    use nix::sys::wait::{WaitStatus, waitpid};
    match fork()? {
        ForkResult::Child => {
            if set_parent_death_signal().is_err() {
                exit_now(102);
            }
            std::panic::set_hook(Box::new(|panic| last_words(&panic.to_string())));
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
                Ok(Ok(())) => exit_now(0),
                Ok(Err(text)) => {
                    last_words(&text);
                    exit_now(1)
                }
                Err(_) => exit_now(101),
            }
        }
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        },
    }
}

/// Writes to standard error itself: the test harness would keep what `eprintln!` says, and lose it with the child.
#[cfg(test)]
fn last_words(text: &str) {
    use std::io::Write;
    // Nobody is left to tell if even this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_reports_how_it_ended() {
        assert_eq!(in_child(|| Ok(())).expect("fork"), 0);
        assert_eq!(in_child(|| Err("as planned".into())).expect("fork"), 1);
        assert_eq!(in_child(|| exit_now(42)).expect("fork"), 42);
        let killed = in_child(|| {
            nix::sys::signal::raise(Signal::SIGKILL).map_err(|errno| errno.to_string())?;
            Ok(())
        });
        assert_eq!(killed.expect("fork"), 128 + 9);
    }
}
