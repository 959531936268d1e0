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

/// Every this many candidates the correlation begins anew, so that no packet takes long to decide.
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
        // The nearest candidate, from this one back, that drew on its own; the first one of all has nobody to repeat.
        let first = candidate - candidate % MEMORY;
        (first..=candidate)
            .rev()
            .find_map(|candidate| {
                let mut draw = self.stream.at(mix(series, candidate));
                let repeats = draw.chance(self.correlation) && candidate > first;
                (!repeats).then(|| draw.chance(self.probability))
            })
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

#[cfg(test)]
mod tests {
    use super::super::tests::{cells, unit, work};
    use super::*;
    use crate::seed::Seed;

    fn skipped(reorder: Reorder) -> Vec<bool> {
        let mut stage = Overtaking::new(reorder, false, Seed(5).stream("reorder"));
        cells(&mut stage, 0..40_000).values().map(|fate| fate.due().0 == 0).collect()
    }

    fn count(values: &[bool]) -> usize {
        values.iter().filter(|&&value| value).count()
    }

    #[test]
    fn as_many_packets_skip_the_delay_as_asked_for() {
        let plain = count(&skipped(Reorder { probability: 0.25, correlation: 0.0, gap: 0 }));
        assert!((9700..10_300).contains(&plain), "{plain}");
    }

    #[test]
    fn correlation_makes_neighbours_alike_and_keeps_the_share() {
        let skipped = skipped(Reorder { probability: 0.25, correlation: 0.8, gap: 1 });
        assert!((9000..11_000).contains(&count(&skipped)), "{}", count(&skipped));
        let alike = skipped.windows(2).filter(|pair| pair[0] == pair[1]).count();
        // 0.8 repeat, and of the rest 0.25 * 0.25 + 0.75 * 0.75 are alike by chance.
        assert!((0.91..0.94).contains(&(alike as f64 / 39_999.0)), "{alike}");
        assert_eq!(count(&super::tests::skipped(Reorder { probability: 1.0, correlation: 0.99, gap: 1 })), 40_000);
    }

    #[test]
    fn only_every_gapth_cell_is_a_candidate() {
        let skipped = skipped(Reorder { probability: 1.0, correlation: 0.0, gap: 5 });
        assert!(skipped.iter().enumerate().all(|(cell, &skips)| skips == (cell % 5 == 4)));
    }

    #[test]
    fn acknowledgements_are_candidates_at_random() {
        let reorder = Reorder { probability: 0.5, correlation: 0.9, gap: 4 };
        let mut stage = Overtaking::new(reorder, false, Seed(5).stream("reorder"));
        let skips =
            (0..16_000).filter(|&ack| work(&mut stage, &[unit(Packet::Ack(ack * 2896), 0)], 9).shift < 0).count();
        assert!((1800..2200).contains(&skips), "{skips}");
    }

    #[test]
    fn without_a_delay_there_is_nothing_to_skip() {
        let reorder = Reorder { probability: 1.0, correlation: 0.0, gap: 0 };
        let mut stage = Overtaking::new(reorder, false, Seed(5).stream("reorder"));
        assert_eq!(work(&mut stage, &[unit(Packet::Cell(1), 0)], 0).shifted, None);
    }
}
