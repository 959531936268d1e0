//! Sockets as text, in the words of `ss -nitaM`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::observation::SocketState;

/// How a figure is written.
#[derive(Clone, Copy)]
enum Show {
    Plain,
    /// Microseconds, shown as milliseconds.
    Micros,
    Hex,
}

/// A word of `ss`, the detail that it stands for, and how that is written.
type Word = (&'static str, &'static str, Show);

/// struct tcp_info, in the order of `ss`.
const TCP: [Word; 31] = [
    ("rto", "rto", Show::Micros),
    ("backoff", "backoff", Show::Plain),
    ("rtt", "rtt", Show::Micros),
    ("rttvar", "rttvar", Show::Micros),
    ("ato", "ato", Show::Micros),
    ("mss", "snd_mss", Show::Plain),
    ("pmtu", "pmtu", Show::Plain),
    ("rcvmss", "rcv_mss", Show::Plain),
    ("advmss", "advmss", Show::Plain),
    ("cwnd", "snd_cwnd", Show::Plain),
    ("ssthresh", "snd_ssthresh", Show::Plain),
    ("bytes_sent", "bytes_sent", Show::Plain),
    ("bytes_retrans", "bytes_retrans", Show::Plain),
    ("bytes_acked", "bytes_acked", Show::Plain),
    ("bytes_received", "bytes_received", Show::Plain),
    ("segs_out", "segs_out", Show::Plain),
    ("segs_in", "segs_in", Show::Plain),
    ("lastsnd", "last_data_sent", Show::Plain),
    ("lastrcv", "last_data_recv", Show::Plain),
    ("lastack", "last_ack_recv", Show::Plain),
    ("unacked", "unacked", Show::Plain),
    ("retrans", "retrans", Show::Plain),
    ("retrans_total", "total_retrans", Show::Plain),
    ("lost", "lost", Show::Plain),
    ("sacked", "sacked", Show::Plain),
    ("reordering", "reordering", Show::Plain),
    ("rcv_space", "rcv_space", Show::Plain),
    ("rcv_ssthresh", "rcv_ssthresh", Show::Plain),
    ("notsent", "notsent_bytes", Show::Plain),
    ("snd_wnd", "snd_wnd", Show::Plain),
    ("rcv_wnd", "rcv_wnd", Show::Plain),
];

/// struct mptcp_info, in the order of `ss`.
const MPTCP: [Word; 15] = [
    ("subflows", "subflows", Show::Plain),
    ("add_addr_signal", "add_addr_signal", Show::Plain),
    ("add_addr_accepted", "add_addr_accepted", Show::Plain),
    ("flags", "flags", Show::Hex),
    ("token", "token", Show::Hex),
    ("write_seq", "write_seq", Show::Hex),
    ("snd_una", "snd_una", Show::Hex),
    ("rcv_nxt", "rcv_nxt", Show::Hex),
    ("csum_enabled", "csum_enabled", Show::Plain),
    ("retransmits", "retransmits", Show::Plain),
    ("bytes_retrans", "bytes_retrans", Show::Plain),
    ("bytes_sent", "bytes_sent", Show::Plain),
    ("bytes_received", "bytes_received", Show::Plain),
    ("bytes_acked", "bytes_acked", Show::Plain),
    ("subflows_total", "subflows_total", Show::Plain),
];

/// The SK_MEMINFO_* array: letters of `ss`.
const MEMORY: [(&str, &str); 6] = [
    ("r", "mem_rmem_alloc"),
    ("rb", "mem_rcvbuf"),
    ("t", "mem_wmem_alloc"),
    ("tb", "mem_sndbuf"),
    ("w", "mem_wmem_queued"),
    ("bl", "mem_backlog"),
];

/// Writes sockets, two lines each; figures that are 0 are left out.
pub fn text(sockets: &[SocketState]) -> String {
    let mut text = String::new();
    for socket in sockets {
        let SocketState { protocol, state, local, remote, receive_queue, send_queue, timer, details } = socket;
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{protocol:<5} {state:<10} {receive_queue:>7} {send_queue:>7} {local:>26} {remote:>26}");
        if let Some(timer) = timer {
            let left = details.get("timer_expires_ms").copied().unwrap_or(0);
            let sent = details.get("retransmits").copied().unwrap_or(0);
            let _ = write!(text, " timer:({},{left}ms,{sent})", timer_word(timer));
        }
        text.push('\n');
        let said = words(protocol, details);
        if !said.is_empty() {
            let _ = writeln!(text, "\t {}", said.join(" "));
        }
    }
    text
}

/// The head line of what [`text`] writes.
pub fn head() -> String {
    let [netid, state, receive, send] = ["Netid", "State", "Recv-Q", "Send-Q"];
    format!("{netid:<5} {state:<10} {receive:>7} {send:>7} {:>26} {:>26}\n", "Local Address:Port", "Peer Address:Port")
}

fn words(protocol: &str, details: &BTreeMap<String, u64>) -> Vec<String> {
    let of = |name: &str| details.get(name).copied().filter(|value| *value != 0);
    let mut said = Vec::new();
    let memory: Vec<String> =
        MEMORY.iter().filter_map(|(word, name)| Some(format!("{word}{}", details.get(*name)?))).collect();
    if !memory.is_empty() {
        said.push(format!("skmem:({})", memory.join(",")));
    }
    said.extend(of("mptcp_subflow").map(|_| "tcp-ulp-mptcp".to_owned()));
    if let (true, Some(scale)) = (protocol == "tcp", of("wscale")) {
        said.push(format!("wscale:{},{}", scale & 15, scale >> 4));
    }
    let table: &[Word] = if protocol == "mptcp" { &MPTCP } else { &TCP };
    for (word, name, show) in table {
        // The slow start threshold of a socket that has lost nothing yet is infinite.
        let Some(value) = of(name).filter(|value| *name != "snd_ssthresh" || *value < 0x7fff_ffff) else { continue };
        said.push(match show {
            Show::Plain => format!("{word}:{value}"),
            Show::Micros => format!("{word}:{}", value as f64 / 1000.0),
            Show::Hex => format!("{word}:{value:x}"),
        });
    }
    said
}

fn timer_word(timer: &str) -> &str {
    match timer {
        "retransmit" => "on",
        "time-wait" => "timewait",
        "probe" => "persist",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(protocol: &str, details: &[(&str, u64)]) -> SocketState {
        SocketState {
            protocol: protocol.into(),
            state: "ESTAB".into(),
            local: "10.0.1.1:40000".into(),
            remote: "10.0.3.1:12000".into(),
            receive_queue: 0,
            send_queue: 10_000,
            timer: (protocol == "tcp").then(|| "retransmit".into()),
            details: details.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }

    #[test]
    fn sockets_are_printed_as_ss_does() {
        let tcp = [
            ("timer_expires_ms", 204),
            ("retransmits", 2),
            ("wscale", 0x87),
            ("rto", 204_000),
            ("rtt", 1250),
            ("snd_cwnd", 10),
            ("snd_ssthresh", 0x7fff_ffff),
            ("bytes_acked", 0),
            ("mem_rmem_alloc", 0),
            ("mem_rcvbuf", 131_072),
            ("mptcp_subflow", 1),
        ];
        let mptcp = [("subflows", 1), ("token", 0xabcd), ("bytes_sent", 77)];
        insta::assert_snapshot!(format!("{}{}", head(), text(&[socket("tcp", &tcp), socket("mptcp", &mptcp)])));
    }

    #[test]
    fn every_detail_that_is_read_has_a_word_or_a_reason() {
        // What `ss` folds into other words, or does not show.
        let without =
            ["state", "ca_state", "retransmits", "probes", "options", "wscale", "rcv_ooopack", "last_ack_recv"];
        for (fields, table) in [(&super::super::info::TCP[..], &TCP[..]), (&super::super::info::MPTCP, &MPTCP)] {
            for (name, ..) in fields.iter().filter(|(name, ..)| !without.contains(name)) {
                assert!(table.iter().any(|(_, detail, _)| detail == name), "{name}");
            }
        }
    }
}
