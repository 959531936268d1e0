//! Steps towards simpler cases, in their order.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{parts, paths, place, weight};
use crate::case::{Case, Knobs, Link};

/// How bold a step is; the boldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Everything plain but who sends how much.
    Everything,
    /// A whole group plain.
    Group,
    /// Where the transfer happens, over which protocols and addresses.
    Place,
    /// A part plain: a link, a direction of it, an endpoint's options.
    Part,
    /// A single field plain.
    Field,
    /// A payload smaller.
    Size,
    /// A list shorter.
    List,
    /// A plainer kind of the same thing.
    Kind,
    /// Other numbers rounder, smaller, or nearer to the default.
    Number,
}

/// Where a step stands in the order of all steps. Stays the same while other parts of the case change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    phase: Phase,
    field: String,
    /// How far the step goes: how much less a number is, how many elements a list loses.
    far: Reverse<u64>,
    nth: usize,
}

/// A step: what it changes, and when its turn is.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) key: Key,
    edit: Arc<dyn Fn(&mut Case) + Send + Sync>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl Step {
    /// `case` after this step, where it is valid and simpler.
    pub(super) fn apply(&self, case: &Case) -> Option<Case> {
        // What was seen of one case was not seen of another.
        let mut simpler = Case { finding: None, ..case.clone() };
        (self.edit)(&mut simpler);
        simpler.links.retain(|_, link| *link != Link::default());
        simpler.hosts.retain(|_, knobs| *knobs != Knobs::default());
        (weight(&simpler) < weight(case) && simpler.validate().is_ok()).then_some(simpler)
    }
}

/// The steps from `case`, in order. Some may lead nowhere: [`Step::apply`] tells.
pub(super) fn of(case: &Case) -> Vec<Step> {
    let mut steps = Steps { steps: Vec::new() };
    place::steps(case, &mut steps);
    parts::steps(case, &mut steps);
    paths::steps(case, &mut steps);
    steps.steps.sort_by(|left, right| left.key.cmp(&right.key));
    steps.steps
}

/// Collects steps.
pub(super) struct Steps {
    steps: Vec<Step>,
}

impl Steps {
    /// One step that changes `field` for good.
    pub(super) fn add(&mut self, phase: Phase, field: &str, edit: impl Fn(&mut Case) + Send + Sync + 'static) {
        self.push(phase, field, u64::MAX, 0, edit);
    }

    /// Steps by which the number `value` comes nearer to `plain`: all the way, then by powers of two down to `grain`.
    pub(super) fn number<F>(&mut self, phase: Phase, field: &str, (value, plain, grain): (u64, u64, u64), set: F)
    where
        F: Fn(&mut Case, u64) + Clone + Send + Sync + 'static,
    {
        let distance = value.abs_diff(plain);
        for far in std::iter::once(distance).chain(powers_below(distance)).filter(|far| *far >= grain.max(1)) {
            let set = set.clone();
            let next = if value > plain { value - far } else { value + far };
            self.push(phase, field, far, 0, move |case| set(case, next));
        }
    }

    /// Steps to each of `targets`, the farthest from `value` first.
    pub(super) fn targets<F>(&mut self, phase: Phase, field: &str, value: u64, targets: &[u64], set: F)
    where
        F: Fn(&mut Case, u64) + Clone + Send + Sync + 'static,
    {
        for target in targets.iter().copied() {
            let set = set.clone();
            self.push(phase, field, value.abs_diff(target), 0, move |case| set(case, target));
        }
    }

    /// Steps to rounder and smaller numbers, none below `least`.
    pub(super) fn rounder<F>(&mut self, field: &str, value: u64, least: u64, set: F)
    where
        F: Fn(&mut Case, u64) + Clone + Send + Sync + 'static,
    {
        let mut targets: Vec<u64> = [value / 10, value / 2, value / 4 * 3, value].map(|value| floor(value, 1)).to_vec();
        targets.push(floor(value, 2));
        targets.retain(|target| (least..value).contains(target));
        targets.sort_unstable();
        targets.dedup();
        self.targets(Phase::Number, field, value, &targets, set);
    }

    /// Steps that take chunks out of a list of `length` elements: all, then each half, quarter, ..., element.
    pub(super) fn list<F>(&mut self, field: &str, length: usize, remove: F)
    where
        F: Fn(&mut Case, Range<usize>) + Clone + Send + Sync + 'static,
    {
        for size in std::iter::once(length as u64).chain(powers_below(length as u64)).filter(|size| *size > 0) {
            for start in (0..length).step_by(size as usize) {
                let remove = remove.clone();
                let chunk = start..(start + size as usize).min(length);
                self.push(Phase::List, field, size, start, move |case| remove(case, chunk.clone()));
            }
        }
    }

    fn push(
        &mut self,
        phase: Phase,
        field: &str,
        far: u64,
        nth: usize,
        edit: impl Fn(&mut Case) + Send + Sync + 'static,
    ) {
        let key = Key { phase, field: field.to_owned(), far: Reverse(far), nth };
        self.steps.push(Step { key, edit: Arc::new(edit) });
    }
}

/// The powers of two below `bound`, the largest first.
fn powers_below(bound: u64) -> impl Iterator<Item = u64> {
    let bits = if bound <= 1 { 0 } else { (bound - 1).ilog2() + 1 };
    (0..bits).rev().map(|bit| 1 << bit)
}

/// `value` with all but its first `digits` digits zero.
fn floor(value: u64, digits: u32) -> u64 {
    let unit = value.checked_ilog10().map_or(1, |log| 10u64.pow((log + 1).saturating_sub(digits)));
    value / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_halve_down_to_one() {
        assert_eq!(powers_below(0).count(), 0);
        assert_eq!(powers_below(1).count(), 0);
        assert_eq!(powers_below(2).collect::<Vec<_>>(), [1]);
        assert_eq!(powers_below(9).collect::<Vec<_>>(), [8, 4, 2, 1]);
        assert_eq!(powers_below(8).collect::<Vec<_>>(), [4, 2, 1]);
    }

    #[test]
    fn numbers_are_floored_to_their_first_digits() {
        assert_eq!([0, 7, 10, 1448, 99_999].map(|value| floor(value, 1)), [0, 7, 10, 1000, 90_000]);
        assert_eq!([0, 7, 10, 1448, 99_999].map(|value| floor(value, 2)), [0, 7, 10, 1400, 99_000]);
    }
}
