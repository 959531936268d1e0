//! Duplication: a second copy follows the packet at once. Both share what later stages decide by name; each takes its own
//! place in the queue of a limited rate.

use crate::seed::Stream;

use super::{Fate, Names, Parcel, Stage};

/// The name of this stage in logs.
pub const NAME: &str = "duplicate";

/// Doubles packets at random.
#[derive(Debug)]
pub struct Duplicate {
    probability: f64,
    spare_handshake: bool,
    stream: Stream,
}

impl Duplicate {
    /// Doubles with this probability.
    pub fn new(probability: f64, spare_handshake: bool, stream: Stream) -> Duplicate {
        Duplicate { probability, spare_handshake, stream }
    }
}

impl Stage for Duplicate {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let names = parcel
            .exposed(self.spare_handshake)
            .filter(|(_, unit)| self.stream.at(unit.place()).chance(self.probability))
            .fold(0, |names: Names, (index, _)| names | 1 << index);
        if names != 0 {
            fate.double(NAME, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cells;
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn copies_are_as_many_as_asked_for_and_follow_at_once() {
        let mut stage = Duplicate::new(0.2, false, Seed(5).stream("duplicate"));
        let fates = cells(&mut stage, 0..20_000);
        let copies = fates.values().filter(|fate| fate.doubled.is_some()).count();
        assert!((3800..4200).contains(&copies), "{copies}");
        assert!(fates.values().all(|fate| fate.doubled.is_some() == (fate.due().1 == Some(fate.due().0))));
    }
}
