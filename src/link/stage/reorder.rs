//! Reordering as netem means it: some packets skip the delay, and so overtake those before them.
//!
//! Where a packet stands in the byte stream decides whether it is a candidate, and whose draw it may repeat: every
//! `gap`-th cell is a candidate, and with probability `correlation` a candidate does as the candidate before it did.
//! That keeps the probability of skipping what it was set to; netem's own formula, a weighted sum of random numbers,
//! changes it. Packets that carry no cell's first byte stand nowhere: they are candidates at random, one of `gap`, and
//! draw on their own.

use crate::case::{Packet, Reorder};
use crate::link::identity::{Unit, mix};
use crate::seed::Stream;

use super::{Fate, Names, Parcel, Stage};

/// The name of this stage in logs.
pub const NAME: &str = "reorder";

/// How far back a candidate looks for the draw that it repeats, in candidates.
const MEMORY: u64 = 1024;

/// Lets packets skip the delay.
#[derive(Debug)]
pub struct Overtaking {
    probability: f64,
    correlation: f64,
    gap: u64,
    spare_handshake: bool,
    stream: Stream,
}

impl Overtaking {
    /// Lets packets skip the delay as `reorder` says.
    pub fn new(reorder: Reorder, spare_handshake: bool, stream: Stream) -> Overtaking {
        let Reorder { probability, correlation, gap } = reorder;
        Overtaking { probability, correlation, gap: u64::from(gap.max(1)), spare_handshake, stream }
    }

    fn skips(&self, unit: &Unit) -> bool {
        let Packet::Cell(cell) = unit.packet else {
            let mut draw = self.stream.at(unit.place());
            return draw.below(self.gap) == 0 && draw.chance(self.probability);
        };
        if cell % self.gap != self.gap - 1 {
            return false;
        }
        let series = mix(unit.series(), u64::from(unit.carriage));
        let candidate = cell / self.gap;
        // The nearest candidate, from this one back, that drew on its own.
        (0..=candidate.min(MEMORY))
            .map(|back| self.stream.at(mix(series, candidate - back)))
            .find_map(|mut draw| (!draw.chance(self.correlation)).then(|| draw.chance(self.probability)))
            .unwrap_or(false)
    }
}

impl Stage for Overtaking {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        if fate.delay == 0 {
            return;
        }
        let first = parcel.exposed(self.spare_handshake).find(|(_, unit)| self.skips(unit));
        if let Some((index, _)) = first {
            fate.shift(-i64::try_from(fate.delay).unwrap_or(i64::MAX), NAME, (1 as Names) << index);
        }
    }
}
