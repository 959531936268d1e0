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
/// own columns. A bit that is right already stays where it is. `None` where no bit may be flipped.
pub fn settle(bit: u32, flippable: &Range<u32>, link: LinkId) -> Option<u32> {
    // The shortest packet with a checksum is far longer than a word; below that, nothing is certain.
    if flippable.len() < COLUMNS as usize {
        return None;
    }
    let mut bit = bit % flippable.end;
    if bit < flippable.start {
        bit = flippable.start + bit % flippable.len() as u32;
    }
    let links = LinkId::ALL.len() as u32;
    let (word, column) = (bit - bit % COLUMNS, bit % COLUMNS);
    let mut column = column - column % links + link.index() as u32;
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
