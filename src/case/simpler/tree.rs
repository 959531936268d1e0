//! Shrinking as proptest does it, over [`candidates`].

use proptest::strategy::ValueTree;

use super::candidates;
use crate::case::Case;

/// A case and the way to simpler ones, as a proptest value tree.
///
/// [`ValueTree::simplify`] takes the current case, which failed, as the new base and goes to its first candidate;
/// [`ValueTree::complicate`] gives the current candidate, which passed, up and goes to the next one of the same base.
/// Once the candidates are used up the base is current again: no simpler case that fails was met.
#[derive(Clone, Debug)]
pub struct CaseTree {
    /// The simplest case known to fail.
    base: Case,
    /// Candidates of the base that are yet to be tried, the next one last.
    waiting: Vec<Case>,
    current: Case,
    /// Whether `current` is the base, and `simplify` has not yet been called on it.
    fresh: bool,
}

impl CaseTree {
    /// A tree that begins with `case`.
    pub fn new(case: Case) -> CaseTree {
        CaseTree { base: case.clone(), waiting: Vec::new(), current: case, fresh: true }
    }

    fn next(&mut self) -> bool {
        match self.waiting.pop() {
            Some(candidate) => {
                self.current = candidate;
                true
            }
            None => {
                self.current = self.base.clone();
                false
            }
        }
    }
}

impl ValueTree for CaseTree {
    type Value = Case;

    fn current(&self) -> Case {
        self.current.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.fresh || self.current != self.base {
            self.fresh = false;
            self.base = self.current.clone();
            self.waiting = candidates(&self.base);
            self.waiting.reverse();
        }
        self.next()
    }

    fn complicate(&mut self) -> bool {
        self.next()
    }
}
