//! Values in words.

use std::time::Duration;

use super::middlebox;
use crate::case::{
    Change, Chunks, Fault, Impairments, Io, Jitter, Loss, Offloads, Outage, Packet, Pattern, Rate, Receiving, Reorder,
    Sending, SocketOptions,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// How many items of a list are told before the rest is only counted.
const LISTED: usize = 12;

/// A number of bytes: `1 byte`, `64 KiB`, `64 KiB + 1`, `172345 bytes`.
pub fn size(bytes: u64) -> String {
    const NEAR: u64 = 3;
    for (unit, name) in [(MIB, "MiB"), (KIB, "KiB")] {
        let whole = (bytes + NEAR) / unit;
        let exact = whole * unit;
        if whole > 0 && bytes.abs_diff(exact) <= NEAR {
            return match bytes.abs_diff(exact) {
                0 => format!("{whole} {name}"),
                more if bytes > exact => format!("{whole} {name} + {more}"),
                less => format!("{whole} {name} - {less}"),
            };
        }
    }
    count(bytes, "byte")
}

/// `1 byte`, `2 bytes`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A time: `200 ms`, `1.5 s`.
pub fn time(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0 if time.is_zero() => "0 s".to_owned(),
        0 => format!("{} ns", time.as_nanos()),
        1..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{} ms", decimal(micros as f64 / 1e3)),
        _ if time.as_secs() < 120 => format!("{} s", decimal(micros as f64 / 1e6)),
        _ => humantime::format_duration(Duration::from_secs(time.as_secs())).to_string(),
    }
}

/// A probability: `2 %`, `0.05 %`.
pub fn percent(probability: f64) -> String {
    format!("{} %", decimal(probability * 100.0))
}

/// A number with three digits that count and no zeros at its end.
fn decimal(number: f64) -> String {
    let before = if number.abs() >= 1.0 { number.abs().log10() as usize + 1 } else { 0 };
    let text = match before {
        0 if number != 0.0 => format!("{number:.*}", (-number.abs().log10()).floor() as usize + 3),
        _ => format!("{number:.*}", 3_usize.saturating_sub(before)),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The first items of a list, and how many more there are.
pub fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(LISTED);
    let mut text = items.take(LISTED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

/// How a stream is cut, where that is not plain: `1448 bytes each; rests 200 ms at 4096`.
pub fn chunks(chunks: &Chunks) -> Option<String> {
    let pattern = match chunks.pattern {
        Pattern::Whole => None,
        Pattern::Fixed(bytes) => Some(format!("{} each", count(bytes.into(), "byte"))),
        Pattern::Uniform { min, max } => Some(format!("{min} to {max} bytes each")),
        Pattern::PowersOfTwo { max } => Some(format!("powers of two up to {}", size(max.into()))),
        Pattern::Dribble { bytes } => Some(format!("the first {} one by one", count(bytes.into(), "byte"))),
        Pattern::Bursts { chunk, every, rest } => Some(format!(
            "{} each; a rest of {} after every {}",
            count(chunk.into(), "byte"),
            time(rest),
            size(every.into())
        )),
        Pattern::Around { unit } => Some(format!("around multiples of {unit}")),
    };
    let pauses = list(chunks.pauses.iter().map(|pause| format!("{} after {}", time(pause.lasts), size(pause.at))));
    let pauses = (!chunks.pauses.is_empty()).then(|| format!("rests {pauses}"));
    let parts: Vec<String> = pattern.into_iter().chain(pauses).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The calls of an endpoint, where they are not the plain ones: `sendfile, recv after a peek, TCP_INQ`.
pub fn io(io: Io) -> Option<String> {
    let send = match io.send {
        Sending::Send => None,
        Sending::Gather => Some("sendmsg in three pieces"),
        Sending::Sendfile => Some("sendfile"),
        Sending::Splice => Some("splice to the socket"),
        Sending::Mmap => Some("send from a mapped file"),
        Sending::Zerocopy => Some("send with MSG_ZEROCOPY"),
    };
    let receive = match io.receive {
        Receiving::Recv => None,
        Receiving::Scatter => Some("recvmsg in three pieces"),
        Receiving::WaitAll => Some("recv with MSG_WAITALL"),
        Receiving::SaveWithPeek => Some("peek, the bytes of which count, before each recv"),
        Receiving::SaveAfterPeek => Some("peek before each recv"),
        Receiving::Splice => Some("splice from the socket"),
    };
    let beside = [io.timestamps.then_some("recvmsg with SO_TIMESTAMPNS"), io.inq.then_some("recvmsg with TCP_INQ")];
    let all: Vec<&str> = [send, receive].into_iter().chain(beside).flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Socket options, if there are any: `SO_SNDBUF 4608, TCP_NODELAY`.
pub fn options(options: &SocketOptions) -> Option<String> {
    let SocketOptions { sndbuf, rcvbuf, sndbuf_late, rcvbuf_late, nodelay, cork, .. } = options;
    let SocketOptions { notsent_lowat, rcvlowat, maxseg, congestion, fastopen, extra, .. } = options;
    let value = |name: &str, value: &Option<u32>| value.map(|value| format!("{name} {value}"));
    let late = |name: &str, value: &Option<u32>| value.map(|value| format!("{name} {value} once connected"));
    let set = |name: &str, on: &bool| on.then(|| name.to_owned());
    let all = [
        value("SO_SNDBUF", sndbuf),
        value("SO_RCVBUF", rcvbuf),
        late("SO_SNDBUF", sndbuf_late),
        late("SO_RCVBUF", rcvbuf_late),
        set("TCP_NODELAY", nodelay),
        set("TCP_CORK", cork),
        value("TCP_NOTSENT_LOWAT", notsent_lowat),
        value("SO_RCVLOWAT", rcvlowat),
        value("TCP_MAXSEG", &maxseg.map(u32::from)),
        congestion.map(|congestion| format!("TCP_CONGESTION {}", congestion.name())),
        set("TCP Fast Open", fastopen),
    ];
    let extra = extra.iter().map(|(option, value)| format!("{option} {value}"));
    let all: Vec<String> = all.into_iter().flatten().chain(extra).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Options that change on the way, if there are any: `TCP_CORK 1 once 4 KiB are sent`.
pub fn changes(changes: &[Change]) -> Option<String> {
    let each = |change: &Change| {
        let Change { at, of, option, value } = change;
        format!("{option} {value} once {} are {of}", size(*at))
    };
    (!changes.is_empty()).then(|| list(changes.iter().map(each)))
}

/// Offloads that are switched off, if there are any: `no tso, no gro`.
pub fn offloads(offloads: &Offloads) -> Option<String> {
    let all = [("tso", offloads.tso), ("gso", offloads.gso), ("gro", offloads.gro)];
    let off: Vec<String> = all.iter().filter(|(_, on)| !on).map(|(name, _)| format!("no {name}")).collect();
    (!off.is_empty()).then(|| off.join(", "))
}

/// What one direction of a link does, in a few words each, in the order in which it does it.
pub fn impairments(impairments: &Impairments) -> Vec<String> {
    let Impairments { spare_handshake, loss, outages, corrupt, duplicate, rate, delay, jitter, reorder, .. } =
        impairments;
    let Impairments { renumber, rules, faults, .. } = impairments;
    let chance = |name: &str, chance: f64| (chance > 0.0).then(|| format!("{name} {}", percent(chance)));
    let all = [
        loss.as_ref().map(self::loss),
        (!outages.is_empty()).then(|| format!("down {}", list(outages.iter().map(outage)))),
        chance("corrupt", *corrupt),
        chance("duplicate", *duplicate),
        rate.as_ref().map(self::rate),
        late(*delay, jitter.as_ref()),
        reorder.as_ref().map(self::reorder),
        spare_handshake.then(|| "handshake spared".to_owned()),
        (*renumber != 0).then(|| format!("sequence numbers moved by {renumber}")),
        (!rules.is_empty()).then(|| list(rules.iter().map(middlebox::rule))),
        (!faults.is_empty()).then(|| count(faults.len() as u64, "fault")),
    ];
    all.into_iter().flatten().collect()
}

fn loss(loss: &Loss) -> String {
    match *loss {
        Loss::Independent(chance) => format!("loss {}", percent(chance)),
        Loss::GilbertElliott { to_bad, to_good, good, bad } => format!(
            "loss {} / {} in bursts ({} in, {} out)",
            percent(good),
            percent(bad),
            percent(to_bad),
            percent(to_good)
        ),
        Loss::Cells { probability, carriages: 1 } => format!("loss {} of cells, once", percent(probability)),
        Loss::Cells { probability, carriages } => {
            format!("loss {} of cells, up to {carriages} times", percent(probability))
        }
    }
}

fn outage(outage: &Outage) -> String {
    format!("from {} to {}", time(outage.from), time(outage.to))
}

fn rate(rate: &Rate) -> String {
    let speed = match rate.kbit {
        kbit if kbit >= 1_000_000 => format!("{} Gbit/s", decimal(f64::from(kbit) / 1e6)),
        kbit if kbit >= 1_000 => format!("{} Mbit/s", decimal(f64::from(kbit) / 1e3)),
        kbit => format!("{kbit} kbit/s"),
    };
    format!("{speed}, queue of {}", rate.queue)
}

fn late(delay: Duration, jitter: Option<&Jitter>) -> Option<String> {
    let jitter = jitter.map(|jitter| match jitter {
        Jitter::Uniform(spread) => format!("± {}", time(*spread)),
        Jitter::Normal(deviation) => format!("± {} (normal)", time(*deviation)),
    });
    match (delay.is_zero(), jitter) {
        (true, None) => None,
        (_, jitter) => Some(format!("delay {} {}", time(delay), jitter.unwrap_or_default()).trim_end().to_owned()),
    }
}

fn reorder(reorder: &Reorder) -> String {
    let mut text = format!("reorder {}", percent(reorder.probability));
    if reorder.correlation > 0.0 {
        text.push_str(&format!(", correlated {}", percent(reorder.correlation)));
    }
    if reorder.gap > 1 {
        text.push_str(&format!(", every {}", reorder.gap));
    }
    text
}

/// A fault in words: `drops cell 3 (bytes from 4344 on)`, `drops the SYN, 2nd carriage`.
pub fn fault(fault: &Fault) -> String {
    let packet = match fault.packet {
        Packet::Cell(cell) => format!("cell {cell} (bytes from {} on)", cell * 1448),
        Packet::Inner(offset) => format!("the packet from byte {offset} on"),
        Packet::Syn => "the SYN".to_owned(),
        Packet::SynAck => "the SYN/ACK".to_owned(),
        Packet::Fin => "the FIN".to_owned(),
        Packet::Rst => "the RST".to_owned(),
        Packet::Ack(0) => "the ACK of nothing yet".to_owned(),
        Packet::Ack(offset) => format!("the ACK of {offset}"),
        Packet::Other => "what is not TCP".to_owned(),
    };
    let mut text = middlebox::action(fault.action, &packet);
    if fault.carriage > 0 {
        text.push_str(&format!(", carriage {}", fault.carriage));
    }
    if fault.flow > 0 {
        text.push_str(&format!(", flow {}", fault.flow));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_near_round_ones_say_so() {
        let all = [0, 1, 2, 1023, 1024, 1449, 65535, 65536, 65537, 8 << 20, 172_345, (8 << 20) + 3].map(size);
        let said =
            ["0 bytes", "1 byte", "2 bytes", "1 KiB - 1", "1 KiB", "1449 bytes", "64 KiB - 1", "64 KiB", "64 KiB + 1"];
        assert_eq!(all[..9], said);
        assert_eq!(all[9..], ["8 MiB", "172345 bytes", "8 MiB + 3"]);
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let all = [0, 1, 999, 200_000, 1_500_000, 61_000_000, 600_000_000].map(|us| time(Duration::from_micros(us)));
        assert_eq!(all, ["0 s", "1 us", "999 us", "200 ms", "1.5 s", "61 s", "10m"]);
    }

    #[test]
    fn percentages_keep_what_counts() {
        let all = [0.02, 0.0005, 0.123456, 1.0, 0.99999, 0.0].map(percent);
        assert_eq!(all, ["2 %", "0.05 %", "12.3 %", "100 %", "100 %", "0 %"]);
    }

    #[test]
    fn long_lists_end_in_a_count() {
        assert_eq!(list((0..2).map(|i| i.to_string())), "0, 1");
        assert!(list((0..20).map(|i| i.to_string())).ends_with("10, 11, and 8 more"));
    }
}
