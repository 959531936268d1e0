//! What a campaign has to know about cases, as plain functions that a test can replace.

use std::collections::BTreeMap;
use std::path::Path;

use crate::case::{Case, Fault, LinkId};
use crate::observation::Observation;
use crate::oracle::Verdict;

/// What the links did to single packets in one run: for each link, forward and backward.
pub type Faults = BTreeMap<LinkId, [Vec<Fault>; 2]>;

/// How cases are judged and made simpler. [`Rules::default`] is whitewater's own way.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Judges a run.
    pub judge: fn(&Case, &Observation) -> Verdict,
    /// Cases strictly simpler than this one, boldest first.
    pub candidates: fn(&Case) -> Vec<Case>,
    /// Cases near this one that may fail more surely, nearest first.
    pub steadier: fn(&Case) -> Vec<Case>,
    /// The case with these faults in place of everything random that its links do.
    pub explicit: fn(&Case, &Faults) -> Case,
    /// Reads the faults of a run from its evidence folder; `None` if it has none.
    pub read_faults: fn(&Path) -> Option<Faults>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            judge: crate::oracle::judge,
            candidates: crate::case::simpler::candidates,
            steadier: crate::case::steadier::candidates,
            explicit: crate::case::simpler::explicit,
            read_faults: |evidence| crate::agent::evidence::read_faults(evidence).ok(),
        }
    }
}
