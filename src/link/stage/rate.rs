//! A limited rate: frames leave one after another, at this many bits a second; those behind wait in a bounded queue.
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

    /// When a frame that comes now has left; `None` if the queue has no place for it.
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

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;
    use crate::case::Packet;

    fn work(stage: &mut Limit, now: Nanos, length: usize, copies: bool) -> Fate {
        let units = [unit(Packet::Other, 0)];
        let parcel = Parcel::bare(now, length, &units);
        let mut fate = Fate::of(&parcel);
        if copies {
            fate.double("duplicate", 1);
        }
        stage.work(&parcel, &mut fate);
        fate
    }

    #[test]
    fn frames_leave_one_after_another_at_the_rate() {
        // 1 Mbit/s: 8 us a byte.
        let mut stage = Limit::new(Rate { kbit: 1000, queue: 10 });
        assert_eq!(work(&mut stage, 0, 100, false).due(), (800_000, None));
        assert_eq!(work(&mut stage, 0, 1000, false).due(), (8_800_000, None));
        assert_eq!(work(&mut stage, 100_000_000, 100, false).due(), (100_800_000, None));
    }

    #[test]
    fn one_packet_more_than_the_queue_holds_is_dropped() {
        let mut stage = Limit::new(Rate { kbit: 8000, queue: 2 });
        let lost: Vec<bool> = (0..5).map(|_| work(&mut stage, 0, 1000, false).lost.is_some()).collect();
        assert_eq!(lost, [false, false, false, true, true]);
        // The first has left after 1 ms; the second leaves then, and waits no longer.
        assert_eq!(work(&mut stage, 1_000_000, 1000, false).due(), (4_000_000, None));
        assert_eq!(work(&mut stage, 1_000_000, 1000, false).lost, Some(Lost::QueueFull));
    }

    #[test]
    fn a_copy_takes_a_place_of_its_own_or_is_dropped_alone() {
        let mut stage = Limit::new(Rate { kbit: 8000, queue: 2 });
        assert_eq!(work(&mut stage, 0, 1000, true).due(), (1_000_000, Some(2_000_000)));
        assert_eq!(work(&mut stage, 0, 1000, true).due(), (3_000_000, None));
    }

    #[test]
    fn a_queue_of_nothing_still_lets_single_packets_pass() {
        let mut stage = Limit::new(Rate { kbit: 0, queue: 0 });
        assert_eq!(work(&mut stage, 0, 1, false).lost, None);
        assert_eq!(work(&mut stage, 7_999_999, 1, false).lost, Some(Lost::QueueFull));
        assert_eq!(work(&mut stage, 8_000_000, 1, false).lost, None);
    }
}
