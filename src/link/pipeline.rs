//! One direction of a link: its stages in order, and the queue of the packets under way. No clock and no descriptor:
//! times and frames come in, times and frames go out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::case::{Direction, Fault, Impairments, LinkId, Merge};
use crate::seed::Seed;

use super::holding::Holding;
use super::identity::{UNCOUNTED, Unit};
use super::packet::{ETHERNET_HEADER, View};
use super::rewrite::{self, Rewritten};
use super::stage::{self, Fate, Nanos, Parcel, Stage, corrupt};

/// How many packets may be under way at once in one direction. A TCP window of 6 MiB in the smallest usual segments is
/// well below; one packet more is trouble of our own.
pub const MAX_QUEUED: usize = 1 << 16;

/// How many explicit faults are kept for one direction.
pub const MAX_FAULTS: usize = 1 << 16;

/// One direction of a link at work.
pub struct Pipeline {
    stages: Vec<Box<dyn Stage>>,
    queue: BinaryHeap<Reverse<Entry>>,
    holding: Holding,
    /// What is to leave behind a packet that waited.
    next: Option<Due>,
    entries: u64,
    /// Buffers of frames that have left, for those to come.
    spare: Vec<Vec<u8>>,
    healed: bool,
    faults: Vec<Fault>,
    left_out: u64,
    overflowed: u64,
}

/// A packet under way. Ordered by due time, then by arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due: Nanos,
    number: u64,
    frame: Vec<u8>,
    tag: u64,
    merge: Option<Merge>,
}

/// A packet that is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// Its frame. Give it back with [`Pipeline::recycle`].
    pub frame: Vec<u8>,
    /// When it was due.
    pub due: Nanos,
    /// What was given for it to [`Pipeline::keep`].
    pub tag: u64,
    /// The same of the packets before it that were merged with it.
    pub parts: Vec<u64>,
}

impl Pipeline {
    /// The pipeline of `direction` of the link `id`, which takes packets of at most `mtu` bytes.
    pub fn new(seed: Seed, id: LinkId, direction: Direction, impairments: &Impairments, mtu: u16) -> Pipeline {
        Pipeline {
            stages: stage::stages(seed, id, direction, impairments),
            queue: BinaryHeap::new(),
            holding: Holding::new(usize::from(mtu) + ETHERNET_HEADER),
            next: None,
            entries: 0,
            spare: Vec::new(),
            healed: false,
            faults: Vec::new(),
            left_out: 0,
            overflowed: 0,
        }
    }

    /// Decides what becomes of a packet. A flip is for the caller to do, before it sends or keeps the frame.
    pub fn decide(&mut self, parcel: &Parcel<'_>) -> Fate {
        let mut fate = Fate::of(parcel);
        if self.healed {
            return fate;
        }
        for stage in &mut self.stages {
            stage.work(parcel, &mut fate);
            if fate.lost.is_some() {
                break;
            }
        }
        self.note(parcel.units, &fate);
        fate
    }

    /// Whether a packet that is due now may go straight on, without overtaking one in the queue that is due too, and
    /// without one that waits for it.
    pub fn is_clear(&self, now: Nanos) -> bool {
        self.holding.is_empty() && self.next_due().is_none_or(|due| due > now)
    }

    /// Keeps a copy of `frame` until `due`, and then until it can be merged, where it is to be. False if the queue is
    /// full: the packet is lost then, and no stage wanted it.
    #[must_use]
    pub fn keep(&mut self, due: Nanos, frame: &[u8], tag: u64, merge: Option<Merge>) -> bool {
        if self.queue.len() >= MAX_QUEUED {
            self.overflowed += 1;
            return false;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        self.queue.push(Reverse(Entry { due, number: self.entries, frame: buffer, tag, merge }));
        self.entries += 1;
        true
    }

    /// The next packet that is due by `now`, in the order of due times; all that wait, once the link is healed.
    pub fn due(&mut self, now: Nanos) -> Option<Due> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        loop {
            let queued = self.queue.peek().map(|Reverse(entry)| if self.healed { 0 } else { entry.due });
            // What waits is let go before what comes later.
            let limit = if self.healed { Nanos::MAX } else { queued.unwrap_or(now).min(now) };
            if let Some(over) = self.holding.over(limit) {
                return Some(over);
            }
            queued.filter(|due| *due <= now)?;
            let Reverse(Entry { due, frame, tag, merge, .. }) = self.queue.pop()?;
            let packet = Due { frame, due, tag, parts: Vec::new() };
            if merge.is_none() && self.holding.is_empty() {
                return Some(packet);
            }
            match self.holding.take(packet, merge.filter(|_| !self.healed)) {
                [None, None] => {}
                [None, one] | [one, None] => return one,
                [one, two] => {
                    self.next = two;
                    return one;
                }
            }
        }
    }

    /// When the next packet is due; `None` if none is under way.
    pub fn next_due(&self) -> Option<Nanos> {
        let queued = self.queue.peek().map(|Reverse(entry)| entry.due);
        let held = self.next.as_ref().map(|next| next.due).or_else(|| self.holding.next());
        let next = [queued, held].into_iter().flatten().min();
        next.map(|due| if self.healed { 0 } else { due })
    }

    /// Takes back the buffer of a packet that has left.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// From now on everything passes at once, and what waits is due.
    pub fn heal(&mut self) {
        self.healed = true;
    }

    /// How many packets are under way.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many packets were lost because more than [`MAX_QUEUED`] were under way.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Everything that was decided by name so far, as explicit faults: a pipeline with these faults, and the same rate and
    /// delay, does the same damage. Packets that found the queue of the rate full are not among them. At most
    /// [`MAX_FAULTS`]; the second number says how many more there were.
    pub fn faults(&self) -> (&[Fault], u64) {
        (&self.faults, self.left_out)
    }

    fn note(&mut self, units: &[Unit], fate: &Fate) {
        for (action, names) in fate.actions() {
            let named =
                units.iter().enumerate().filter(|(index, unit)| names >> index & 1 == 1 && unit.carriage < UNCOUNTED);
            for (_, &Unit { flow, packet, carriage }) in named {
                if self.faults.len() < MAX_FAULTS {
                    self.faults.push(Fault { flow, packet, carriage, action });
                } else {
                    self.left_out += 1;
                }
            }
        }
    }
}

/// Flips the bit that was decided on.
pub fn damage(frame: &mut [u8], fate: &Fate) {
    if let Some((bit, _)) = fate.flip {
        corrupt::flip(frame, bit);
    }
}

/// Rewrites `frame` as was decided, adds `renumber` to the sequence numbers of what goes on and of what goes back, and then
/// flips the bit that was decided on, in the first packet that goes on.
pub fn rewrite(frame: &[u8], fate: &Fate, link: LinkId, renumber: [u32; 2]) -> Rewritten {
    let actions = fate.changes.iter().flatten().map(|change| change.action);
    let mut rewritten = rewrite::rewrite(frame, fate.lost.is_some(), actions);
    rewritten.onward.iter_mut().for_each(|frame| rewrite::renumber::sequence(frame, renumber[0]));
    rewritten.back.iter_mut().for_each(|frame| rewrite::renumber::sequence(frame, renumber[1]));
    if let (Some((bit, _)), Some(first)) = (fate.flip, rewritten.onward.first_mut())
        && let Some(bit) = corrupt::settle(bit, &View::of(first).flippable, link)
    {
        corrupt::flip(first, bit);
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::case::{Jitter, Loss, Outage, Packet, Rate, Reorder};

    fn pipeline(impairments: &Impairments) -> Pipeline {
        Pipeline::new(Seed(9), LinkId::Ns2Ns3, Direction::Forward, impairments, 1500)
    }

    fn drain(pipeline: &mut Pipeline, now: Nanos) -> Vec<u64> {
        std::iter::from_fn(|| pipeline.due(now)).map(|due| due.tag).collect()
    }

    #[test]
    fn packets_leave_by_due_time_and_then_in_the_order_they_came() {
        let mut pipeline = pipeline(&Impairments::default());
        for (tag, due) in [30, 10, 20, 10, 40].into_iter().enumerate() {
            assert!(pipeline.keep(due, &[tag as u8], tag as u64, None));
        }
        assert_eq!(drain(&mut pipeline, 9), [0; 0]);
        assert_eq!(pipeline.next_due(), Some(10));
        assert!(pipeline.is_clear(9) && !pipeline.is_clear(10));
        assert_eq!(drain(&mut pipeline, 30), [1, 3, 2, 0]);
        pipeline.heal();
        assert_eq!(pipeline.next_due(), Some(0));
        assert_eq!(drain(&mut pipeline, 0), [4]);
    }

    #[test]
    fn one_packet_too_many_is_counted() {
        let mut pipeline = pipeline(&Impairments::default());
        for _ in 0..MAX_QUEUED {
            assert!(pipeline.keep(1, &[], 0, None));
        }
        assert!(!pipeline.keep(1, &[], 0, None));
        assert_eq!((pipeline.queued(), pipeline.overflowed()), (MAX_QUEUED, 1));
    }

    #[test]
    fn a_healed_link_harms_nothing() {
        let mut pipeline = pipeline(&Impairments { loss: Some(Loss::Independent(1.0)), ..Impairments::default() });
        let units = [Unit { flow: 0, packet: Packet::Syn, carriage: 0 }];
        let parcel = Parcel::bare(5, 60, &units);
        assert!(pipeline.decide(&parcel).lost.is_some());
        pipeline.heal();
        assert_eq!(pipeline.decide(&parcel), Fate::of(&parcel));
        assert_eq!(pipeline.faults().0.len(), 1);
    }

    /// The bit flipped, and when packet and copy are due.
    type Arrival = (Option<u32>, (Nanos, Option<Nanos>));

    /// What counts of a fate: whether it arrives, with which bit flipped, when, and when its copy does.
    fn outcome(fate: &Fate) -> Option<Arrival> {
        fate.lost.is_none().then(|| (fate.flip.map(|(bit, _)| bit), fate.due()))
    }

    prop_compose! {
        fn impairments()(
            loss in prop_oneof![
                Just(None),
                (0.0..0.5).prop_map(|probability| Some(Loss::Independent(probability))),
                (0.0..0.5).prop_map(|to_bad| Some(Loss::GilbertElliott { to_bad, to_good: 0.3, good: 0.01, bad: 0.8 })),
                (0.0..0.5).prop_map(|probability| Some(Loss::Cells { probability, carriages: 3 })),
            ],
            outage in proptest::option::of(0u64..50),
            corrupt in 0.0..0.5,
            duplicate in 0.0..0.5,
            rate in proptest::option::of((1000u32..1_000_000, 1u32..100)),
            delay in 0u64..20,
            jitter in proptest::option::of(0u64..20),
            reorder in proptest::option::of((0.0..0.5, 0.0..0.9, 0u32..4)),
        ) -> Impairments {
            let ms = Duration::from_millis;
            Impairments {
                spare_handshake: false,
                loss,
                outages: outage.map(|from| Outage { from: ms(from), to: ms(from + 10) }).into_iter().collect(),
                corrupt,
                duplicate,
                rate: rate.map(|(kbit, queue)| Rate { kbit, queue }),
                delay: ms(delay),
                jitter: jitter.map(|most| Jitter::Uniform(ms(most))),
                reorder: reorder.map(|(probability, correlation, gap)| Reorder { probability, correlation, gap }),
                ..Impairments::default()
            }
        }
    }

    proptest! {
        #[test]
        fn the_faults_of_a_run_do_the_same_damage_again(impairments in impairments(), sizes in proptest::collection::vec(1u64..4, 1..200)) {
            let mut random = pipeline(&impairments);
            let mut first = 0;
            let packets: Vec<Vec<Unit>> = sizes.iter().map(|&size| {
                first += size;
                let unit = |cell| Unit { flow: 1, packet: Packet::Cell(cell), carriage: (cell % 3) as u32 };
                (first - size..first).map(unit).collect()
            }).collect();
            let run = |pipeline: &mut Pipeline| -> Vec<_> {
                packets.iter().enumerate().map(|(index, units)| {
                    let (now, length) = (index as u64 * 400_000, units.len() * 1500);
                    let parcel = Parcel::bare(now, length, units);
                    outcome(&pipeline.decide(&parcel))
                }).collect()
            };
            let damage = run(&mut random);
            let Impairments { rate, delay, .. } = impairments;
            let faults = random.faults().0.to_vec();
            let mut explicit = pipeline(&Impairments { rate, delay, faults: faults.clone(), ..Impairments::default() });
            prop_assert_eq!(damage, run(&mut explicit));
            // And once more: faults yield themselves.
            prop_assert_eq!(explicit.faults().0, &faults[..]);
        }
    }
}
