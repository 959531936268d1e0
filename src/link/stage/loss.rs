//! Loss: independent, in bursts, or of whole cells.
//!
//! The bursts are a Gilbert-Elliott chain over the *position* of a packet in its stream, not over time: the state at cell
//! 17 is the same whenever and however often a run comes by. Each carriage has a chain of its own, so retransmissions
//! meet bursts of their own; so have acknowledgements and packets that carry no cell's first byte, by the cell that their
//! offset lies in. A chain begins anew, from its stationary distribution, every `BLOCK` cells: that bounds what has to
//! be computed for one packet, however far its offset jumps.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::case::{Loss, MAX_CARRIAGES, Packet};
use crate::link::identity::{Unhashed, Unit, mix};
use crate::seed::Stream;

use super::{Fate, Names, Parcel, Stage};

/// The name of this stage in logs.
pub const NAME: &str = "loss";

/// How many cells one piece of a Gilbert-Elliott chain covers.
const BLOCK: u64 = 1024;

/// How many pieces of chains are kept; all are forgotten, and computed again when needed, once there are more.
const MAX_BLOCKS: usize = 256;

/// The stage for `loss`.
pub fn stage(loss: Loss, spare_handshake: bool, stream: Stream) -> Box<dyn Stage> {
    let model: Box<dyn Model> = match loss {
        Loss::Independent(probability) => Box::new(Independent { probability, stream }),
        Loss::GilbertElliott { to_bad, to_good, good, bad } => {
            Box::new(GilbertElliott { to_bad, to_good, good, bad, stream, blocks: HashMap::default() })
        }
        Loss::Cells { probability, carriages } => Box::new(Cells { probability, carriages, stream }),
    };
    Box::new(Losing { model, spare_handshake })
}

/// Decides for single names.
trait Model: Send {
    fn loses(&mut self, unit: &Unit) -> bool;
}

struct Losing {
    model: Box<dyn Model>,
    spare_handshake: bool,
}

impl Stage for Losing {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let mut names: Names = 0;
        for (index, unit) in parcel.exposed(self.spare_handshake) {
            if self.model.loses(unit) {
                names |= 1 << index;
            }
        }
        if names != 0 {
            fate.lose(NAME, names);
        }
    }
}

struct Independent {
    probability: f64,
    stream: Stream,
}

impl Model for Independent {
    fn loses(&mut self, unit: &Unit) -> bool {
        self.stream.at(unit.place()).chance(self.probability)
    }
}

struct Cells {
    probability: f64,
    carriages: u32,
    stream: Stream,
}

impl Model for Cells {
    fn loses(&mut self, unit: &Unit) -> bool {
        if !matches!(unit.packet, Packet::Cell(_)) {
            return false;
        }
        let mut draw = self.stream.at(unit.name());
        let most = u64::from(self.carriages.clamp(1, MAX_CARRIAGES));
        draw.chance(self.probability) && u64::from(unit.carriage) < 1 + draw.below(most)
    }
}

struct GilbertElliott {
    to_bad: f64,
    to_good: f64,
    good: f64,
    bad: f64,
    stream: Stream,
    /// One bit per cell: set where the state is bad.
    blocks: HashMap<u64, [u64; BLOCK as usize / 64], BuildHasherDefault<Unhashed>>,
}

impl GilbertElliott {
    /// Whether the chain of `unit` is in the bad state where the unit stands.
    fn is_bad(&mut self, unit: &Unit) -> bool {
        let (block, within) = (unit.position() / BLOCK, (unit.position() % BLOCK) as usize);
        let key = mix(mix(unit.series(), u64::from(unit.carriage)), block);
        if self.blocks.len() >= MAX_BLOCKS && !self.blocks.contains_key(&key) {
            self.blocks.clear();
        }
        let (to_bad, to_good) = (self.to_bad, self.to_good);
        let states = self.blocks.entry(key).or_insert_with(|| {
            // The chain's own numbers lie apart from those that decide for single packets.
            let mut draw = self.stream.at(mix(key, CHAIN));
            let mut states = [0; BLOCK as usize / 64];
            let mut bad = draw.chance(stationary(to_bad, to_good));
            for cell in 0..BLOCK as usize {
                states[cell / 64] |= u64::from(bad) << (cell % 64);
                bad = if bad { !draw.chance(to_good) } else { draw.chance(to_bad) };
            }
            states
        });
        states[within / 64] >> (within % 64) & 1 == 1
    }
}

/// What sets the places of chains apart from those of packets.
const CHAIN: u64 = 0x6368_6169_6e00_0000;

/// How likely the bad state is. A chain that never moves stays good.
fn stationary(to_bad: f64, to_good: f64) -> f64 {
    if to_bad + to_good > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 }
}

impl Model for GilbertElliott {
    fn loses(&mut self, unit: &Unit) -> bool {
        let loss = if self.is_bad(unit) { self.bad } else { self.good };
        self.stream.at(unit.place()).chance(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cells, unit, work};
    use super::*;
    use crate::seed::Seed;

    fn lost(loss: Loss, count: u64) -> Vec<bool> {
        let mut stage = stage(loss, false, Seed(5).stream("loss"));
        cells(&mut *stage, 0..count).values().map(|fate| fate.lost.is_some()).collect()
    }

    fn share(lost: &[bool]) -> f64 {
        lost.iter().filter(|&&lost| lost).count() as f64 / lost.len() as f64
    }

    /// The mean length of runs of losses.
    fn burst(lost: &[bool]) -> f64 {
        let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        lost.iter().filter(|&&lost| lost).count() as f64 / runs as f64
    }

    #[test]
    fn independent_losses_are_as_many_as_asked_for_and_single() {
        let lost = lost(Loss::Independent(0.05), 50_000);
        assert!((0.045..0.055).contains(&share(&lost)), "{}", share(&lost));
        assert!((1.0..1.1).contains(&burst(&lost)), "{}", burst(&lost));
    }

    #[test]
    fn gilbert_elliott_losses_come_in_bursts() {
        let loss = Loss::GilbertElliott { to_bad: 0.02, to_good: 0.25, good: 0.0, bad: 1.0 };
        let lost = lost(loss, 100_000);
        // A bad state every 0.02 / 0.27 cells, left after 4 on average.
        assert!((0.066..0.082).contains(&share(&lost)), "{}", share(&lost));
        assert!((3.6..4.4).contains(&burst(&lost)), "{}", burst(&lost));
    }

    #[test]
    fn gilbert_elliott_states_are_computed_again_as_they_were() {
        let loss = Loss::GilbertElliott { to_bad: 0.1, to_good: 0.2, good: 0.01, bad: 0.9 };
        let mut stage = stage(loss, false, Seed(5).stream("loss"));
        let far = BLOCK * (MAX_BLOCKS as u64 + 10);
        let near = cells(&mut *stage, 0..500);
        cells(&mut *stage, (0..far).step_by(BLOCK as usize));
        assert_eq!(near, cells(&mut *stage, 0..500));
    }

    #[test]
    fn acknowledgements_meet_bursts_of_their_own() {
        let loss = Loss::GilbertElliott { to_bad: 0.05, to_good: 0.1, good: 0.0, bad: 1.0 };
        let mut stage = stage(loss, false, Seed(5).stream("loss"));
        let lost: Vec<bool> =
            (0..50_000).map(|cell| work(&mut *stage, &[unit(Packet::Ack(cell * 1448), 0)], 0).lost.is_some()).collect();
        assert!((0.28..0.39).contains(&share(&lost)), "{}", share(&lost));
        assert!(burst(&lost) > 8.0, "{}", burst(&lost));
    }

    #[test]
    fn a_chosen_cell_loses_its_first_carriages_and_no_later_ones() {
        let mut stage = stage(Loss::Cells { probability: 0.3, carriages: 3 }, false, Seed(5).stream("loss"));
        let mut counts = [0; 4];
        for cell in 0..10_000 {
            let lost: Vec<bool> = (0..6)
                .map(|carriage| work(&mut *stage, &[unit(Packet::Cell(cell), carriage)], 0).lost.is_some())
                .collect();
            let first = lost.iter().take_while(|&&lost| lost).count();
            assert!(!lost[first..].contains(&true), "cell {cell} lost {lost:?}");
            counts[first] += 1;
        }
        assert!((6800..7200).contains(&counts[0]), "{counts:?}");
        assert!(counts[1..].iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!(work(&mut *stage, &[unit(Packet::Ack(1), 0)], 0).lost, None);
    }

    #[test]
    fn a_segment_is_lost_when_any_of_its_cells_is() {
        let mut stage = stage(Loss::Independent(0.2), false, Seed(5).stream("loss"));
        let single = cells(&mut *stage, 0..1000);
        for cell in (0..1000).step_by(2) {
            let fate = work(&mut *stage, &[unit(Packet::Cell(cell), 0), unit(Packet::Cell(cell + 1), 0)], 0);
            let expected = [cell, cell + 1].map(|cell| single[&cell].lost.is_some());
            assert_eq!(fate.lost.is_some(), expected[0] || expected[1]);
            assert_eq!(fate.lost_for, u64::from(expected[0]) | u64::from(expected[1]) << 1);
        }
    }
}
