//! Delay and jitter: the time that every packet takes, and what some take more or less. Jittered packets may overtake each
//! other, as they do in netem.

use std::time::Duration;

use crate::case::Jitter;
use crate::seed::Stream;

use super::{Fate, Nanos, Parcel, Stage, nanos};

/// The name of the jitter stage in logs.
pub const NAME: &str = "jitter";

/// The same delay for every packet.
#[derive(Clone, Copy, Debug)]
pub struct Delay(Nanos);

impl Delay {
    /// Every packet takes this long.
    pub fn new(delay: Duration) -> Delay {
        Delay(nanos(delay))
    }
}

impl Stage for Delay {
    fn work(&mut self, _: &Parcel<'_>, fate: &mut Fate) {
        fate.delay = self.0;
    }
}

/// A random part of the delay.
#[derive(Debug)]
pub struct Jittered {
    jitter: Jitter,
    stream: Stream,
}

impl Jittered {
    /// Spreads the delay of each packet.
    pub fn new(jitter: Jitter, stream: Stream) -> Jittered {
        Jittered { jitter, stream }
    }

    fn draw(&self, place: u64) -> i64 {
        let mut draw = self.stream.at(place);
        match self.jitter {
            Jitter::Uniform(most) => ((draw.unit() * 2.0 - 1.0) * nanos(most) as f64) as i64,
            Jitter::Normal(deviation) => (draw.normal() * nanos(deviation) as f64) as i64,
        }
    }
}

impl Stage for Jittered {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        // Jitter harms nobody's handshake: it is not spared. Of several names, the latest counts.
        let latest = parcel.exposed(false).map(|(index, unit)| (self.draw(unit.place()), index)).max();
        if let Some((shift, index)) = latest {
            fate.shift(shift, NAME, 1 << index);
        }
    }
}
