//! Corruption: one bit flipped, where a checksum certainly catches it.
//!
//! The Internet checksum (RFC 1071) catches every single flipped bit, but two flips in the same column of its 16-bit
//! words can cancel out, and a packet crosses up to three links. So each link has columns of its own: flips on
//! different links never cancel, and a corrupted packet that reaches a program is a finding, never bad luck.

use std::ops::Range;

use crate::case::LinkId;
use crate::link::identity::Unit;
use crate::link::packet::ETHERNET_HEADER;
use crate::seed::Stream;

use super::{Fate, Parcel, Stage};

/// The name of this stage in logs.
pub const NAME: &str = "corrupt";

/// The columns of a checksum's word.
const COLUMNS: u32 = 16;

/// Flips bits at random.
#[derive(Debug)]
pub struct Corrupt {
    probability: f64,
    spare_handshake: bool,
    link: LinkId,
    stream: Stream,
}

impl Corrupt {
    /// Flips a bit with this probability.
    pub fn new(probability: f64, spare_handshake: bool, link: LinkId, stream: Stream) -> Corrupt {
        Corrupt { probability, spare_handshake, link, stream }
    }

    fn draw(&self, unit: &Unit) -> Option<u32> {
        let mut draw = self.stream.at(unit.place());
        draw.chance(self.probability).then(|| draw.next_u64() as u32)
    }
}

impl Stage for Corrupt {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let hit = parcel.exposed(self.spare_handshake).find_map(|(index, unit)| Some((index, self.draw(unit)?)));
        if let Some((index, bit)) = hit
            && let Some(bit) = settle(bit, &parcel.flippable, self.link)
        {
            fate.flip(bit, NAME, 1 << index);
        }
    }
}

/// The bit that `bit` stands for: modulo the packet's length, moved to the part that a checksum covers and to the link's
/// own columns. A bit that is right already stays where it is. `None` if no bit may be flipped.
pub fn settle(bit: u32, flippable: &Range<u32>, link: LinkId) -> Option<u32> {
    // The shortest packet with a checksum is far longer than a word; below that, nothing is certain.
    if flippable.len() < COLUMNS as usize {
        return None;
    }
    let mut bit = bit % flippable.end;
    if bit < flippable.start {
        bit = flippable.start + bit % flippable.len() as u32;
    }
    let links = LinkId::CHAIN.len() as u32;
    let (word, column) = (bit - bit % COLUMNS, bit % COLUMNS);
    let mut column = column - column % links + link.place() as u32;
    while column >= COLUMNS || word + column >= flippable.end {
        column -= links;
    }
    Some(word + column)
}

/// Flips the bit with this number behind the Ethernet header.
pub fn flip(frame: &mut [u8], bit: u32) {
    if let Some(byte) = frame.get_mut(ETHERNET_HEADER + bit as usize / 8) {
        *byte ^= 0x80 >> (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::cells;
    use super::*;
    use crate::case::Direction;
    use crate::link::packet::{View, checksum_holds};
    use crate::link::sample;
    use crate::seed::Seed;

    /// Whether the receiver of this packet notices the damage: by the checksum of the IPv4 header or that of TCP.
    fn is_caught(frame: &[u8]) -> bool {
        let header = &frame[ETHERNET_HEADER..][..20];
        let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let sound = frame[12] != 8 || (sum & 0xffff) + (sum >> 16) == 0xffff;
        !sound || !checksum_holds(frame)
    }

    #[test]
    fn flips_are_as_many_as_asked_for() {
        let mut stage = Corrupt::new(0.1, false, LinkId::Ns1Ns2, Seed(5).stream("corrupt"));
        let flips = cells(&mut stage, 0..20_000).values().filter(|fate| fate.flip.is_some()).count();
        assert!((1850..2150).contains(&flips), "{flips}");
    }

    proptest! {
        #[test]
        fn a_checksum_catches_every_flip(bit: u32, payload in 0u32..100, v6: bool, link in 0usize..3) {
            let mut sample = sample::data(7, 8, payload);
            if v6 { sample = sample.v6(); }
            let mut frame = sample.frame(Direction::Forward);
            let flippable = View::of(&frame).flippable;
            let bit = settle(bit, &flippable, LinkId::CHAIN[link]).expect("a TCP segment has bits to flip");
            prop_assert!(flippable.contains(&bit));
            prop_assert_eq!(settle(bit, &flippable, LinkId::CHAIN[link]), Some(bit));
            prop_assert!(!is_caught(&frame));
            flip(&mut frame, bit);
            prop_assert!(is_caught(&frame));
        }

        #[test]
        fn flips_on_different_links_never_cancel_out(bits: [u32; 3], on in 1usize..8, payload in 0u32..100, v6: bool) {
            let mut sample = sample::data(7, 8, payload);
            if v6 { sample = sample.v6(); }
            let mut frame = sample.frame(Direction::Forward);
            // The TCP segment only: an IPv4 header is checked at every hop.
            let flippable = if v6 { 40 * 8 } else { 20 * 8 }..View::of(&frame).flippable.end;
            for link in LinkId::CHAIN.into_iter().filter(|link| on >> link.index() & 1 == 1) {
                flip(&mut frame, settle(bits[link.index()], &flippable, link).expect("a TCP segment has bits to flip"));
            }
            prop_assert!(!checksum_holds(&frame));
        }
    }

    #[test]
    fn what_no_checksum_covers_is_left_alone() {
        assert_eq!(settle(100, &(0..0), LinkId::Ns1Ns2), None);
    }
}
