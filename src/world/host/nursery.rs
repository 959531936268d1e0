//! The nursery: a process that forks agents.
//!
//! There are three reasons to fork agents here rather than in the campaign. Only a single-threaded process can enter a user
//! namespace (user_namespaces(7)), and this way it is entered once, not for each case. Forking a small single-threaded
//! process is cheap, and safe, unlike forking one with threads. And an agent dies with its nursery, which dies with its
//! world: the kernel ensures both, so nothing stays behind whichever process is killed.
//!
//! The world asks for an agent by sending one end of a new stream over the control socket. The agent talks over it, and
//! when the agent has ended, the nursery reports how over the same stream.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getgid, getppid, getuid};

use crate::agent;
use crate::agent::protocol::{self, Reply};
use crate::net::namespace;
use crate::sys::process::{self, ForkResult};
use crate::world::WorldError;

/// The world's end of a nursery.
#[derive(Debug)]
pub(super) struct Nursery {
    /// `None` once closed.
    control: Option<UnixStream>,
    pid: Pid,
}

impl Nursery {
    /// Forks a nursery and waits until it is ready.
    pub(super) fn start() -> Result<Nursery, WorldError> {
        let trouble = |error: io::Error| WorldError::Trouble(format!("start the nursery: {error}"));
        let (mut ours, theirs) = UnixStream::pair().map_err(trouble)?;
        match process::fork().map_err(trouble)? {
            ForkResult::Child => {
                // Without the world's end of other streams: it could not tell that a world has ended.
                process::close_all_but(theirs.as_raw_fd());
                end_with(|| serve(theirs))
            }
            ForkResult::Parent { child } => {
                drop(theirs);
                match protocol::receive(&mut ours) {
                    Ok(Reply::Started { .. }) => Ok(Nursery { control: Some(ours), pid: child }),
                    Ok(Reply::Unable(text)) => Err(WorldError::Unable(text)),
                    Ok(other) => Err(WorldError::Trouble(format!("the nursery began with {other:?}"))),
                    Err(error) => Err(WorldError::Trouble(format!("the nursery ended at once: {error}"))),
                }
            }
        }
    }

    /// The stream to a new agent.
    pub(super) fn agent(&mut self) -> io::Result<UnixStream> {
        let control = self.control.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let (ours, theirs) = UnixStream::pair()?;
        let fds = [theirs.as_raw_fd()];
        sendmsg::<()>(
            control.as_raw_fd(),
            &[IoSlice::new(&[0])],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        Ok(ours)
    }

    /// Ends the nursery and all its agents.
    pub(super) fn close(&mut self) {
        if self.control.take().is_some() {
            // It ends by itself at the end of its control socket; this makes sure of it, and reaps it.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.close();
    }
}

/// The exit code of a process that panicked: the standard library's.
const PANICKED: i32 = 101;

/// An agent and the stream that it talks over.
struct Child {
    pid: Pid,
    stream: UnixStream,
}

/// What the nursery does, in the forked process.
fn serve(mut control: UnixStream) -> io::Result<()> {
    // A Ctrl-C goes to the terminal's whole process group; only the campaign is to answer it.
    nix::unistd::setsid()?;
    match namespace::enter_user_namespace(getuid().as_raw(), getgid().as_raw()) {
        Ok(()) => protocol::send(&mut control, &Reply::Started { pid: std::process::id() }),
        Err(error) => protocol::send(&mut control, &Reply::Unable(error.to_string())),
    }
    .map_err(io::Error::other)?;

    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
    let ended = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut children: Vec<Child> = Vec::new();
    loop {
        let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let (asked, someone_ended) = (fds[0].any().unwrap_or(false), fds[1].any().unwrap_or(false));
        if someone_ended {
            while ended.read_signal()?.is_some() {}
            reap(&mut children);
        }
        if asked {
            match receive_stream(&control)? {
                Some(stream) => children.push(fork_agent(stream)?),
                // The world has ended. So do its agents, by their parent's death.
                None => return Ok(()),
            }
        }
    }
}

/// Takes in the stream of the next agent; `None` at the end of the control socket.
fn receive_stream(control: &UnixStream) -> io::Result<Option<UnixStream>> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = recvmsg::<()>(control.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let Some(&fd) = fds.first()
        {
            return Ok(Some(UnixStream::from(process::adopt(fd))));
        }
    }
    Err(io::Error::other("a request without a stream"))
}

fn fork_agent(stream: UnixStream) -> io::Result<Child> {
    let nursery = nix::unistd::getpid();
    match process::fork()? {
        ForkResult::Parent { child } => Ok(Child { pid: child, stream }),
        ForkResult::Child => end_with(|| be_agent(stream, nursery)),
    }
}

/// Ends this process with the exit code of `life`. A panic must not unwind into the frames of the parent process.
fn end_with<E>(life: impl FnOnce() -> Result<(), E>) -> ! {
    process::exit_now(match catch_unwind(AssertUnwindSafe(life)) {
        Ok(Ok(())) => 0,
        Ok(Err(_)) => 1,
        Err(_) => PANICKED,
    })
}

/// What an agent does, in its own process.
fn be_agent(stream: UnixStream, nursery: Pid) -> Result<(), Box<dyn std::error::Error>> {
    process::set_parent_death_signal()?;
    if getppid() != nursery {
        return Err("the nursery is gone".into());
    }
    process::close_all_but(stream.as_raw_fd());
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&signals), None)?;
    Ok(agent::serve(stream)?)
}

/// Reports every agent that has ended, over its own stream, and forgets it.
fn reap(children: &mut Vec<Child>) {
    loop {
        let (pid, how, clean) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exited with code {code}"), code == 0),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("was killed by {signal}"), false),
            _ => return,
        };
        if let Some(place) = children.iter().position(|child| child.pid == pid) {
            let mut child = children.swap_remove(place);
            // Nobody may be listening any more.
            let _ = protocol::send(&mut child.stream, &Reply::Exited { how, clean });
        }
    }
}
