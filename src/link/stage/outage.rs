//! Outages: spans of time in which nothing passes.

use crate::case::Outage;

use super::{Fate, Nanos, Parcel, Stage};

/// The name of this stage in logs.
pub const NAME: &str = "outage";

/// The outages of one direction.
#[derive(Debug)]
pub struct Outages(Vec<(Nanos, Nanos)>);

impl Outages {
    /// Each from its beginning until just before its end; they may overlap.
    pub fn new(outages: &[Outage]) -> Outages {
        Outages(outages.iter().map(|outage| (super::nanos(outage.from), super::nanos(outage.to))).collect())
    }
}

impl Stage for Outages {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        if self.0.iter().any(|&(from, to)| (from..to).contains(&parcel.now)) {
            // Whatever the packet is called: it is the time that counts. Its first name stands for it.
            fate.lose(NAME, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::unit;
    use super::*;
    use crate::case::Packet;

    #[test]
    fn nothing_passes_from_the_beginning_of_an_outage_until_just_before_its_end() {
        let ms = Duration::from_millis;
        let mut stage = Outages::new(&[Outage { from: ms(10), to: ms(20) }, Outage { from: ms(15), to: ms(30) }]);
        let units = [unit(Packet::Ack(7), 9)];
        for (now, lost) in [(0, false), (9_999_999, false), (10_000_000, true), (29_999_999, true), (30_000_000, false)]
        {
            let parcel = Parcel::bare(now, 66, &units);
            let mut fate = Fate::of(&parcel);
            stage.work(&parcel, &mut fate);
            assert_eq!(fate.lost.is_some(), lost, "at {now} ns");
        }
    }
}
