//! One direction of a link: its stages in order, and the queue of the packets under way. No clock and no descriptor:
//! times and frames come in, times and frames go out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::case::{Direction, Fault, Impairments, LinkId};
use crate::seed::Seed;

use super::identity::{UNCOUNTED, Unit};
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
}

impl Pipeline {
    /// The pipeline of `direction` of the link `id`.
    pub fn new(seed: Seed, id: LinkId, direction: Direction, impairments: &Impairments) -> Pipeline {
        Pipeline {
            stages: stage::stages(seed, id, direction, impairments),
            queue: BinaryHeap::new(),
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

    /// Whether a packet that is due now may go straight on, without overtaking one in the queue that is due too.
    pub fn is_clear(&self, now: Nanos) -> bool {
        self.next_due().is_none_or(|due| due > now)
    }

    /// Keeps a copy of `frame` until `due`. False where the queue is full: the packet is lost then, and no stage wanted
    /// it.
    #[must_use]
    pub fn keep(&mut self, due: Nanos, frame: &[u8], tag: u64) -> bool {
        if self.queue.len() >= MAX_QUEUED {
            self.overflowed += 1;
            return false;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        self.queue.push(Reverse(Entry { due, number: self.entries, frame: buffer, tag }));
        self.entries += 1;
        true
    }

    /// The next packet that is due by `now`, in the order of due times; all that wait, once the link is healed.
    pub fn due(&mut self, now: Nanos) -> Option<Due> {
        if self.is_clear(now) && !(self.healed && !self.queue.is_empty()) {
            return None;
        }
        self.queue.pop().map(|Reverse(Entry { due, frame, tag, .. })| Due { frame, due, tag })
    }

    /// When the next packet is due; `None` where none is under way.
    pub fn next_due(&self) -> Option<Nanos> {
        self.queue.peek().map(|Reverse(entry)| if self.healed { 0 } else { entry.due })
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

/// Does to the frame what was decided for its bytes.
pub fn damage(frame: &mut [u8], fate: &Fate) {
    if let Some((bit, _)) = fate.flip {
        corrupt::flip(frame, bit);
    }
}
