//! A limited rate: frames leave one after another, at so many bits a second; those behind wait in a bounded queue.
//!
//! The length of a frame counts with its Ethernet header, as in the kernel's token bucket. This is the one stage whose
//! decisions depend on time and on the packets before: a queue that is full drops what comes next, and no seed repeats
//! that on a live kernel.

use std::collections::VecDeque;

use crate::case::Rate;

use super::{Fate, Lost, Nanos, Parcel, Stage};

/// The name of this stage in logs.
pub const NAME: &str = "queue full";

/// A limited rate and its queue.
#[derive(Debug)]
pub struct Limit {
    /// In bits a millisecond, which is kilobits a second. At least 1.
    kbit: u64,
    places: usize,
    /// When the waiting packets begin to leave, in order.
    waiting: VecDeque<Nanos>,
    /// When the last of them has left.
    free: Nanos,
}

impl Limit {
    /// A rate of 0 counts as 1 kbit/s.
    pub fn new(rate: Rate) -> Limit {
        Limit { kbit: u64::from(rate.kbit.max(1)), places: rate.queue as usize, waiting: VecDeque::new(), free: 0 }
    }

    /// When a frame that comes now has left; `None` where the queue has no place for it.
    fn enter(&mut self, now: Nanos, length: usize) -> Option<Nanos> {
        while self.waiting.front().is_some_and(|&start| start <= now) {
            self.waiting.pop_front();
        }
        let start = self.free.max(now);
        if start > now {
            if self.waiting.len() >= self.places {
                return None;
            }
            self.waiting.push_back(start);
        }
        self.free = start + (length as u64 * 8 * 1_000_000).div_ceil(self.kbit);
        Some(self.free)
    }
}

impl Stage for Limit {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let Some(leaves) = self.enter(parcel.now, parcel.length) else {
            fate.lost = Some(Lost::QueueFull);
            return;
        };
        let copy = fate.leaves.1.and_then(|_| self.enter(parcel.now, parcel.length));
        fate.leaves = (leaves, copy);
    }
}
