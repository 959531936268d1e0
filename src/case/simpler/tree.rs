//! Shrinking as proptest does it.

use std::collections::VecDeque;

use proptest::strategy::ValueTree;

use super::steps::{self, Key, Step};
use crate::case::Case;

/// A case and the way to simpler ones, as a proptest value tree.
///
/// [`simplify`](ValueTree::simplify) says that the current case fails: it becomes the base, and its first candidate
/// the current case. [`complicate`](ValueTree::complicate) says that the current candidate passes: the next one takes
/// its place. Once a base has no candidate left, both return false and the base is current again: every case that is
/// one step simpler passes.
///
/// After a step that led to a failing case the search goes on from that step, and comes back to the bolder ones last:
/// they passed before, and mostly pass again.
///
/// ```
/// use proptest::strategy::ValueTree;
/// use whitewater::case::{Case, simpler::CaseTree};
///
/// let mut case = Case::default();
/// case.client.payload = 100_000;
/// let fails = |case: &Case| case.client.payload >= 1448;
///
/// let mut tree = CaseTree::new(case);
/// let mut more = tree.simplify();
/// while more {
///     more = if fails(&tree.current()) { tree.simplify() } else { tree.complicate() };
/// }
/// assert_eq!(tree.current().client.payload, 1448);
/// ```
#[derive(Clone, Debug)]
pub struct CaseTree {
    /// The simplest case known to fail.
    base: Case,
    /// Steps from the base that are yet to be tried.
    waiting: VecDeque<Step>,
    /// The candidate under test and the step that led to it; `None`: the base itself.
    current: Option<(Key, Case)>,
    /// Whether the steps from the base have been listed.
    listed: bool,
}

impl CaseTree {
    /// A tree that begins with `case`.
    pub fn new(case: Case) -> CaseTree {
        CaseTree { base: case, waiting: VecDeque::new(), current: None, listed: false }
    }

    /// The simplest case known to fail so far.
    pub fn base(&self) -> &Case {
        &self.base
    }

    /// Lists the steps from the base, beginning at `from`.
    fn list(&mut self, from: Option<&Key>) {
        self.waiting = steps::of(&self.base).into();
        if let Some(from) = from {
            let first = self.waiting.partition_point(|step| step.key < *from);
            self.waiting.rotate_left(first);
        }
        self.listed = true;
    }

    fn next(&mut self) -> bool {
        while let Some(step) = self.waiting.pop_front() {
            if let Some(candidate) = step.apply(&self.base) {
                self.current = Some((step.key, candidate));
                return true;
            }
        }
        self.current = None;
        false
    }
}

impl ValueTree for CaseTree {
    type Value = Case;

    fn current(&self) -> Case {
        self.current.as_ref().map_or(&self.base, |(_, candidate)| candidate).clone()
    }

    fn simplify(&mut self) -> bool {
        match self.current.take() {
            Some((key, candidate)) => {
                self.base = candidate;
                self.list(Some(&key));
            }
            None if !self.listed => self.list(None),
            None => {}
        }
        self.next()
    }

    fn complicate(&mut self) -> bool {
        self.next()
    }
}
