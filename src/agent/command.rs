//! A command in a guest, in place of a case: `whitewater kernel run`.
//!
//! The guest's init starts it, copies its output to two serial lines, and ends what it leaves running.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// In the case folder: the order.
pub const ORDER: &str = "order.json";
/// In the case folder: the [`Outcome`].
pub const OUTCOME: &str = "outcome.json";
/// The consoles of the guest whose lines are the command's standard output and standard error.
pub const CONSOLES: [u32; 2] = [1, 2];

/// The major number of consoles (Documentation/admin-guide/devices.txt).
const CONSOLE_MAJOR: u64 = 4;
/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is carried at once.
const CHUNK: usize = 4096;
/// The exit code of a shell for a program that does not exist.
const NOT_FOUND: u8 = 127;
/// The exit code of a shell for a program that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The program and its arguments: at least one.
    pub words: Vec<String>,
    /// The folder to run it in, as the host names it. The command may write to it.
    pub folder: PathBuf,
    /// What the guest's random numbers come from.
    pub seed: Seed,
    /// Whether to leave the counters of the lines that the kernel has executed.
    #[serde(default)]
    pub coverage: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its exit code, or what a shell makes of it: 128 and the number of the signal that ended it.
    pub code: u8,
}

/// Runs a command to its end, and ends what it has started.
pub(super) fn obey(order: &Order) -> Result<Outcome, String> {
    make_room(&order.folder)?;
    let outputs = [console(CONSOLES[0])?, console(CONSOLES[1])?];
    let Some((program, arguments)) = order.words.split_first() else {
        return Err("no command".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&order.folder)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let [output, mut errors] = outputs;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let told = writeln!(errors, "error: run {program}: {error}");
            told.map_err(|error| format!("write to the console: {error}"))?;
            let found = error.kind() != io::ErrorKind::NotFound;
            return Ok(Outcome { code: if found { NOT_EXECUTABLE } else { NOT_FOUND } });
        }
    };
    let carriers =
        [child.stdout.take().map(|pipe| carry(pipe, output)), child.stderr.take().map(|pipe| carry(pipe, errors))];
    let code = reap_until(child.id())?;
    // Processes that it has left behind hold on to the pipes.
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(format!("end what the command has left behind: {errno}")),
    }
    for carrier in carriers.into_iter().flatten() {
        let carried = carrier.join().map_err(|_| "a thread that carries output panicked".to_owned())?;
        carried.map_err(|error| format!("carry the command's output: {error}"))?;
    }
    Ok(Outcome { code })
}

/// Mounts what scripts expect of `/dev`, and the command's folder, writable: over the host's own, which is read-only, and
/// over the guest's memory file systems, which hide those of the host's `/tmp`.
fn make_room(folder: &Path) -> Result<(), String> {
    for (name, descriptor) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        let place = Path::new("/dev").join(name);
        symlink(format!("/proc/self/fd{descriptor}"), &place)
            .map_err(|error| format!("make {}: {error}", place.display()))?;
    }
    if folder == Path::new("/") {
        return Ok(());
    }
    let told = |error: &dyn std::fmt::Display| format!("mount {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(|error| told(&error))?;
    mount(Some("none"), folder, Some("hostfs"), MsFlags::empty(), Some(folder)).map_err(|errno| told(&errno))
}

/// Opens a console that leaves bytes as they are.
fn console(number: u32) -> Result<File, String> {
    let path = format!("/dev/tty{number}");
    let told = |error: &dyn std::fmt::Display| format!("{path}: {error}");
    let mode = Mode::from_bits_truncate(0o600);
    mknod(path.as_str(), SFlag::S_IFCHR, mode, makedev(CONSOLE_MAJOR, number.into())).map_err(|errno| told(&errno))?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOCTTY).open(&path);
    let file = file.map_err(|error| told(&error))?;
    let mut settings = tcgetattr(&file).map_err(|errno| told(&errno))?;
    cfmakeraw(&mut settings);
    tcsetattr(&file, SetArg::TCSANOW, &settings).map_err(|errno| told(&errno))?;
    Ok(file)
}

/// Copies a pipe to a console until it ends.
fn carry(mut pipe: impl Read + Send + 'static, mut console: File) -> JoinHandle<io::Result<()>> {
    std::thread::spawn(move || {
        let mut buffer = [0; CHUNK];
        loop {
            match pipe.read(&mut buffer)? {
                0 => return Ok(()),
                length => console.write_all(&buffer[..length])?,
            }
        }
    })
}

/// Reaps the orphans that a guest's init inherits, until this child ends.
fn reap_until(child: u32) -> Result<u8, String> {
    loop {
        let (pid, status) = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::from_raw((code & 0xff) << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::from_raw(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(format!("wait for the command: {errno}")),
        };
        if u32::try_from(pid.as_raw()) == Ok(child) {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or_default();
            return Ok(u8::try_from(code).unwrap_or(u8::MAX));
        }
    }
}
