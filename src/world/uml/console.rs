//! Finds complaints in what a guest's kernel writes to its console.

/// The most lines of complaints that are kept.
const LINES_MAX: usize = 400;

/// The marks of a complaint's first line: panics, oopses, warnings, and the reports of KASAN, UBSAN, lockdep and the other
/// checks of a debug kernel.
const COMPLAINTS: [&str; 24] = [
    "Kernel panic - not syncing",
    "kernel BUG at",
    "BUG:",
    "WARNING:",
    "Oops",
    "general protection fault",
    "Unable to handle kernel",
    "Kernel mode fault",
    "UBSAN:",
    "KASAN:",
    "KFENCE:",
    "KCSAN:",
    "kmemleak:",
    "ODEBUG:",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "unregister_netdevice: waiting for",
    "ref_tracker:",
    "blocked for more than",
    "rcu: INFO:",
    "possible circular locking dependency",
    "possible recursive locking",
    "sleeping function called from invalid context",
];

/// What only looks like one: a line of the kernel's own start, and what it says where an init of ours ends before it
/// switches off, which is ours to tell.
const HARMLESS: [&str; 2] = ["Attempted to kill init!", "Requested init"];

/// The complaints of the kernel: everything from the first line of a complaint on. Empty if there is none.
pub(super) fn complaints(console: &str) -> Vec<String> {
    let lines = console.lines().map(|line| line.trim_end_matches('\r'));
    lines.skip_while(|line| !is_complaint(line)).take(LINES_MAX).map(str::to_owned).collect()
}

fn is_complaint(line: &str) -> bool {
    COMPLAINTS.iter().any(|text| line.contains(text)) && !HARMLESS.iter().any(|text| line.contains(text))
}

/// Whether the kernel ran out of memory.
pub(super) fn lacks_memory(console: &str) -> bool {
    console.contains("invoked oom-killer")
}

/// The last lines of a console, for an error.
pub(super) fn last(console: &str, count: usize) -> String {
    let lines: Vec<&str> = console.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a healthy kernel says.
    const CLEAN: &str = "Core dump limits :\n\tsoft - 0\nChecking that seccomp filters can be installed...OK\n\
                         whitewater: the case begins\nreboot: System halted\n";

    #[test]
    fn a_healthy_kernel_has_no_complaints() {
        assert_eq!(complaints(CLEAN), Vec::<String>::new());
        let init = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n";
        assert_eq!(complaints(init), Vec::<String>::new(), "that is the agent's failure");
        let gone = "Kernel panic - not syncing: Requested init /proc/self/fd/9 failed (error -2).\n";
        assert_eq!(complaints(gone), Vec::<String>::new(), "its program was replaced while cases ran");
    }

    #[test]
    fn a_complaint_starts_with_its_first_line() {
        let text =
            format!("{CLEAN}------------[ cut here ]------------\nWARNING: net/mptcp/protocol.c:12 at f\nStack:\n");
        assert_eq!(complaints(&text), ["WARNING: net/mptcp/protocol.c:12 at f", "Stack:"]);
        for line in [
            "BUG: KASAN: slab-use-after-free in tcp_ack+0x1",
            "Kernel panic - not syncing: BUG!",
            "UBSAN: shift-out-of-bounds in net/ipv4/tcp.c:7:9",
            "WARNING: possible circular locking dependency detected",
        ] {
            assert_eq!(complaints(line), [line]);
        }
    }

    #[test]
    fn a_kernel_that_looks_for_something_to_kill_lacks_memory() {
        assert!(lacks_memory("links invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE), order=0\nCPU: 0\n"));
        assert!(!lacks_memory(CLEAN));
    }

    #[test]
    fn a_flood_is_cut() {
        assert_eq!(complaints(&"BUG: again\n".repeat(1000)).len(), LINES_MAX);
        assert_eq!(last("a\n\nb\nc\n", 2), "b\nc");
    }
}
