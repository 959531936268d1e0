//! What a User-Mode-Linux kernel needs around it, on the host and in the guest.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::personality::{self, Persona};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Makes `command` start its program in a process in which nothing of the host shows that differs between two runs:
/// no address randomization, no entropy (getrandom(2) fails with ENOSYS; a filter that no child can shed), one CPU
/// where `cpu` names one. The program finds a copy of each of `files` at the descriptor beside it, leaves no core file,
/// and is killed once the thread that started it ends.
///
/// Where the program cannot be executed, `spawn` may succeed all the same and the child be aborted: one of the numbers may
/// have been the pipe over which the child would have told.
pub fn start_alike(command: &mut Command, cpu: Option<usize>, files: Vec<(BorrowedFd<'_>, RawFd)>) -> io::Result<()> {
    // Out of the way of the numbers that they are to have.
    let above = files.iter().map(|(_, number)| number + 1).max().unwrap_or_default();
    let files = files
        .into_iter()
        .map(|(file, number)| {
            let copy = fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(above))?;
            // SAFETY: the descriptor is fresh, open and nobody else's.
            Ok((unsafe { OwnedFd::from_raw_fd(copy) }, number))
        })
        .collect::<io::Result<Vec<_>>>()?;
    let cpus = match cpu {
        Some(cpu) => {
            let mut set = CpuSet::new();
            set.set(cpu)?;
            Some(set)
        }
        None => None,
    };
    let prepare = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if let Some(cpus) = &cpus {
            sched_setaffinity(Pid::from_raw(0), cpus)?;
        }
        personality::set(personality::get()? | Persona::ADDR_NO_RANDOMIZE)?;
        prctl::set_no_new_privs()?;
        deny_entropy()?;
        files.iter().try_for_each(|(file, number)| duplicate(file.as_raw_fd(), *number))
    };
    // SAFETY: between fork and exec the closure makes system calls alone: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}

/// Puts a copy of `from` at `to`, another number, to be kept across exec(2).
fn duplicate(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: the call takes no pointer. `to` belongs to nobody in a child that is about to execute a program.
    let result = unsafe { libc::dup2(from, to) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on getrandom(2) fails with ENOSYS in this process and in all that it starts.
fn deny_entropy() -> io::Result<()> {
    // include/uapi/linux/bpf_common.h and seccomp.h; the number of the call is the first field of struct seccomp_data.
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let mut program = [
        statement(LOAD, 0),
        libc::sock_filter { code: IF_EQUAL, jt: 0, jf: 1, k: libc::SYS_getrandom as u32 },
        statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        statement(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads the program that `filter` points to during the call, and both outlive it.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that is readable once the child process `pid` has ended: pidfd_open(2), Linux 5.3 and later.
pub fn ended(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, open and nobody else's; the kernel numbers descriptors by int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// PIDFD_SIGNAL_PROCESS_GROUP (include/uapi/linux/pidfd.h), since Linux 6.9.
const PROCESS_GROUP: libc::c_uint = 1 << 2;

/// Sends `signal` to the process behind a descriptor of [`ended`] and to all of the group that it leads:
/// pidfd_send_signal(2). Kernels before 6.9 reach the process alone. One that has ended is ESRCH, never another process.
pub fn send_signal(process: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    match send(process, signal, PROCESS_GROUP) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => send(process, signal, 0),
        result => result,
    }
}

fn send(process: BorrowedFd<'_>, signal: Signal, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: no siginfo is passed, the rest are integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal as libc::c_int,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many bytes of entropy are credited at once.
pub const ENTROPY: usize = 64;

/// struct rand_pool_info with its data (include/uapi/linux/random.h).
#[repr(C)]
struct PoolInfo {
    entropy_bits: libc::c_int,
    size_bytes: libc::c_int,
    data: [u8; ENTROPY],
}

/// Feeds the kernel's random pool, and has it counted as entropy: RNDADDENTROPY of random(4). `device` is /dev/random.
pub fn credit_entropy(device: impl AsFd, data: [u8; ENTROPY]) -> io::Result<()> {
    const RNDADDENTROPY: libc::Ioctl = nix::request_code_write!(b'R', 0x03, 2 * size_of::<libc::c_int>());
    let info = PoolInfo { entropy_bits: 8 * ENTROPY as libc::c_int, size_bytes: ENTROPY as libc::c_int, data };
    // SAFETY: the kernel reads the two fields and as many bytes behind them as the second says, all within `info`.
    let result = unsafe { libc::ioctl(device.as_fd().as_raw_fd(), RNDADDENTROPY, &raw const info) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Switches the machine off: reboot(2). Returns only where that is refused.
pub fn power_off() -> io::Error {
    match nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}
