//! Starting a kernel such that nothing of the host shows in it, and waiting for its end.
//!
//! A kernel of this world computes: its clock moves only when everyone in it sleeps, by exactly as much as the next timer
//! asks for, and all its randomness comes from its command line and from its init. What else could differ between two
//! runs is fixed here. So the text of the command line counts, every letter of it: no path of this machine stands there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::agent::init;
use crate::seed::Seed;
use crate::sys::uml;

/// The memory of a guest. Another size is another run: the kernel derives limits from it.
const MEMORY: &str = "mem=128M";
/// When every guest's clock starts, in nanoseconds since 1970: 14 November 2023, 22:13:20 UTC.
const BEGINNING: &str = "time-travel-start=1700000000000000000";
/// The descriptor at which a kernel finds its init.
const INIT: RawFd = 9;
/// In the case folder: what the kernel says.
pub(super) const CONSOLE: &str = "console.log";

/// What to start.
pub(super) struct Launch<'a> {
    /// The kernel's program.
    pub(super) program: &'a Path,
    /// The program that is the guest's init: this one.
    pub(super) agent: BorrowedFd<'a>,
    /// The case folder.
    pub(super) folder: &'a Path,
    /// The CPU of the host to run on. On more than one, a kernel is 12 times slower: it and its processes hand over to
    /// each other all the time.
    pub(super) cpu: Option<usize>,
    /// What its random numbers come from.
    pub(super) seed: Seed,
}

/// A running kernel. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Running {
    child: std::process::Child,
    handle: OwnedFd,
}

impl Launch<'_> {
    /// Starts the kernel.
    pub(super) fn start(&self) -> io::Result<Running> {
        let console = File::create(self.folder.join(CONSOLE))?;
        let mut command = Command::new(self.program);
        command
            .arg0("linux")
            .args([MEMORY, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
            .arg(format!("init=/proc/self/fd/{INIT}"))
            .args(["time-travel=inf-cpu", BEGINNING, "seccomp=on"])
            // Kernels of the same folder are told apart by a name that is drawn; it lies in the case folder alone.
            .arg("uml_dir=/proc/self/cwd/")
            .args(["console=tty0", "con=null", "con0=null,fd:1", "loglevel=5"])
            .arg(init::kernel_argument())
            .arg(format!("ww.seed={}", self.seed.0))
            .current_dir(self.folder)
            // With no variable but PATH, a guest's init dies at once.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stderr(console.try_clone()?)
            .stdout(console)
            // A Ctrl-C is for the campaign to answer.
            .process_group(0);
        uml::start_alike(&mut command, self.cpu, self.agent.try_clone_to_owned()?, INIT)?;
        let mut child = command.spawn()?;
        match uml::ended(child.id()) {
            Ok(handle) => Ok(Running { child, handle }),
            Err(error) => {
                // Without the handle nobody could wait for it with a limit.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }
}

impl Running {
    /// A second handle, to [`kill`] it from elsewhere.
    pub(super) fn handle(&self) -> io::Result<OwnedFd> {
        self.handle.try_clone()
    }

    /// Waits for its end, and kills it after `limit`: then `None`.
    pub(super) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a wait of less than a millisecond is none.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_zero() => {
                    kill(self.handle.as_fd());
                    self.child.wait()?;
                    return Ok(None);
                }
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.child.wait().map(Some),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing happens to one that has ended and been waited for.
        kill(self.handle.as_fd());
        let _ = self.child.wait();
    }
}

/// Kills the kernel behind a handle; its processes go with it.
pub(super) fn kill(handle: BorrowedFd<'_>) {
    // It may have ended already.
    let _ = uml::send_signal(handle, Signal::SIGKILL);
}
