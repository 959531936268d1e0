//! What it means that a guest ended without a reply: a finding if its kernel hung, trouble of ours otherwise.
//!
//! An agent's threads sleep in few ways: in poll, on a futex, for a time. A thread that waits in a socket's code, or that
//! nothing can wake, and is still there long after the case should have ended, waits for the kernel.

use std::time::Duration;

use super::launch::Ended;
use crate::agent::init;
use crate::case::Case;
use crate::observation::Hang;

/// The CPU time that any case gets: some hundred times as much as a usual one needs.
const BASE: Duration = Duration::from_secs(10);
/// How many bytes even a slow case, with tiny segments or single bytes, moves in a second of CPU time.
const BYTES_PER_SECOND: u64 = 100_000;
/// How much more a kernel needs that checks itself, measured: 7 for a lossy case, 16 for a boot.
const DEBUG: u32 = 8;

/// How much CPU time a healthy case never needs.
pub(super) fn cpu_limit(case: &Case, debug: bool) -> Duration {
    let bytes = case.client.payload.saturating_add(case.server.payload);
    let limit = BASE + Duration::from_secs(bytes / BYTES_PER_SECOND);
    if debug { limit * DEBUG } else { limit }
}

/// What code of sockets a thread may be held in: the beginnings of its functions' names.
const SOCKETS: [&str; 10] =
    ["tcp_", "__tcp_", "mptcp_", "__mptcp_", "inet_", "sk_", "sock_", "lock_sock", "__lock_sock", "wait_woken"];
/// The watchdog itself, which writes the list down.
const WATCHDOG: &str = "watchdog";

/// Whether the kernel hung. `threads`: what the watchdog has left of a hung agent.
pub(super) fn of_kernel(end: Ended, threads: &str) -> Option<Hang> {
    match end {
        Ended::KernelComputed(cpu) => Some(Hang::Computes { cpu }),
        Ended::Exited(status) if status.code() == Some(init::HANGED.into()) => threads.lines().find_map(held),
        Ended::Exited(_) | Ended::GuestComputed(_) | Ended::Slept(_) | Ended::Flooded(_) => None,
    }
}

/// A thread that the kernel holds: `7 client waits in lock_sock_nested; 7 (client) D 0 ...`.
fn held(line: &str) -> Option<Hang> {
    let (who, stat) = line.split_once("; ")?;
    let (who, place) = who.rsplit_once(" waits in ")?;
    let (_, thread) = who.split_once(' ')?;
    let (_, state) = stat.rsplit_once(") ")?;
    let in_socket = SOCKETS.iter().any(|name| place.starts_with(name));
    let held = thread != WATCHDOG && (in_socket || state.starts_with('D'));
    held.then(|| Hang::Holds { thread: thread.to_owned(), place: place.to_owned() })
}

/// How else a guest without a reply ended, in words.
pub(super) fn words(end: Ended) -> String {
    let seconds = |time: Duration| time.as_secs();
    match end {
        Ended::Exited(status) if status.code() == Some(init::HANGED.into()) => "hung in virtual time".into(),
        Ended::Exited(status) => format!("ended without a reply ({status})"),
        Ended::KernelComputed(cpu) => format!("got nowhere: its kernel computed for {} s of CPU time", seconds(cpu)),
        Ended::GuestComputed(cpu) => {
            format!("computed for {} s of CPU time without an end and was killed", seconds(cpu))
        }
        Ended::Flooded(bytes) => format!("filled its console with {} MiB and was killed", bytes >> 20),
        Ended::Slept(time) => format!("did nothing for {} s on the host's clock and was killed", seconds(time)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn hanged() -> Ended {
        Ended::Exited(ExitStatus::from_raw(i32::from(init::HANGED) << 8))
    }

    #[test]
    fn a_thread_that_a_socket_holds_speaks_against_the_kernel() {
        let held = |place: &str, state: &str| {
            let text = format!(
                "1 whitewater waits in futex_do_wait; 1 (whitewater) S 0\n\
                 9 watchdog waits in 0; 9 (watchdog) R 0\n7 client waits in {place}; 7 (a) b) {state} 0 1\n"
            );
            of_kernel(hanged(), &text)
        };
        let hang = |place: &str| Some(Hang::Holds { thread: "client".into(), place: place.into() });
        assert_eq!(held("__lock_sock", "S"), hang("__lock_sock"));
        assert_eq!(held("synchronize_rcu_normal", "D"), hang("synchronize_rcu_normal"));
        for own in ["futex_do_wait", "poll_schedule_timeout", "do_sys_poll", "hrtimer_nanosleep", "0", ""] {
            assert_eq!(held(own, "S"), None, "{own}");
        }
        assert_eq!(of_kernel(hanged(), ""), None);
    }

    #[test]
    fn only_a_kernel_that_computed_alone_is_to_blame() {
        let time = Duration::from_secs(9);
        assert_eq!(of_kernel(Ended::KernelComputed(time), ""), Some(Hang::Computes { cpu: time }));
        let exited = Ended::Exited(ExitStatus::from_raw(9));
        for end in [Ended::GuestComputed(time), Ended::Slept(time), Ended::Flooded(1 << 20), exited] {
            assert_eq!(of_kernel(end, ""), None, "{end:?}");
            assert!(!words(end).is_empty());
        }
    }

    #[test]
    fn large_cases_and_kernels_that_check_themselves_get_more_time() {
        let mut case = Case::default();
        case.client.payload = 0;
        case.server.payload = 1_000_000;
        assert_eq!(cpu_limit(&case, false), Duration::from_secs(20));
        assert_eq!(cpu_limit(&case, true), Duration::from_secs(160));
    }
}
