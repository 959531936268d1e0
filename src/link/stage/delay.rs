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

#[cfg(test)]
mod tests {
    use super::super::tests::{cells, unit, work};
    use super::*;
    use crate::case::Packet;
    use crate::seed::Seed;

    const MS: i64 = 1_000_000;

    fn shifts(jitter: Jitter) -> Vec<i64> {
        let mut stage = Jittered::new(jitter, Seed(5).stream("jitter"));
        cells(&mut stage, 0..20_000).values().map(|fate| fate.shift).collect()
    }

    fn mean(values: &[i64]) -> f64 {
        values.iter().sum::<i64>() as f64 / values.len() as f64
    }

    #[test]
    fn uniform_jitter_fills_its_span_evenly() {
        let shifts = shifts(Jitter::Uniform(Duration::from_millis(2)));
        assert!(shifts.iter().all(|shift| (-2 * MS..=2 * MS).contains(shift)));
        assert!(mean(&shifts).abs() < 0.05 * MS as f64, "{}", mean(&shifts));
        let outer = shifts.iter().filter(|shift| shift.abs() > MS).count();
        assert!((9600..10_400).contains(&outer), "{outer}");
    }

    #[test]
    fn normal_jitter_has_its_standard_deviation() {
        let shifts = shifts(Jitter::Normal(Duration::from_millis(2)));
        let squares: f64 = shifts.iter().map(|&shift| (shift as f64).powi(2)).sum();
        let deviation = (squares / shifts.len() as f64).sqrt();
        assert!((1.95..2.05).contains(&(deviation / MS as f64)), "{deviation}");
    }

    #[test]
    fn a_packet_never_takes_less_than_no_time() {
        let mut stage = Jittered::new(Jitter::Uniform(Duration::from_millis(2)), Seed(5).stream("jitter"));
        let delay = MS as u64 / 10;
        let due: Vec<Nanos> =
            (0..100).map(|cell| work(&mut stage, &[unit(Packet::Cell(cell), 0)], delay).due().0).collect();
        assert!(due.contains(&0) && due.iter().any(|&due| due > delay));
    }
}
