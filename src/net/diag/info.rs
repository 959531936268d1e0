//! Which fields of the kernel's information structs are kept, and where they are.
//!
//! The structs only ever grow at their end, so an offset holds for good; an older kernel's are shorter, and then the last
//! fields are left out.

use std::collections::BTreeMap;

use super::number;

/// A field: its name as the kernel has it without prefix, its offset and its width in bytes.
pub(super) type Field = (&'static str, usize, usize);

/// struct tcp_info (include/uapi/linux/tcp.h).
pub(super) const TCP: [Field; 38] = [
    ("state", 0, 1),
    ("ca_state", 1, 1),
    ("retransmits", 2, 1),
    ("probes", 3, 1),
    ("backoff", 4, 1),
    ("options", 5, 1),
    ("wscale", 6, 1),
    ("rto", 8, 4),
    ("ato", 12, 4),
    ("snd_mss", 16, 4),
    ("rcv_mss", 20, 4),
    ("unacked", 24, 4),
    ("sacked", 28, 4),
    ("lost", 32, 4),
    ("retrans", 36, 4),
    ("last_data_sent", 44, 4),
    ("last_data_recv", 52, 4),
    ("last_ack_recv", 56, 4),
    ("pmtu", 60, 4),
    ("rcv_ssthresh", 64, 4),
    ("rtt", 68, 4),
    ("rttvar", 72, 4),
    ("snd_ssthresh", 76, 4),
    ("snd_cwnd", 80, 4),
    ("advmss", 84, 4),
    ("reordering", 88, 4),
    ("rcv_space", 96, 4),
    ("total_retrans", 100, 4),
    ("bytes_acked", 120, 8),
    ("bytes_received", 128, 8),
    ("segs_out", 136, 4),
    ("segs_in", 140, 4),
    ("notsent_bytes", 144, 4),
    ("bytes_sent", 200, 8),
    ("bytes_retrans", 208, 8),
    ("rcv_ooopack", 224, 4),
    ("snd_wnd", 228, 4),
    ("rcv_wnd", 232, 4),
];

/// struct mptcp_info (include/uapi/linux/mptcp.h).
pub(super) const MPTCP: [Field; 16] = [
    ("subflows", 0, 1),
    ("add_addr_signal", 1, 1),
    ("add_addr_accepted", 2, 1),
    ("flags", 8, 4),
    ("token", 12, 4),
    ("write_seq", 16, 8),
    ("snd_una", 24, 8),
    ("rcv_nxt", 32, 8),
    ("csum_enabled", 42, 1),
    ("retransmits", 44, 4),
    ("bytes_retrans", 48, 8),
    ("bytes_sent", 56, 8),
    ("bytes_received", 64, 8),
    ("bytes_acked", 72, 8),
    ("subflows_total", 80, 1),
    ("last_ack_recv", 92, 4),
];

/// The SK_MEMINFO_* array (include/uapi/linux/sock_diag.h).
pub(super) const MEMORY: [Field; 6] = [
    ("mem_rmem_alloc", 0, 4),
    ("mem_rcvbuf", 4, 4),
    ("mem_wmem_alloc", 8, 4),
    ("mem_sndbuf", 12, 4),
    ("mem_wmem_queued", 20, 4),
    ("mem_backlog", 28, 4),
];

/// Takes the fields that `bytes` is long enough for.
pub(super) fn read(fields: &[Field], bytes: &[u8], details: &mut BTreeMap<String, u64>) {
    for (name, offset, width) in fields {
        if bytes.len() >= offset + width {
            details.insert((*name).to_owned(), number(bytes, *offset, *width));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_struct_has_fewer_fields() {
        let mut details = BTreeMap::new();
        let mut bytes = vec![0; 104];
        bytes[80] = 10;
        read(&TCP, &bytes, &mut details);
        assert_eq!(details.get("snd_cwnd"), Some(&10));
        assert_eq!(details.get("total_retrans"), Some(&0));
        assert_eq!(details.get("bytes_acked"), None);
    }

    #[test]
    fn fields_do_not_overlap() {
        for table in [&TCP[..], &MPTCP, &MEMORY] {
            for pair in table.windows(2) {
                assert!(pair[0].1 + pair[0].2 <= pair[1].1, "{pair:?}");
            }
        }
    }
}
