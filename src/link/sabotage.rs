//! A link that errs on purpose, to test that a finding is shrunk to the packets that matter.
//!
//! It does what a bug in a retransmission path might: only after two particular packets have been lost does a later one
//! carry wrong bytes, under a checksum that is right.

use crate::case::Packet;

use super::identity::Identity;

/// The cells whose first transmissions both have to be lost.
const CELLS: [u64; 2] = [3, 7];

/// The bytes that are swapped: two of the 16-bit words that a checksum adds up, whose sum does not see their order.
const WORDS: usize = 4;

/// The saboteur of one direction of a link.
#[derive(Clone, Debug, Default)]
pub(super) struct TwoLosses {
    lost: [bool; CELLS.len()],
}

impl TwoLosses {
    /// Looks at a packet, whose payload is the last `payload` bytes of `frame`, and spoils it once the time has come.
    pub(super) fn see(&mut self, identity: &Identity, lost: bool, payload: usize, frame: &mut [u8]) {
        for unit in identity.units.iter().filter(|unit| unit.flow == 0) {
            for (seen, cell) in self.lost.iter_mut().zip(CELLS) {
                *seen |= lost && unit.carriage == 0 && unit.packet == Packet::Cell(cell);
            }
        }
        let later = |unit: &super::identity::Unit| unit.packet == Packet::Cell(CELLS[1]) && unit.carriage > 0;
        if self.lost == [true; CELLS.len()] && identity.units.iter().any(later) && payload >= WORDS {
            let start = frame.len() - payload;
            if let Some(words) = frame.get_mut(start..start + WORDS) {
                words.rotate_left(WORDS / 2);
            }
        }
    }
}
