//! The kernel's counters of a namespace: `/proc/net/{snmp,snmp6,netstat}`.
//!
//! Names are `Group.Counter`, as the files have them: `Tcp.RetransSegs`, `TcpExt.TCPTimeouts`, `MPTcpExt.MPCapableSYNRX`.
//! The IPv6 file has no groups; they are read off its names, which stay whole: `Ip6.Ip6InAddrErrors`. Some are not counters
//! but gauges (`Tcp.CurrEstab`) or settings (`Ip.DefaultTTL`).

use std::collections::BTreeMap;
use std::io;

use super::namespace::Namespace;
use super::{NetError, proc};

/// Counters by name.
pub type Counters = BTreeMap<String, i64>;

/// The groups of the IPv6 file, a longer name before one that it begins with.
const GROUPS: [&str; 4] = ["UdpLite6", "Udp6", "Icmp6", "Ip6"];

/// Reads the counters of a namespace.
pub fn read(namespace: &Namespace) -> Result<Counters, NetError> {
    namespace.run(read_own)?.map_err(|error| error.on(namespace.name()))
}

/// Reads the counters of the calling thread's namespace.
pub fn read_own() -> Result<Counters, NetError> {
    let mut counters = Counters::new();
    for (name, is_paired, may_lack) in [("snmp", true, false), ("netstat", true, false), ("snmp6", false, true)] {
        // Not /proc/net: that is the namespace of the process's first thread.
        let path = format!("/proc/thread-self/net/{name}");
        match proc::read_piece(&path) {
            Ok(text) if is_paired => paired(&text, &mut counters),
            Ok(text) => single(&text, &mut counters),
            // A kernel without IPv6.
            Err(error) if may_lack && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(NetError::new(format!("read {path}"), error)),
        }
    }
    Ok(counters)
}

/// Counters as nstat(8) writes them: the name without its point, and how much it grew.
pub fn text(counters: &Counters) -> String {
    counters.iter().map(|(name, grown)| format!("{:<34} {grown:>12}\n", name.replacen('.', "", 1))).collect()
}

/// What moved from `before` to `after`, and by how much. What is only in one of them counts as 0 in the other.
pub fn delta(before: &Counters, after: &Counters) -> Counters {
    let moved = |name: &String| {
        let change = after.get(name).copied().unwrap_or(0).wrapping_sub(before.get(name).copied().unwrap_or(0));
        (change != 0).then(|| (name.clone(), change))
    };
    before.keys().chain(after.keys()).filter_map(moved).collect()
}

/// Reads pairs of lines: `Tcp: RtoAlgorithm RtoMin ...` and `Tcp: 1 200 ...`.
fn paired(text: &str, counters: &mut Counters) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((group, names)) = names.split_once(": ") else { continue };
        let Some((_, values)) = values.split_once(": ") else { continue };
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            if let Some(value) = number(value) {
                counters.insert(format!("{group}.{name}"), value);
            }
        }
    }
}

/// Reads lines such as `Ip6InReceives   26`.
fn single(text: &str, counters: &mut Counters) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next().and_then(number)) else { continue };
        let group = GROUPS.into_iter().find(|group| name.starts_with(group)).unwrap_or("Ip6");
        counters.insert(format!("{group}.{name}"), value);
    }
}

/// A value; those beyond 2^63 wrap, so that differences stay right.
fn number(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| text.parse().ok().map(u64::cast_signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_printed_as_nstat_does() {
        let counters = Counters::from([("TcpExt.TCPTimeouts".to_owned(), 7), ("Tcp.InSegs".to_owned(), 12)]);
        let lines: Vec<String> =
            text(&counters).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["TcpInSegs 12", "TcpExtTCPTimeouts 7"]);
    }

    #[test]
    fn all_three_forms_are_read() {
        let mut counters = Counters::new();
        paired("Tcp: RtoAlgorithm MaxConn InSegs\nTcp: 1 -1 7\nMPTcpExt: MPCapableSYNRX\nMPTcpExt: 3\n", &mut counters);
        single("Ip6InAddrErrors                 \t4\nUdpLite6InErrors\t18446744073709551615\n", &mut counters);
        let expected = [
            ("Ip6.Ip6InAddrErrors", 4),
            ("MPTcpExt.MPCapableSYNRX", 3),
            ("Tcp.InSegs", 7),
            ("Tcp.MaxConn", -1),
            ("Tcp.RtoAlgorithm", 1),
            ("UdpLite6.UdpLite6InErrors", -1),
        ];
        assert_eq!(counters, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn a_delta_has_only_what_moved() {
        let counters = |pairs: &[(&str, i64)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let before = counters(&[("a", 1), ("b", 5), ("gone", 2)]);
        let after = counters(&[("a", 1), ("b", 4), ("new", 3)]);
        assert_eq!(delta(&before, &after), counters(&[("b", -1), ("gone", -2), ("new", 3)]));
    }

    #[test]
    fn this_kernel_has_the_counters_that_oracles_ask_for() {
        let counters = read_own().expect("read /proc");
        for name in ["Tcp.RetransSegs", "TcpExt.TCPTimeouts", "Ip.InReceives"] {
            assert!(counters.contains_key(name), "no {name}");
        }
    }
}
