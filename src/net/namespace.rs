//! Network namespaces without names, and the user namespace that lets an ordinary user have them.
//!
//! A network namespace belongs to a thread. A socket belongs to the namespace in which its thread was when it called
//! socket(2), a TAP device to the one in which `/dev/net/tun` was opened, and `/proc/sys/net` and
//! `/proc/thread-self/net` show the one of the thread that reads. So [`Namespace::run`] is all that is needed: what was
//! opened inside works from anywhere.
//!
//! The kernel removes a namespace once its last thread, descriptor and socket are gone; its devices follow within some
//! 60 ms. Nothing has to be torn down.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::{NetError, sysctl};

/// The calling thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive by this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    fd: OwnedFd,
}

impl Namespace {
    /// Makes a new namespace; `name` is what error messages call it. It has a loopback device, which is down.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN in the current user namespace: see [`enter_user_namespace`].
    pub fn new(name: &str) -> Result<Namespace, NetError> {
        in_thread(|| Namespace::unshare(name))
    }

    /// As [`Namespace::new`], but leaves the calling thread inside.
    pub fn unshare(name: &str) -> Result<Namespace, NetError> {
        HOME.take();
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
            NetError::new("make a network namespace", errno).on(name).way_out(
                "run as root or let an agent enter a user namespace first; `whitewater doctor` tells what fails",
            )
        })?;
        Namespace::current(name)
    }

    /// The namespace in which the calling thread is.
    pub fn current(name: &str) -> Result<Namespace, NetError> {
        let file = File::open(OWN).map_err(|error| NetError::new(format!("open {OWN}"), error).on(name))?;
        Ok(Namespace { name: name.to_owned(), fd: file.into() })
    }

    /// What error messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where other processes find it as long as this value lives, for `nsenter --net=`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()))
    }

    /// Moves the calling thread into it, for good.
    pub fn enter(&self) -> Result<(), NetError> {
        HOME.take();
        setns(&self.fd, CloneFlags::CLONE_NEWNET).map_err(|errno| NetError::new("enter it", errno).on(&self.name))
    }

    /// Runs `body` inside. Where `body` panics, so does this.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T, NetError> {
        apart(|| {
            self.enter()?;
            Ok(body())
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

thread_local! {
    /// Where this thread is, if it has been [`apart`] before and has not moved since: a guest spares three traps each time.
    static HOME: Cell<Option<Home>> = const { Cell::new(None) };
}

/// The namespace that a thread comes from.
struct Home {
    namespace: Namespace,
    /// Whether it may come back: who has rights over other namespaces need not have them over its own.
    is_open: bool,
}

/// Runs `body`, which may change the thread's namespace, and comes back. Where `body` panics, so does this.
///
/// A thread of its own goes where the calling one could not return, which costs a guest twenty traps.
pub fn apart<T: Send>(body: impl FnOnce() -> Result<T, NetError> + Send) -> Result<T, NetError> {
    let home = match HOME.take() {
        Some(home) => home,
        None => {
            let namespace = Namespace::current("the calling thread's namespace")?;
            let is_open = namespace.enter().is_ok();
            Home { namespace, is_open }
        }
    };
    let outcome = if home.is_open {
        let outcome = catch_unwind(AssertUnwindSafe(body));
        // It was allowed before. A thread that stayed elsewhere would look like one at home.
        home.namespace.enter().expect("a thread returns to the namespace that it came from");
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    } else {
        in_thread(body)
    };
    HOME.set(Some(home));
    outcome
}

/// Runs `body` on a thread of its own, which may change its namespace, and waits for it.
pub fn in_thread<T: Send>(body: impl FnOnce() -> Result<T, NetError> + Send) -> Result<T, NetError> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("namespace".into()).spawn_scoped(scope, body);
        let handle = spawned.map_err(|error| NetError::new("start a thread", error))?;
        handle.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Moves this process into a new user namespace, in which it is root, and a new network namespace of that.
///
/// `uid` and `gid` are who the caller is outside (`geteuid()`, `getegid()`), and what its files will be owned by. The
/// process must be single-threaded. It keeps what it may do with files, and gains all rights over networks of its own.
///
/// # Errors
/// EINVAL in a process with several threads; EPERM or ENOSPC where this machine forbids user namespaces, with the setting
/// that does and how to change it.
pub fn enter_user_namespace(uid: u32, gid: u32) -> Result<(), NetError> {
    let operation = "enter a user namespace of our own";
    HOME.take();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| forbidden(operation, errno.into()))?;
    // Before gid_map: user_namespaces(7). Absent where the kernel is older than the rule.
    match fs::write("/proc/self/setgroups", "deny") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(forbidden("write /proc/self/setgroups", error));
        }
        _ => {}
    }
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))
        .map_err(|error| forbidden("write /proc/self/uid_map", error))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(|error| forbidden("write /proc/self/gid_map", error))
}

/// The settings that can forbid user namespaces: the key, the value that forbids, the command that allows.
const GATES: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
];

fn forbidden(operation: &str, source: io::Error) -> NetError {
    let way_out = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINVAL) => {
            "this needs a process with one thread, that has not changed its root directory".to_owned()
        }
        _ => why_forbidden(),
    };
    NetError::new(operation, source).way_out(way_out)
}

/// Which settings of this machine stand between an ordinary user and a user namespace.
fn why_forbidden() -> String {
    let closed: Vec<String> = GATES
        .iter()
        .filter(|(key, closed, _)| sysctl::get(key).is_ok_and(|value| value == *closed))
        .map(|(key, closed, command)| format!("{key} is {closed}: as root, `{command}`"))
        .collect();
    if !closed.is_empty() {
        return closed.join(", and ");
    }
    let keys: Vec<&str> = GATES.iter().map(|(key, _, _)| *key).collect();
    format!(
        "none of {} forbids it, so a container's seccomp profile may, or the limit on nested namespaces: run as root, or \
         let the container (`--security-opt seccomp=unconfined`)",
        keys.join(", ")
    )
}
