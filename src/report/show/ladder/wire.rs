//! Packets as the rungs of a ladder: what each says, with numbers that count from the beginning of its stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::mptcp::{self, Dss, Opt};
use crate::case::Direction;
use crate::link::log::read::{Captured, Carried};
use crate::link::packet::{Segment, View};

/// One packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// When it came to the link, since the beginning.
    pub at: Duration,
    /// Which way it went.
    pub direction: Direction,
    /// What it says.
    pub text: String,
    /// What was done to it; empty for nothing.
    pub note: String,
    /// How it is drawn.
    pub line: Line,
    /// Whether it is never folded away.
    pub notable: bool,
    /// The bytes of the stream that it carries; empty for an acknowledgement.
    pub bytes: Range<i64>,
    /// What it acknowledges.
    pub ack: Option<i64>,
}

/// How a packet is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It passed.
    Plain,
    /// It was lost.
    Lost,
    /// Its bytes were changed.
    Changed,
    /// It was sent twice.
    Doubled,
    /// It was held back, or hurried.
    Shifted,
}

/// Who sends to whom.
type Way = (SocketAddr, SocketAddr);

/// What the packets of all links told about MPTCP: the key of each sender, by way.
#[derive(Debug, Default)]
pub struct Keys(BTreeMap<Way, u64>);

impl Keys {
    /// Gathers them.
    pub fn of(links: &[Captured]) -> Keys {
        let mut keys = Keys::default();
        let mut joins = Vec::new();
        for packet in links.iter().flat_map(|link| &link.packets) {
            let Some(segment) = View::of(&packet.frame).segment else { continue };
            let (from, to) = (segment.source, segment.destination);
            for option in mptcp::read(segment.options, segment.flags.syn()) {
                match option {
                    Opt::Capable { keys: [own, other], .. } => {
                        keys.0.extend(own.map(|key| ((from, to), key)));
                        keys.0.extend(other.map(|key| ((to, from), key)));
                    }
                    Opt::JoinSyn { token, .. } => joins.push((token, from, to)),
                    _ => {}
                }
            }
        }
        for (token, from, to) in joins {
            let owner = keys.0.iter().find(|(_, key)| mptcp::token(**key) == token).map(|(way, key)| (*way, *key));
            if let Some(((owner, peer), key)) = owner {
                keys.0.insert((to, from), key);
                keys.0.extend(keys.0.get(&(peer, owner)).copied().map(|key| ((from, to), key)));
            }
        }
        keys
    }
}

/// What is known of one direction of a flow.
#[derive(Debug, Default)]
struct Half {
    /// The sequence number of the first byte.
    base: Option<u32>,
    /// The last offset met: numbers of 32 bits are taken for the nearest to it.
    near: i64,
    /// The data sequence number of the first byte of the connection.
    data_base: Option<u64>,
    data_near: i64,
    /// How often data (or a SYN, or a FIN) that begins at an offset was carried.
    carried: BTreeMap<i64, u32>,
    /// What the last segment acknowledged, of the subflow and of the data: data that tells nothing new does not tell it.
    acked: [Option<i64>; 2],
    /// The mapping of the last segment that had one, and whether a DATA_FIN was seen.
    map: Option<(i64, u32, u16)>,
    data_fin: bool,
}

impl Half {
    /// A sequence number as an offset.
    fn offset(&mut self, number: u32) -> i64 {
        let base = *self.base.get_or_insert(number);
        self.near = nearest(number.wrapping_sub(base), self.near);
        self.near
    }

    /// A data sequence number as an offset.
    fn data_offset(&mut self, number: u64, long: bool) -> i64 {
        let base = *self.data_base.get_or_insert(number);
        match long {
            true => number.wrapping_sub(base) as i64,
            false => {
                self.data_near = nearest((number as u32).wrapping_sub(base as u32), self.data_near);
                self.data_near
            }
        }
    }
}

/// The number that ends in these 32 bits and is nearest to `near`.
fn nearest(low: u32, near: i64) -> i64 {
    near + i64::from(low.wrapping_sub(near as u32) as i32)
}

/// A flow of a link: its two ways, the left end's first, and what is known of each.
struct Flow {
    ways: [Way; 2],
    halves: [Half; 2],
}

/// The rungs of one link.
pub struct Rungs {
    /// In the order in which they came.
    pub rungs: Vec<Rung>,
    /// The flows: the addresses at the left and at the right end.
    pub flows: Vec<[SocketAddr; 2]>,
}

/// Makes rungs of the packets of a link. `zero`: when the time axis begins.
pub fn rungs(link: &Captured, keys: &Keys, zero: Duration) -> Rungs {
    let mut flows: Vec<Flow> = Vec::new();
    let several = flows_of(link) > 1;
    let rungs = link.packets.iter().map(|packet| rung(packet, &mut flows, keys, zero, several)).collect();
    Rungs { rungs, flows: flows.iter().map(|flow| [flow.ways[0].0, flow.ways[0].1]).collect() }
}

fn flows_of(link: &Captured) -> usize {
    let ends = |segment: Segment<'_>| {
        let (one, other) = (segment.source, segment.destination);
        if one < other { (one, other) } else { (other, one) }
    };
    let all = link.packets.iter().filter_map(|packet| View::of(&packet.frame).segment.map(ends));
    all.collect::<std::collections::BTreeSet<_>>().len()
}

fn rung(packet: &Carried, flows: &mut Vec<Flow>, keys: &Keys, zero: Duration, several: bool) -> Rung {
    let note = packet.deeds().collect::<Vec<_>>().join(", ");
    let mut rung = Rung {
        at: packet.at.saturating_sub(zero),
        direction: packet.direction,
        text: String::new(),
        line: line(&note),
        notable: !note.is_empty(),
        note,
        bytes: 0..0,
        ack: None,
    };
    match View::of(&packet.frame).segment {
        Some(segment) => {
            let number = flow_of(&segment, packet.direction, flows, keys);
            if several {
                rung.text = format!("#{} ", number + 1);
            }
            tell(&segment, packet.direction, &mut flows[number], &mut rung);
        }
        None => rung.text = other(&packet.frame),
    }
    rung
}

/// The number of a segment's flow, which is added where it is new.
fn flow_of(segment: &Segment<'_>, direction: Direction, flows: &mut Vec<Flow>, keys: &Keys) -> usize {
    let way = (segment.source, segment.destination);
    let side = direction as usize;
    flows.iter().position(|flow| flow.ways[side] == way).unwrap_or_else(|| {
        let back = (way.1, way.0);
        let ways = if side == 0 { [way, back] } else { [back, way] };
        let halves =
            ways.map(|way| Half { data_base: keys.0.get(&way).copied().map(mptcp::first_data), ..Half::default() });
        flows.push(Flow { ways, halves });
        flows.len() - 1
    })
}

/// Tells what a segment says.
fn tell(segment: &Segment<'_>, direction: Direction, flow: &mut Flow, rung: &mut Rung) {
    let flags = segment.flags;
    let [own, other] = match (direction, &mut flow.halves) {
        (Direction::Forward, [left, right]) => [left, right],
        (Direction::Backward, [left, right]) => [right, left],
    };
    if flags.syn() {
        // A new connection on the same ports begins anew.
        own.base = Some(segment.sequence.wrapping_add(1));
        own.near = -1;
    }
    let begin = own.offset(segment.sequence);
    let end = begin + i64::from(segment.payload);
    // What the SYN itself carries (fast open) begins behind it.
    let shift = i64::from(flags.syn());
    rung.bytes = begin + shift..end + shift;

    let mut words = Vec::new();
    let kinds = [(flags.syn(), "SYN"), (flags.fin(), "FIN"), (flags.rst(), "RST")];
    let mut kinds: Vec<&str> = kinds.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    if flags.syn() && flags.ack() {
        kinds.push("ACK");
    }
    rung.notable |= !kinds.is_empty();
    words.extend((!kinds.is_empty()).then(|| kinds.join("/")));
    words.extend((segment.payload > 0).then(|| format!("{}..{}", rung.bytes.start, rung.bytes.end)));
    if segment.payload > 0 || flags.syn() || flags.fin() {
        let times = own.carried.entry(begin).or_default();
        *times += 1;
        if *times > 1 {
            words.push(format!("({})", ordinal(*times)));
            rung.notable = true;
        }
    }
    if flags.ack() && !flags.syn() {
        let ack = other.offset(segment.acknowledgement);
        let news = own.acked[0].replace(ack) != Some(ack);
        words.extend((news || segment.payload == 0).then(|| format!("ack {ack}")));
        rung.ack = Some(ack);
    }
    if segment.window == 0 && !flags.rst() {
        words.push("win 0".to_owned());
        rung.notable = true;
    }
    for option in mptcp::read(segment.options, flags.syn()) {
        let (said, notable) = option_words(option, own, other, segment, begin);
        rung.notable |= notable;
        words.extend(said);
    }
    rung.text.push_str(&words.join("  "));
}

/// An option in words, and whether it is worth never being folded away.
fn option_words(
    option: Opt,
    own: &mut Half,
    other: &mut Half,
    segment: &Segment<'_>,
    begin: i64,
) -> (Option<String>, bool) {
    let said = match option {
        Opt::Timestamps => return (None, false),
        Opt::Words(text) => text,
        Opt::Sack(blocks) => {
            // Without moving what the acknowledgement itself is near to.
            let base = other.base.unwrap_or(0);
            let near = |number: u32| nearest(number.wrapping_sub(base), other.near);
            let blocks = blocks.iter().map(|[from, to]| format!("{}..{}", near(*from), near(*to)));
            return (Some(format!("sack {}", blocks.collect::<Vec<_>>().join(" "))), false);
        }
        Opt::Capable { keys: [None, _], .. } => "MP_CAPABLE".to_owned(),
        Opt::Capable { keys: [Some(_), None], .. } => "MP_CAPABLE key".to_owned(),
        Opt::Capable { .. } => "MP_CAPABLE keys".to_owned(),
        Opt::JoinSyn { token, id, backup } => {
            format!("MP_JOIN token {token:08x} id {id}{}", if backup { " backup" } else { "" })
        }
        Opt::Join { id, backup } => {
            let id = id.map(|id| format!(" id {id}")).unwrap_or_default();
            format!("MP_JOIN{id}{}", if backup { " backup" } else { "" })
        }
        Opt::Dss(dss) => return dss_words(dss, own, other, segment, begin),
        Opt::Fail(number) => format!("MP_FAIL dsn {}", own.data_offset(number, true)),
    };
    (Some(said), true)
}

fn dss_words(dss: Dss, own: &mut Half, other: &mut Half, segment: &Segment<'_>, begin: i64) -> (Option<String>, bool) {
    let mut words = Vec::new();
    let mut notable = dss.fin && !own.data_fin;
    own.data_fin |= dss.fin;
    if let Some((number, long, subflow, length)) = dss.map {
        let from = own.data_offset(number, long);
        // A DATA_FIN takes a place of its own behind the data, and RFC 8684 counts the subflow's bytes from 1.
        let (data, at) = (i64::from(length) - i64::from(dss.fin), i64::from(subflow) - 1);
        if length == 0 {
            words.push(format!("dsn {from} infinite map"));
            notable = true;
        } else if data == 0 {
            words.push(format!("dsn {from}"));
        } else {
            let own_bytes = from + (begin - at)..from + (begin - at) + i64::from(segment.payload);
            words.push(format!("dsn {}..{}", own_bytes.start, own_bytes.end));
            // The mapping itself, where it is a new one and not just that of this segment.
            let is_new = own.map.replace((from, subflow, length)) != Some((from, subflow, length));
            if is_new && (at != begin || data != i64::from(segment.payload)) {
                words.push(format!("of map {from}..{}", from + data));
            }
        }
        words.extend(dss.checksum.then(|| "csum".to_owned()));
    }
    words.extend(dss.fin.then(|| "DATA_FIN".to_owned()));
    if let Some((number, long)) = dss.ack {
        let ack = other.data_offset(number, long);
        let news = own.acked[1].replace(ack) != Some(ack);
        words.extend((news || segment.payload == 0).then(|| format!("dack {ack}")));
    }
    ((!words.is_empty()).then(|| words.join(" ")), notable)
}

fn line(note: &str) -> Line {
    match note {
        "" | "still under way at the end" => Line::Plain,
        note if note.starts_with("dropped") || note.starts_with("lost") => Line::Lost,
        note if note.contains("doubled") => Line::Doubled,
        note if note.contains(" late: ") || note.contains(" early: ") => match note.contains("flipped") {
            true => Line::Changed,
            false => Line::Shifted,
        },
        _ => Line::Changed,
    }
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What is not TCP.
fn other(frame: &[u8]) -> String {
    let kind = match (frame.get(12..14), frame.get(23), frame.get(20), frame.get(34), frame.get(54)) {
        (Some([8, 6]), ..) => "ARP",
        (Some([8, 0]), Some(1), _, Some(3), _) => "ICMP unreachable",
        (Some([8, 0]), Some(1), ..) => "ICMP",
        (Some([8, 0]), Some(17), ..) => "UDP",
        (Some([0x86, 0xdd]), _, Some(58), _, Some(1)) => "ICMPv6 unreachable",
        (Some([0x86, 0xdd]), _, Some(58), _, Some(135 | 136)) => "ICMPv6 neighbour",
        (Some([0x86, 0xdd]), _, Some(0 | 58), ..) => "ICMPv6",
        (Some([0x86, 0xdd]), _, Some(17), ..) => "UDP",
        _ => "not TCP",
    };
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_32_bits_are_taken_for_the_nearest() {
        assert_eq!(nearest(5, 0), 5);
        assert_eq!(nearest(u32::MAX, 0), -1);
        assert_eq!(nearest(3, (1 << 32) - 10), (1 << 32) + 3);
    }

    #[test]
    fn a_note_says_what_was_done_and_nothing_else() {
        let note = |decision: &str| {
            let direction = Direction::Forward;
            let packet = Carried { at: Duration::ZERO, direction, frame: Vec::new(), decision: decision.to_owned() };
            packet.deeds().collect::<Vec<_>>().join(", ")
        };
        assert_eq!(note("passed, due after 10.000 ms, left 0.000 ms after that"), "");
        let late = "3.000 ms late: reorder, due after 13.000 ms, left 0.000 ms after that";
        assert_eq!(note(late), "3.000 ms late: reorder");
        assert_eq!(note("dropped: loss"), "dropped: loss");
        let lines =
            ["", "dropped: loss", "bit 3 flipped: corrupt", "doubled: fault", "3.000 ms late: jitter"].map(line);
        assert_eq!(lines, [Line::Plain, Line::Lost, Line::Changed, Line::Doubled, Line::Shifted]);
    }
}
