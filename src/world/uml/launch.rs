//! Starting a kernel so that it sees nothing of the host, and waiting for its end.
//!
//! The clock of such a kernel moves only when everything in it sleeps, and exactly to the next timer, and all its randomness
//! comes from its command line and from its init. Everything else that could differ between two runs is fixed here. Every
//! letter of the command line counts, so there are no paths of this machine on it.

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

use super::usage::Usage;
use crate::agent::init;
use crate::case::Case;
use crate::seed::Seed;
use crate::sys::uml;

/// The memory of a usual case's guest, in MiB: the kernel takes note of every page as it boots, so more is slower. What it
/// derives from this is set by [`init`] and here.
const MEMORY: u32 = 128;
/// That of a large case, and of any on a kernel that checks itself.
const MEMORY_LARGE: u32 = 256;
/// What a guest gets that ran out of memory.
pub(super) const MEMORY_AMPLE: u32 = 1024;
/// How many bytes of payload a usual case has at most: twice over, captured at both ends, they leave room.
const USUAL: u64 = 4 << 20;
/// How large the table of connections is, and with it how many may be in TIME-WAIT: what 256 MiB give.
const CONNECTIONS: &str = "thash_entries=2048";
/// When every guest's clock starts, in nanoseconds since 1970: 14 November 2023, 22:13:20 UTC.
const BEGINNING: &str = "time-travel-start=1700000000000000000";
/// The descriptor at which a kernel finds the folder that its memory is to lie in.
const MEMORY_FOLDER: RawFd = 8;
/// And where its init.
const INIT: RawFd = 9;
/// And where its further consoles, the first of them.
const CONSOLES: RawFd = 10;
/// In the case folder: what the kernel says.
pub(super) const CONSOLE: &str = "console.log";

/// How often a running kernel's CPU time is checked.
const LOOK: Duration = Duration::from_secs(1);
/// How long a kernel may do nothing at all. It never waits for anything of the host.
const ASLEEP: Duration = Duration::from_secs(60);
/// How much a kernel may write to its console. Complaints take a few kilobytes; a kernel that repeats itself for ever would
/// fill the disk.
const CONSOLE_MAX: u64 = 8 << 20;
/// If a guest's programs had less than one part in this many of the CPU time, it is their kernel that computes for ever.
const PROGRAMS_SHARE: u32 = 50;

/// How much memory the guest of `case` has, in MiB.
pub(super) fn memory(case: &Case, debug: bool) -> u32 {
    let payload = case.client.payload.saturating_add(case.server.payload).saturating_mul(case.rounds.count.into());
    if debug || payload > USUAL { MEMORY_LARGE } else { MEMORY }
}

/// How a kernel's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// Killed, after this much CPU time. In the latter half of it the guest's programs had next to none: they got nowhere.
    KernelComputed(Duration),
    /// Killed, after this much CPU time, of which the guest's programs had their share.
    GuestComputed(Duration),
    /// Killed, after having slept for this long.
    Slept(Duration),
    /// Killed, after having filled its console with this many bytes.
    Flooded(u64),
}

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
    /// How much memory it has, in MiB.
    pub(super) memory: u32,
    /// The folder in which its memory lies; `None`: that which it chooses, `/dev/shm`.
    pub(super) memory_folder: Option<BorrowedFd<'a>>,
    /// Where its consoles write to, beginning with the second: the first is the kernel's own.
    pub(super) consoles: Vec<File>,
}

/// A running kernel. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Running {
    child: std::process::Child,
    handle: OwnedFd,
    console: File,
}

impl Launch<'_> {
    /// Starts the kernel.
    pub(super) fn start(&self) -> io::Result<Running> {
        let console = File::create(self.folder.join(CONSOLE))?;
        let mut command = Command::new(self.program);
        command
            .arg0("linux")
            .arg(format!("mem={}M", self.memory))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
            .arg(format!("init=/proc/self/fd/{INIT}"))
            .args(["time-travel=inf-cpu", BEGINNING, "seccomp=on"])
            // Kernels of the same folder are told apart by a name that is drawn; it lies in the case folder alone.
            .arg("uml_dir=/proc/self/cwd/")
            .args(["console=tty0", "con=null", "con0=null,fd:1", "loglevel=5", CONNECTIONS])
            .args(
                (CONSOLES..).zip(1..).take(self.consoles.len()).map(|(fd, number)| format!("con{number}=null,fd:{fd}")),
            )
            .arg(init::kernel_argument())
            .arg(format!("ww.seed={}", self.seed.0))
            .current_dir(self.folder)
            // With no variable but PATH, a guest's init dies at once.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stderr(console.try_clone()?)
            .stdout(console.try_clone()?)
            // A Ctrl-C is for the campaign to answer.
            .process_group(0);
        let memory = self.memory_folder.map(|folder| (folder, MEMORY_FOLDER));
        if memory.is_some() {
            command.env("TMPDIR", format!("/proc/self/fd/{MEMORY_FOLDER}"));
        }
        let consoles = self.consoles.iter().map(AsFd::as_fd).zip(CONSOLES..);
        let files = memory.into_iter().chain([(self.agent, INIT)]).chain(consoles).collect();
        uml::start_alike(&mut command, self.cpu, files)?;
        let mut child = command.spawn()?;
        match uml::ended(child.id()) {
            Ok(handle) => Ok(Running { child, handle, console }),
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

    /// Waits for its end. Kills it if it has used `limit` of CPU time, sleeps for ever, or writes to its console without end.
    pub(super) fn wait(&mut self, limit: Duration) -> io::Result<Ended> {
        let mut watch = Watch::new(limit);
        loop {
            let timeout = PollTimeout::try_from(LOOK.min(limit)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => {
                    let usage = Usage::of(self.child.id())?;
                    let floods = self.console.metadata()?.len() > CONSOLE_MAX;
                    let flooded = floods.then_some(Ended::Flooded(CONSOLE_MAX));
                    if let Some(end) = flooded.or_else(|| watch.look(usage, Instant::now())) {
                        kill(self.handle.as_fd());
                        self.child.wait()?;
                        return Ok(end);
                    }
                }
                Err(Errno::EINTR) => {}
                Ok(_) => return self.child.wait().map(Ended::Exited),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Watches the CPU time of a kernel.
struct Watch {
    limit: Duration,
    /// At the first look behind the half of the limit.
    half: Option<Usage>,
    /// At the last look that found any progress, and when that was.
    last: (Usage, Instant),
}

impl Watch {
    fn new(limit: Duration) -> Watch {
        Watch { limit, half: None, last: (Usage::default(), Instant::now()) }
    }

    /// Whether it has to end at this look, and why.
    fn look(&mut self, usage: Usage, now: Instant) -> Option<Ended> {
        if usage != self.last.0 {
            self.last = (usage, now);
        }
        let asleep = now.saturating_duration_since(self.last.1);
        if asleep >= ASLEEP {
            return Some(Ended::Slept(ASLEEP));
        }
        if usage.total() < self.limit / 2 {
            return None;
        }
        // Looks may be far apart: whatever had passed at this one, the latter half is to be seen whole.
        let latter = usage.since(*self.half.get_or_insert(usage));
        if latter.total() < self.limit / 2 {
            return None;
        }
        let kernel = latter.programs <= latter.total() / PROGRAMS_SHARE;
        let ended = if kernel { Ended::KernelComputed } else { Ended::GuestComputed };
        // The limit, not what it came to: that depends on when one looks.
        Some(ended(self.limit))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn large_cases_and_kernels_that_check_themselves_get_more_memory() {
        let mut case = Case::default();
        (case.client.payload, case.server.payload) = (USUAL / 2, USUAL / 2);
        assert_eq!((memory(&case, false), memory(&case, true)), (MEMORY, MEMORY_LARGE));
        case.rounds.count = 2;
        assert_eq!(memory(&case, false), MEMORY_LARGE);
    }

    /// Looks once a second while the kernel and the programs get this many milliseconds each time.
    fn watched(kernel: u64, programs: u64) -> (u64, Option<Ended>) {
        let (mut watch, begin) = (Watch::new(LIMIT), Instant::now());
        let end = (1..=100).find_map(|second| {
            let usage = Usage {
                kernel: Duration::from_millis(second * kernel),
                programs: Duration::from_millis(second * programs),
            };
            watch.look(usage, begin + Duration::from_secs(second)).map(|end| (second, end))
        });
        end.map_or((100, None), |(second, end)| (second, Some(end)))
    }

    #[test]
    fn a_kernel_that_computes_for_ever_differs_from_programs_that_do() {
        assert_eq!(watched(1000, 0), (10, Some(Ended::KernelComputed(LIMIT))));
        assert_eq!(watched(0, 1000), (10, Some(Ended::GuestComputed(LIMIT))));
        assert_eq!(watched(500, 500), (10, Some(Ended::GuestComputed(LIMIT))));
    }

    #[test]
    fn a_look_that_comes_late_does_not_decide_alone() {
        assert_eq!(watched(20_000, 0), (2, Some(Ended::KernelComputed(LIMIT))));
        assert_eq!(watched(0, 20_000), (2, Some(Ended::GuestComputed(LIMIT))));
    }

    #[test]
    fn a_busy_machine_only_makes_it_take_longer() {
        assert_eq!(watched(100, 0), (100, Some(Ended::KernelComputed(LIMIT))));
        assert_eq!(watched(50, 0), (100, None));
    }

    #[test]
    fn a_kernel_that_never_ends_to_talk_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("linux");
        std::fs::write(&program, "#!/bin/sh\nexec yes again\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let agent = File::open("/dev/null").unwrap();
        let launch = Launch {
            program: &program,
            agent: agent.as_fd(),
            folder: folder.path(),
            cpu: None,
            seed: Seed(1),
            memory: MEMORY,
            memory_folder: None,
            consoles: Vec::new(),
        };
        let end = launch.start().unwrap().wait(Duration::from_secs(600)).unwrap();
        assert_eq!(end, Ended::Flooded(CONSOLE_MAX));
    }

    #[test]
    fn a_kernel_that_sleeps_on_the_host_is_not_waited_for() {
        assert_eq!(watched(0, 0), (60, Some(Ended::Slept(Duration::from_secs(60)))));
    }
}
