//! The identity of a packet, which stays the same from run to run.
//!
//! Two runs of one case on a live kernel never segment the byte stream in the same way. So a stream is divided into
//! cells of [`CELL`] bytes, and a segment is named after the cells whose first byte it carries: one, several, or none.
//! Every name comes with its *carriage*: how many times this link has carried it before in this direction. Stages decide
//! by name and carriage alone ([`Unit::place`]), never by how many packets came before.
//!
//! Flows are numbered in the order in which the link meets them. Offsets count from the initial sequence number, or from
//! the first number seen where the link has not seen the handshake.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;

use crate::case::{Direction, Packet};

use super::packet::{self, Segment, View};

/// The size of a cell, in bytes: the payload of a full segment on a link with an MTU of 1500 bytes and timestamps.
pub const CELL: u64 = 1448;

/// The carriage of what is not counted: beyond every bound, so no random stage harms it.
pub const UNCOUNTED: u32 = u32::MAX;

/// How many flows a link tells apart; packets of further ones are not counted.
pub const MAX_FLOWS: usize = 256;

/// How many names one packet has at most: super-packets of 64 KiB carry up to 46 cells.
pub const MAX_UNITS: usize = 64;

/// How many names one generation of [`Carriages`] remembers. Far more than can be under way at once in one direction, so
/// what is forgotten is old.
const GENERATION: usize = 1 << 16;

/// How far one packet may move the place that offsets are unwrapped around, in bytes. A sequence number damaged on an
/// earlier link cannot drag it further.
const MAX_JUMP: u64 = 1 << 28;

/// One of the names of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its flow.
    pub flow: u32,
    /// The name.
    pub packet: Packet,
    /// How many times the link has carried it before in this direction; [`UNCOUNTED`] where it does not count.
    pub carriage: u32,
}

impl Unit {
    /// Where the random numbers for it lie in a stage's stream: a function of flow, name and carriage.
    pub fn place(&self) -> u64 {
        mix(self.name(), u64::from(self.carriage))
    }

    /// The same without the carriage.
    pub fn name(&self) -> u64 {
        let (_, value) = kind(self.packet);
        mix(self.series(), value)
    }

    /// What it has in common with the packets of the same flow and kind.
    pub fn series(&self) -> u64 {
        let (tag, _) = kind(self.packet);
        mix(mix(0, u64::from(self.flow)), tag)
    }

    /// Where in the byte stream it stands, in cells; 0 for what stands nowhere.
    pub fn position(&self) -> u64 {
        match self.packet {
            Packet::Cell(cell) => cell,
            Packet::Inner(offset) | Packet::Ack(offset) => offset / CELL,
            Packet::Syn | Packet::SynAck | Packet::Fin | Packet::Rst | Packet::Other => 0,
        }
    }

    /// Whether it may belong to a handshake: a SYN, a SYN/ACK, or the acknowledgement of nothing but a SYN.
    pub fn is_handshake(&self) -> bool {
        matches!(self.packet, Packet::Syn | Packet::SynAck | Packet::Ack(0))
    }
}

/// A number for each kind of name, and what tells names of one kind apart. Fixed: saved cases depend on them.
fn kind(packet: Packet) -> (u64, u64) {
    match packet {
        Packet::Cell(cell) => (1, cell),
        Packet::Inner(offset) => (2, offset),
        Packet::Syn => (3, 0),
        Packet::SynAck => (4, 0),
        Packet::Fin => (5, 0),
        Packet::Rst => (6, 0),
        Packet::Ack(offset) => (7, offset),
        Packet::Other => (8, 0),
    }
}

/// Stirs `value` into `state`: the finaliser of SplitMix64. Fixed for ever: saved cases depend on it.
pub fn mix(state: u64, value: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(value.wrapping_mul(0xd6e8_feb8_6659_fd93));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Everything the link knows of one packet. Kept and filled again for every packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its names, at least one.
    pub units: Vec<Unit>,
    /// Its sequence number as an offset in the stream: 0 is the first byte. 0 for a SYN.
    pub sequence: u64,
    /// Its acknowledgement number as an offset in the other direction's stream; `None` without one.
    pub acknowledgement: Option<u64>,
}

/// Identifies the packets of one link, in both directions.
#[derive(Debug)]
pub struct Identifier {
    flows: Vec<Flow>,
    carriages: [Carriages; 2],
    checked: bool,
}

#[derive(Debug)]
struct Flow {
    /// The two ends: the left one first.
    ends: [SocketAddr; 2],
    halves: [Half; 2],
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// The sequence number of offset 0.
    base: Option<u32>,
    /// The highest offset seen.
    reference: u64,
}

impl Half {
    /// The offset that `number` stands for: the one nearest to what has been seen.
    fn unwrap(&mut self, number: u32) -> u64 {
        let base = *self.base.get_or_insert(number);
        let relative = number.wrapping_sub(base);
        let step = relative.wrapping_sub(self.reference as u32) as i32;
        // Numbers before the first byte (keep-alives, damaged ones) stay what they are modulo 2^32.
        let offset = self.reference.checked_add_signed(i64::from(step)).unwrap_or(u64::from(relative));
        if offset > self.reference && offset - self.reference <= MAX_JUMP {
            self.reference = offset;
        }
        offset
    }
}

impl Identifier {
    /// For a link whose frames are whole and have full checksums. A damaged segment then opens no flow.
    pub fn new() -> Identifier {
        Identifier { flows: Vec::new(), carriages: Default::default(), checked: true }
    }

    /// For captured frames: cut off, with checksums still to be filled in.
    pub fn for_capture() -> Identifier {
        Identifier { checked: false, ..Identifier::new() }
    }

    /// The flows met so far, by number: the address at the left end of the link, then the one at the right end.
    pub fn flows(&self) -> Vec<[SocketAddr; 2]> {
        self.flows.iter().map(|flow| flow.ends).collect()
    }

    /// Tells what the packet of `view` is, that goes in `direction`, and counts it as carried. `frame` is the frame that
    /// the view shows.
    pub fn identify(&mut self, direction: Direction, view: &View<'_>, frame: &[u8], identity: &mut Identity) {
        identity.units.clear();
        identity.sequence = 0;
        identity.acknowledgement = None;
        let Some((segment, number)) =
            view.segment.as_ref().and_then(|segment| Some((segment, self.flow(direction, segment, frame)?)))
        else {
            self.count(direction, 0, Packet::Other, &mut identity.units);
            return;
        };
        if number >= MAX_FLOWS {
            identity.units.push(Unit { flow: UNCOUNTED, packet: Packet::Other, carriage: UNCOUNTED });
            return;
        }
        let (flags, flow) = (segment.flags, number as u32);
        let halves = &mut self.flows[number].halves;
        if !flags.syn() && !flags.rst() {
            identity.sequence = halves[direction as usize].unwrap(segment.sequence);
        }
        if flags.ack() {
            identity.acknowledgement = Some(halves[direction.reverse() as usize].unwrap(segment.acknowledgement));
        }
        let single = match (flags.rst(), flags.syn(), flags.ack()) {
            (true, ..) => Packet::Rst,
            (_, true, true) => Packet::SynAck,
            (_, true, false) => Packet::Syn,
            _ if segment.payload > 0 => return self.cells(direction, flow, segment.payload, identity),
            _ if flags.fin() => Packet::Fin,
            _ => Packet::Ack(identity.acknowledgement.unwrap_or(0)),
        };
        self.count(direction, flow, single, &mut identity.units);
    }

    /// Names a segment with payload.
    fn cells(&mut self, direction: Direction, flow: u32, payload: u32, identity: &mut Identity) {
        let begin = identity.sequence;
        let end = begin + u64::from(payload);
        for cell in (begin.div_ceil(CELL)..end.div_ceil(CELL)).take(MAX_UNITS) {
            self.count(direction, flow, Packet::Cell(cell), &mut identity.units);
        }
        if identity.units.is_empty() {
            self.count(direction, flow, Packet::Inner(begin), &mut identity.units);
        }
    }

    fn count(&mut self, direction: Direction, flow: u32, packet: Packet, units: &mut Vec<Unit>) {
        let mut unit = Unit { flow, packet, carriage: 0 };
        unit.carriage = self.carriages[direction as usize].count(unit.name());
        units.push(unit);
    }

    /// The number of the segment's flow: [`MAX_FLOWS`] where there are too many, `None` if a damaged segment would
    /// open one.
    fn flow(&mut self, direction: Direction, segment: &Segment<'_>, frame: &[u8]) -> Option<usize> {
        let ends = match direction {
            Direction::Forward => [segment.source, segment.destination],
            Direction::Backward => [segment.destination, segment.source],
        };
        // The newest first: ports are used again.
        let known = self.flows.iter().rposition(|flow| flow.ends == ends);
        let (syn, ack) = (segment.flags.syn() && !segment.flags.rst(), segment.flags.ack());
        let first = segment.sequence.wrapping_add(1);
        if let Some(number) = known {
            let half = self.flows[number].halves[direction as usize];
            if !syn || half.base == Some(first) {
                return Some(number);
            }
        }
        if self.checked && !packet::checksum_holds(frame) {
            return None;
        }
        let number = match known {
            // The answer to a SYN that is known; with SYN cookies its number may change until data flows.
            Some(number) if ack => number,
            _ if self.flows.len() >= MAX_FLOWS => return Some(MAX_FLOWS),
            _ => {
                self.flows.push(Flow { ends, halves: Default::default() });
                self.flows.len() - 1
            }
        };
        if syn {
            let half = &mut self.flows[number].halves[direction as usize];
            if half.reference == 0 {
                half.base = Some(first);
            }
        }
        Some(number)
    }
}

impl Default for Identifier {
    fn default() -> Identifier {
        Identifier::new()
    }
}

/// Counts how often names were carried. Remembers the last [`GENERATION`] names at least, twice as many at most.
#[derive(Debug, Default)]
struct Carriages {
    young: Counts,
    old: Counts,
}

/// Keyed by [`Unit::name`], which is mixed well enough to be its own hash.
type Counts = HashMap<u64, u32, BuildHasherDefault<Unhashed>>;

impl Carriages {
    /// How often `name` was counted before.
    fn count(&mut self, name: u64) -> u32 {
        if let Some(count) = self.young.get_mut(&name) {
            *count = count.saturating_add(1);
            return *count;
        }
        let count = self.old.get(&name).map_or(0, |count| count.saturating_add(1));
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, count);
        count
    }
}

/// A hasher for keys that are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = mix(self.0, u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{self, Sample};
    use super::*;
    use Direction::{Backward, Forward};

    fn names(identifier: &mut Identifier, direction: Direction, sample: Sample) -> Vec<(Packet, u32)> {
        let frame = sample.frame(direction);
        let mut identity = Identity::default();
        identifier.identify(direction, &View::of(&frame), &frame, &mut identity);
        identity.units.iter().map(|unit| (unit.packet, unit.carriage)).collect()
    }

    #[test]
    fn a_handshake_is_named_step_by_step() {
        let mut link = Identifier::new();
        assert_eq!(names(&mut link, Forward, sample::syn(1000)), [(Packet::Syn, 0)]);
        assert_eq!(names(&mut link, Forward, sample::syn(1000)), [(Packet::Syn, 1)]);
        assert_eq!(names(&mut link, Backward, sample::syn_ack(7000, 1001)), [(Packet::SynAck, 0)]);
        assert_eq!(names(&mut link, Forward, sample::data(1001, 7001, 0)), [(Packet::Ack(0), 0)]);
        assert_eq!(names(&mut link, Backward, sample::data(7001, 1101, 0)), [(Packet::Ack(100), 0)]);
        assert_eq!(names(&mut link, Forward, sample::data(1101, 7001, 0).fin()), [(Packet::Fin, 0)]);
        assert_eq!(names(&mut link, Forward, sample::data(1101, 7001, 0).rst()), [(Packet::Rst, 0)]);
        assert_eq!(link.flows().len(), 1);
    }

    #[test]
    fn a_segment_is_named_after_the_cells_that_begin_in_it() {
        let mut link = Identifier::new();
        names(&mut link, Forward, sample::syn(u32::MAX - 100));
        let base = (u32::MAX - 100).wrapping_add(1);
        let mut at =
            |offset: u64, length| names(&mut link, Forward, sample::data(base.wrapping_add(offset as u32), 1, length));
        assert_eq!(at(0, 1448), [(Packet::Cell(0), 0)]);
        assert_eq!(at(1, 1447), [(Packet::Inner(1), 0)]);
        assert_eq!(at(1447, 2), [(Packet::Cell(1), 0)]);
        assert_eq!(at(1447, 4000), [(Packet::Cell(1), 1), (Packet::Cell(2), 0), (Packet::Cell(3), 0)]);
        assert_eq!(at(1448, 1448), [(Packet::Cell(1), 2)]);
    }

    #[test]
    fn offsets_go_on_beyond_32_bits() {
        let mut half = Half { base: Some(u32::MAX - 5), reference: 0 };
        let mut offset = 0u64;
        while offset < (1 << 33) {
            assert_eq!(half.unwrap((u32::MAX - 5).wrapping_add(offset as u32)), offset);
            offset += 100_000_007;
        }
        assert_eq!(half.unwrap((u32::MAX - 5).wrapping_add((offset - 1_000_000_000) as u32)), offset - 1_000_000_000);
    }

    #[test]
    fn a_damaged_sequence_number_does_not_shift_what_follows() {
        let mut half = Half { base: Some(1), reference: 0 };
        for bit in 0..32 {
            half.unwrap(1 + (1 << bit));
            assert_eq!(half.unwrap(5001), 5000, "after a flip of bit {bit}");
        }
    }

    #[test]
    fn a_port_used_again_is_a_new_flow() {
        let mut link = Identifier::new();
        let mut flow = |sample: Sample| {
            let (frame, mut identity) = (sample.frame(Forward), Identity::default());
            link.identify(Forward, &View::of(&frame), &frame, &mut identity);
            identity.units[0]
        };
        assert_eq!(flow(sample::syn(5)).flow, 0);
        assert_eq!(flow(sample::syn(77)), Unit { flow: 1, packet: Packet::Syn, carriage: 0 });
        assert_eq!(flow(sample::data(78, 1, 10)), Unit { flow: 1, packet: Packet::Cell(0), carriage: 0 });
        assert_eq!(flow(sample::data(78, 1, 10).ports(99, 98)).flow, 2);
    }

    #[test]
    fn a_damaged_packet_opens_no_flow() {
        let mut link = Identifier::new();
        let mut frame = sample::syn(5).frame(Forward);
        frame[sample::TCP + 1] ^= 0x40;
        let mut identity = Identity::default();
        link.identify(Forward, &View::of(&frame), &frame, &mut identity);
        assert_eq!(identity.units, [Unit { flow: 0, packet: Packet::Other, carriage: 0 }]);
        assert!(link.flows().is_empty());
    }

    #[test]
    fn what_is_carried_often_is_remembered_and_memory_is_bounded() {
        let mut carriages = Carriages::default();
        for round in 0..4 {
            assert_eq!(carriages.count(mix(1, 1)), round);
            for other in 0..GENERATION as u64 {
                carriages.count(mix(2, other + u64::from(round) * GENERATION as u64));
            }
        }
        assert!(carriages.young.len() + carriages.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn places_stay_where_they_are() {
        // Saved cases replay only as long as these numbers stay.
        let unit = Unit { flow: 1, packet: Packet::Cell(7), carriage: 2 };
        assert_eq!(unit.place(), mix(mix(mix(mix(0, 1), 1), 7), 2));
        assert_eq!(mix(0, 0), 0xe220_a839_7b1d_cdaf);
    }

    proptest! {
        #[test]
        fn each_cell_is_carried_once_however_the_stream_is_cut(cuts in proptest::collection::vec(1u32..9000, 1..60)) {
            let mut link = Identifier::new();
            names(&mut link, Forward, sample::syn(0));
            let (mut offset, mut cells) = (0u32, Vec::new());
            for length in cuts {
                for (packet, carriage) in names(&mut link, Forward, sample::data(1 + offset, 1, length)) {
                    prop_assert_eq!(carriage, 0);
                    if let Packet::Cell(cell) = packet { cells.push(cell); }
                }
                offset += length;
            }
            let expected: Vec<u64> = (0..u64::from(offset).div_ceil(CELL)).collect();
            prop_assert_eq!(cells, expected);
        }
    }
}
