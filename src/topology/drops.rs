//! Packets that the machine lost by itself: losses that no link decided, which make a run worthless as evidence.

use netlink_packet_route::link::Stats64;

/// The counters of a device that must not move: each is a packet lost by a full queue, a broken frame or a missing peer.
///
/// Left out, since they move on a healthy chain: `rx_otherhost_dropped` (a wire's own devices see frames for others) and
/// `rx_nohandler`; and what filters and stages do never shows here.
fn fatal(statistics: &Stats64) -> [(&'static str, u64); 9] {
    [
        ("rx_errors", statistics.rx_errors),
        ("tx_errors", statistics.tx_errors),
        ("rx_dropped", statistics.rx_dropped),
        ("tx_dropped", statistics.tx_dropped),
        ("rx_over_errors", statistics.rx_over_errors),
        ("rx_fifo_errors", statistics.rx_fifo_errors),
        ("rx_missed_errors", statistics.rx_missed_errors),
        ("tx_fifo_errors", statistics.tx_fifo_errors),
        ("tx_carrier_errors", statistics.tx_carrier_errors),
    ]
}

/// What a device lost, in words: `ns2: ns2eth3 tx_dropped 3`.
pub(super) fn of_device(host: &str, device: &str, statistics: &Stats64) -> Vec<String> {
    fatal(statistics)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{host}: {device} {name} {count}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_losses_are_reported() {
        let mut statistics = Stats64::default();
        statistics.rx_packets = 9;
        statistics.rx_otherhost_dropped = 2;
        assert!(of_device("ns2", "ns2eth3", &statistics).is_empty());
        statistics.tx_dropped = 3;
        assert_eq!(of_device("ns2", "ns2eth3", &statistics), ["ns2: ns2eth3 tx_dropped 3"]);
    }
}
