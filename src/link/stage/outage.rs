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
