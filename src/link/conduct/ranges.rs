//! Which parts of a stream have come: everything up to an offset, and islands behind it.

use std::collections::BTreeMap;

/// How many islands are told apart. Beyond them nothing more is known, and nothing is judged.
const MOST: usize = 4096;

/// Parts of a stream, by offset.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    prefix: u64,
    /// Begin and end of what lies apart.
    islands: BTreeMap<u64, u64>,
    overflowed: bool,
}

impl Ranges {
    /// Adds the bytes from `begin` to before `end`.
    pub fn add(&mut self, begin: u64, end: u64) {
        let (mut begin, mut end) = (begin.max(self.prefix), end);
        if begin >= end {
            return;
        }
        while let Some((&at, &until)) = self.islands.range(..=end).next_back().filter(|(_, until)| **until >= begin) {
            (begin, end) = (begin.min(at), end.max(until));
            self.islands.remove(&at);
        }
        if begin == self.prefix {
            self.prefix = end;
        } else if self.islands.len() < MOST {
            self.islands.insert(begin, end);
        } else {
            self.overflowed = true;
        }
    }

    /// Up to where all is there; `None` if that is not known.
    pub fn prefix(&self) -> Option<u64> {
        (!self.overflowed).then_some(self.prefix)
    }

    /// Whether all bytes from `begin` to before `end` are there, as far as it is known.
    pub fn may_hold(&self, begin: u64, end: u64) -> bool {
        let on_island = || self.islands.range(..=begin).next_back().is_some_and(|(_, until)| *until >= end);
        self.overflowed || end <= self.prefix || on_island()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_added_is_there_and_nothing_else(parts in proptest::collection::vec((0u64..200, 1u64..30), 0..40)) {
            let (mut ranges, mut bytes) = (Ranges::default(), [false; 256]);
            for (begin, length) in parts {
                ranges.add(begin, begin + length);
                bytes[begin as usize..(begin + length) as usize].fill(true);
            }
            prop_assert_eq!(ranges.prefix(), bytes.iter().position(|there| !there).map(|at| at as u64));
            for begin in 0..230 {
                for length in 1..20 {
                    let there = bytes[begin..begin + length].iter().all(|there| *there);
                    prop_assert_eq!(ranges.may_hold(begin as u64, (begin + length) as u64), there);
                }
            }
        }
    }
}
