//! The agent as the init of a guest: the first and only program that a kernel of the deterministic world runs.
//!
//! The guest's root is the host's, read-only. What the guest writes to is in memory, except for the case folder, which
//! belongs to the world: the agent reads its [`Errand`] from there, and leaves its answer there, as one
//! [`Reply`], with the evidence beside it where it judges that the run is a finding: to write it takes longer than many a
//! case. Then it switches the machine off.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};

use super::command::{self, ORDER, OUTCOME, Order};
use super::protocol::{Errand, Reply};
use super::{coverage, run};
use crate::net::sysctl;
use crate::oracle::{Expectation, judge};
use crate::seed::Seed;
use crate::sys::{heap, uml};

/// The variable that a guest's kernel gives its init, which tells it from the first process of a container.
pub const VARIABLE: &str = "WHITEWATER_GUEST";
/// In the case folder: the errand. Without it the guest ends as soon as it is up.
pub const ERRAND: &str = "errand.json";
/// In the case folder: the reply.
pub const REPLY: &str = "reply.json";
/// In the case folder: the folder of the evidence.
pub const EVIDENCE: &str = "evidence";
/// In the case folder: the folder of the counters of executed lines.
pub const COVERAGE: &str = "coverage";
/// In the case folder: what each thread of a hung agent did.
pub const HUNG: &str = "hung.txt";
/// What the guest writes to its console once its kernel is up and the case begins.
pub const BEGINS: &str = "whitewater: the case begins";

/// The case folder, as the host's kernel process sees it: its working folder. The text is the same for every case.
const CASE_FOLDER_OUTSIDE: &str = "/proc/self/cwd";
/// The case folder in the guest.
const CASE_FOLDER: &str = "/run/case";
/// Sets the exit code of the kernel's process on the host.
const EXIT_CODE: &str = "/proc/exitcode";
/// How late a sleeping thread may be woken, in nanoseconds: the least that the kernel accepts.
const SLACK: u64 = 1;
/// How much virtual time an agent may need beyond its case's budget and patience before it counts as hung.
const GRACE: Duration = Duration::from_secs(600);

/// The exit code of a guest whose agent has left its answer.
pub const DONE: u8 = 0;
/// The exit code of a guest whose agent failed; the reason is on the console.
pub const FAILED: u8 = 1;
/// The exit code of a guest whose agent hung.
pub const HANGED: u8 = 2;

/// Whether this process is the init of a guest.
pub fn is_guest() -> bool {
    // The answer never changes; asking for the process number costs a system call each time.
    static IS: LazyLock<bool> = LazyLock::new(|| std::process::id() == 1 && std::env::var_os(VARIABLE).is_some());
    *IS
}

/// The main function of a guest's init. Returns only if the machine cannot be switched off.
pub fn main() -> ExitCode {
    let code = match catch_unwind(AssertUnwindSafe(live)) {
        Ok(Ok(())) => DONE,
        Ok(Err(error)) => {
            println!("whitewater: the agent failed: {error}");
            FAILED
        }
        // The panic has spoken for itself.
        Err(_) => FAILED,
    };
    switch_off(code)
}

/// What a guest's init could not do.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
struct InitError {
    what: String,
    error: Box<dyn std::error::Error + Send + Sync>,
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: impl Into<String>) -> impl FnOnce(E) -> InitError {
    let what = what.into();
    |error| InitError { what, error: error.into() }
}

fn live() -> Result<(), InitError> {
    nix::sys::prctl::set_timerslack(SLACK).map_err(failed("set the timer slack"))?;
    mount_all(&FILE_SYSTEMS)?;
    fs::create_dir(CASE_FOLDER).map_err(failed(CASE_FOLDER))?;
    mount(Some("none"), CASE_FOLDER, Some("hostfs"), MsFlags::empty(), Some(CASE_FOLDER_OUTSIDE))
        .map_err(failed(format!("mount {CASE_FOLDER}")))?;
    fs::create_dir("/dev/net").map_err(failed("/dev/net"))?;
    make_devices(&DEVICES)?;
    if let Some(order) = order()? {
        mount_all(&FURTHER_FILE_SYSTEMS)?;
        make_devices(&FURTHER_DEVICES)?;
        stir(order.seed)?;
        let outcome = command::obey(&order).map_err(failed("run the command"))?;
        if order.coverage {
            count_lines().map_err(failed("count executed lines"))?;
        }
        let bytes = serde_json::to_vec(&outcome).map_err(failed("write the outcome"))?;
        return fs::write(Path::new(CASE_FOLDER).join(OUTCOME), bytes).map_err(failed("write the outcome"));
    }
    let errand = match fs::read(Path::new(CASE_FOLDER).join(ERRAND)) {
        Ok(bytes) => {
            heap::share();
            serde_json::from_slice::<Errand>(&bytes).map_err(failed("read the errand"))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read the errand")(error)),
    };
    if errand.coverage {
        mount_all(&[SYSFS])?;
    }
    stir(errand.case.seed)?;
    fix_limits()?;
    watch_over(&errand)?;
    println!("{BEGINS}");
    let reply = match run::run(&errand) {
        Ok((observation, evidence)) => {
            let wanted = errand.evidence || judge(&errand.case, &observation).kind.is_finding();
            let folder = Path::new(CASE_FOLDER).join(EVIDENCE);
            let counted = if errand.coverage { count_lines() } else { Ok(()) };
            let written = if wanted { evidence.write(&folder, &observation) } else { Ok(()) };
            match (written, counted) {
                (Ok(()), Ok(())) => Reply::Observed(Box::new(observation)),
                (Err(error), _) => Reply::Trouble(error.to_string()),
                (_, Err(error)) => Reply::Trouble(error),
            }
        }
        Err(run::RunError::Unable(text)) => Reply::Unable(text),
        Err(run::RunError::Trouble(text)) => Reply::Trouble(text),
    };
    let bytes = serde_json::to_vec(&reply).map_err(failed("write the reply"))?;
    fs::write(Path::new(CASE_FOLDER).join(REPLY), bytes).map_err(failed("write the reply"))
}

/// The order in the case folder, if it holds one in place of an errand.
fn order() -> Result<Option<Order>, InitError> {
    match fs::read(Path::new(CASE_FOLDER).join(ORDER)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(failed("read the order")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read the order")(error)),
    }
}

/// Saves the counters of the lines that this kernel has executed.
fn count_lines() -> Result<(), String> {
    let folder = Path::new(CASE_FOLDER).join(COVERAGE);
    fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    match coverage::copy(&folder)? {
        0 => {
            Err("this kernel counts no lines of net/mptcp: build one with `whitewater kernel build --coverage`".into())
        }
        _ => Ok(()),
    }
}

/// What a case needs over the host's read-only root: kinds and places. Each is a system call, and some memory.
const FILE_SYSTEMS: [(&str, &str); 3] = [("proc", "/proc"), ("tmpfs", "/dev"), ("tmpfs", "/run")];
/// What other programs may need besides.
const FURTHER_FILE_SYSTEMS: [(&str, &str); 2] = [SYSFS, ("tmpfs", "/tmp")];
/// Where the kernel's counters of executed lines are.
const SYSFS: (&str, &str) = ("sysfs", "/sys");

fn mount_all(file_systems: &[(&str, &str)]) -> Result<(), InitError> {
    let nothing: Option<&str> = None;
    file_systems.iter().try_for_each(|(kind, place)| {
        mount(Some(*kind), *place, Some(*kind), MsFlags::empty(), nothing).map_err(failed(format!("mount {place}")))
    })
}

/// A character device: its path and its numbers (Documentation/admin-guide/devices.txt).
type Device = (&'static str, u64, u64);

/// The devices that a case may need.
const DEVICES: [Device; 2] = [("/dev/random", 1, 8), ("/dev/net/tun", 10, 200)];
/// Those that other programs may need besides.
const FURTHER_DEVICES: [Device; 4] =
    [("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/urandom", 1, 9)];

fn make_devices(devices: &[Device]) -> Result<(), InitError> {
    umask(Mode::empty());
    let everyone = Mode::from_bits_truncate(0o666);
    for (path, major, minor) in devices {
        mknod(*path, SFlag::S_IFCHR, everyone, makedev(*major, *minor)).map_err(failed(*path))?;
    }
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// Gives the kernel all its randomness from the seed. Without crediting it as entropy, the first to ask for random numbers
/// would wait 2.5 s for the kernel to gather some from timer jitter.
fn stir(seed: Seed) -> Result<(), InitError> {
    let mut stream = seed.stream("guest entropy");
    let mut data = [0; uml::ENTROPY];
    for word in data.chunks_exact_mut(8) {
        word.copy_from_slice(&stream.next_u64().to_le_bytes());
    }
    let device = File::options().write(true).open("/dev/random").map_err(failed("open /dev/random"))?;
    uml::credit_entropy(device, data).map_err(failed("credit entropy to /dev/random"))
}

/// The settings that a kernel derives from its memory, as one with 256 MiB has them, so that the size of a guest's memory
/// changes no case. Namespaces inherit them. `thash_entries=` on the command line does the rest.
const LIMITS: [(&str, &str); 3] = [
    ("net.ipv4.tcp_mem", "2892 3857 5784"),
    ("net.ipv4.tcp_rmem", "4096 131072 1975136"),
    ("net.ipv4.tcp_wmem", "4096 16384 1975136"),
];

fn fix_limits() -> Result<(), InitError> {
    LIMITS.iter().try_for_each(|(key, value)| sysctl::set(key, value)).map_err(failed("set limits"))
}

/// Starts the thread that ends the guest if the agent itself hangs. Virtual time races while everyone sleeps, so it is
/// soon over.
fn watch_over(errand: &Errand) -> Result<(), InitError> {
    let expectation = Expectation::of(&errand.case);
    let bound = expectation.budget + 2 * expectation.patience + expectation.settle + GRACE;
    let watch = move || {
        std::thread::sleep(bound);
        println!("whitewater: the agent hung: it was not done after {} s of virtual time", bound.as_secs());
        // Ending matters more than the report on what hung.
        let _ = tell_threads(&Path::new(CASE_FOLDER).join(HUNG));
        switch_off(HANGED)
    };
    let thread = std::thread::Builder::new().name("watchdog".into()).spawn(watch);
    thread.map(drop).map_err(failed("start the watchdog"))
}

/// Writes down each thread of this process: its name, what it waits for, and its state.
fn tell_threads(path: &PathBuf) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for thread in fs::read_dir("/proc/self/task")?.flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let number = thread.file_name().to_string_lossy().into_owned();
        writeln!(file, "{number} {} waits in {}; {}", read("comm").trim(), read("wchan"), read("stat").trim())?;
    }
    Ok(())
}

/// Ends the guest. Its kernel's process on the host exits with `code`.
fn switch_off(code: u8) -> ExitCode {
    if let Err(error) = fs::write(EXIT_CODE, code.to_string()) {
        println!("whitewater: {EXIT_CODE}: {error}");
    }
    // What was written to the case folder is still in the guest's memory.
    nix::unistd::sync();
    println!("whitewater: could not switch off: {}", uml::power_off());
    ExitCode::from(code)
}

/// What a guest's kernel has to be told for its init to know itself.
pub fn kernel_argument() -> OsString {
    // The kernel hands on to init's environment what it does not know itself and what has no dot in its name.
    format!("{VARIABLE}=1").into()
}
