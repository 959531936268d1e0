//! Loss: independent, in bursts, or of whole cells.
//!
//! The bursts are a Gilbert-Elliott chain over the *position* of a packet in its stream, not over time: the state at cell
//! 17 is the same whenever and however often a run comes by. Each carriage has a chain of its own, so retransmissions
//! meet bursts of their own; so have acknowledgements and packets that carry no cell's first byte, by the cell that their
//! offset lies in. A chain begins anew, from its stationary distribution, every [`BLOCK`] cells: that bounds what has to
//! be computed for one packet, however far its offset jumps.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::case::{Loss, Packet};
use crate::link::identity::{MAX_CARRIAGES, Unhashed, Unit, mix};
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
