//! The kernel complained: a panic, a warning, a report of one of its own checks.

use crate::oracle::{Kind, Run, Verdict};

/// Names by which frames of a call trace are recognised as network code, if the complaint itself names only a helper.
const NETWORK: [&str; 8] = ["mptcp_", "__mptcp_", "subflow_", "tcp_", "__tcp_", "inet_", "sk_", "__sk_"];

pub(super) fn check(run: &Run<'_>) -> Option<Verdict> {
    let log = &run.seen.kernel_log;
    let first = log.first()?.trim();
    let mut looks = looks(first);
    if let Some(place) = place(log) {
        looks.push_str(&format!(" in {place}"));
    }
    Some(Verdict::of(Kind::Splat, &looks, first.to_owned()))
}

/// A complaint without the details that differ between two of the same kind: numbers, line numbers, offsets into functions,
/// and which process ran.
fn looks(line: &str) -> String {
    let line = line.split(", CPU#").next().unwrap_or(line);
    let words = line.split_whitespace().map(|word| {
        let place = word.split_once("+0x").map_or(word, |(function, _)| function);
        let place = if place.contains('/') { place.split(':').next().unwrap_or(place) } else { place };
        let digits = place.trim_start_matches("0x");
        let is_number = digits.contains(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if is_number { "#" } else { place }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The function that a complaint is about, if its first line names none, or only a common helper.
fn place(log: &[String]) -> Option<&str> {
    let first = log.first()?;
    if first.contains("locking") || first.contains("lock state") {
        // `kworker/0:1/12 is trying to acquire lock:`, and on the next line `0000000064 (&x->lock){+.-.}-{2:2}, at: f+0x2c1/0x890`.
        let (_, at) = log.iter().find_map(|line| line.split_once("}, at: "))?;
        return at.split_once("+0x").map(|(function, _)| function);
    }
    if !first.contains("refcount") {
        return None;
    }
    let mut frames =
        log.iter().filter_map(|line| line.split_once(">] ")).map(|(_, frame)| frame.trim_start_matches("? "));
    let frame = frames.find(|frame| NETWORK.iter().any(|name| frame.starts_with(name)))?;
    frame.split_once("+0x").map(|(function, _)| function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::observation::Observation;
    use crate::oracle::judge;

    #[test]
    fn a_complaint_is_a_finding_whatever_else_was_seen() {
        let mut seen = Observation::of_a_crash("7.2.13".into());
        seen.trouble.push("the server panicked".into());
        seen.kernel_log = vec!["BUG: KASAN: slab-use-after-free in tcp_ack+0x12/0x340".into(), "Read of size 8".into()];
        let verdict = judge(&Case::default(), &seen);
        assert_eq!(verdict.kind, Kind::Splat);
        assert_eq!(verdict.signature, "Splat: BUG: KASAN: slab-use-after-free in tcp_ack");
    }

    #[test]
    fn addresses_lines_and_processes_make_no_difference() {
        let old = looks("WARNING: CPU: 0 PID: 12 at net/core/dev.c:77 f+0x1/0x2");
        assert_eq!(old, "WARNING: CPU: # PID: # at net/core/dev.c f");
        let new = looks("WARNING: net/mptcp/protocol.c:2290 at f+0x1a/0x2b, CPU#0: kworker/0:1/12");
        assert_eq!(new, "WARNING: net/mptcp/protocol.c at f");
        assert_eq!(
            looks("UBSAN: shift-out-of-bounds in net/ipv4/tcp.c:7:9"),
            "UBSAN: shift-out-of-bounds in net/ipv4/tcp.c"
        );
    }

    #[test]
    fn a_complaint_without_a_function_gets_the_one_it_is_about() {
        let splat = |log: &[&str]| {
            let mut seen = Observation::of_a_crash("7.2.13".into());
            seen.kernel_log = log.iter().map(|line| (*line).to_owned()).collect();
            judge(&Case::default(), &seen).signature
        };
        let lock = "WARNING: possible circular locking dependency detected";
        let (task, held) = ("kworker/0:1/12 is trying to acquire lock:", "but task is already holding lock:");
        let log =
            [lock, task, "0 (&a){+.-.}-{2:2}, at: f_retrans+0x2c1/0x890", held, "0 (&b){+.-.}-{2:2}, at: g+0x2/0x8"];
        assert_eq!(splat(&log), format!("Splat: {lock} in f_retrans"));
        let count = "refcount_t: underflow; use-after-free.";
        let frames = [count, "Call Trace:", " [<60aa>] ? show_stack+0x0/0xb0", " [<60ab>] ? mptcp_close+0x12/0x80"];
        assert_eq!(splat(&frames), format!("Splat: {count} in mptcp_close"));
        assert_eq!(splat(&[count]), format!("Splat: {count}"));
    }
}
