//! A whole link at work, without clock and descriptors: tells what packets are, lets the stages decide, keeps what waits,
//! logs everything.

use std::net::SocketAddr;

use crate::case::{Direction, Fault, Link, LinkId};
use crate::seed::Seed;

use super::identity::{Identifier, Identity};
use super::log::{Log, Record};
use super::packet::View;
use super::pipeline::{self, Due, Pipeline};
use super::rewrite::Rewritten;
use super::sabotage::TwoLosses;
use super::stage::{Fate, Lost, Nanos, Parcel};

/// What logs call the loss of a packet on a link that an event has blocked.
pub const BLOCK: &str = "block";

/// One link, both directions.
pub struct Engine {
    id: LinkId,
    identifier: Identifier,
    /// The names of the packet at hand.
    identity: Identity,
    lanes: [Pipeline; 2],
    log: Log,
    /// When the first packet came.
    first: Option<Nanos>,
    /// Who spoils packets on purpose, by direction.
    sabotage: Option<[TwoLosses; 2]>,
}

/// What a link leaves behind.
#[derive(Debug, Default)]
pub struct Remains {
    /// What was logged.
    pub log: Log,
    /// The explicit faults of each direction, and how many more there were.
    pub faults: [(Vec<Fault>, u64); 2],
    /// The flows by number: the address at the left end, then the one at the right end.
    pub flows: Vec<[SocketAddr; 2]>,
}

impl Engine {
    /// The link `id` as the case describes it.
    pub fn new(seed: Seed, id: LinkId, link: &Link) -> Engine {
        let lane = |direction| Pipeline::new(seed, id, direction, link.impairments(direction));
        Engine {
            id,
            identifier: Identifier::new(),
            identity: Identity::default(),
            lanes: Direction::BOTH.map(lane),
            log: Log::default(),
            first: None,
            sabotage: None,
        }
    }

    /// Lets the link err on purpose.
    pub fn sabotage(&mut self) {
        self.sabotage = Some(Default::default());
    }

    /// Takes a packet that came at `now`. Returns how many times the caller has to send `frame`, which may have been
    /// damaged, on at once; what has to wait is kept, and so is everything that comes of a packet that is rewritten.
    pub fn offer(&mut self, direction: Direction, now: Nanos, frame: &mut [u8]) -> usize {
        let first = *self.first.get_or_insert(now);
        let view = View::of(frame);
        self.identifier.identify(direction, &view, frame, &mut self.identity);
        let lane = &mut self.lanes[direction as usize];
        let parcel = Parcel {
            now: now - first,
            length: frame.len(),
            units: &self.identity.units,
            flippable: view.flippable.clone(),
            segment: view.segment.as_ref(),
            sequence: self.identity.sequence,
            frame,
        };
        let fate = lane.decide(&parcel);
        let (due, copy) = fate.due();
        let (due, copy) = (first + due, copy.map(|copy| first + copy));
        let tag = self.log.push(Record::new(now, direction, &self.identity, &view, frame, fate, due));
        let payload = view.segment.as_ref().map_or(0, |segment| segment.payload as usize);
        if let Some(saboteurs) = &mut self.sabotage {
            saboteurs[direction as usize].see(&self.identity, fate.lost.is_some(), payload, frame);
        }
        if fate.is_rewritten() {
            self.rewrite(direction, now, frame, &fate, tag);
            return 0;
        }
        if fate.lost.is_some() {
            return 0;
        }
        pipeline::damage(frame, &fate);
        let mut at_once = 0;
        for due in [Some(due), copy].into_iter().flatten() {
            if due <= now && lane.is_clear(now) {
                at_once += 1;
            } else if !lane.keep(due, frame, tag) {
                self.log.lost_here(tag);
            }
        }
        at_once
    }

    /// Takes a packet that came at `now` and goes nowhere, because the link is blocked.
    pub fn swallow(&mut self, direction: Direction, now: Nanos, frame: &[u8]) {
        self.first.get_or_insert(now);
        let view = View::of(frame);
        self.identifier.identify(direction, &view, frame, &mut self.identity);
        let fate = Fate { lost: Some(Lost::By(BLOCK)), lost_for: 1, ..Fate::default() };
        self.log.push(Record::new(now, direction, &self.identity, &view, frame, fate, now));
    }

    /// Keeps what becomes of a packet that a middlebox rewrites, until it is due.
    fn rewrite(&mut self, direction: Direction, now: Nanos, frame: &[u8], fate: &Fate, tag: u64) {
        let first = self.first.unwrap_or(now);
        let (due, copy) = fate.due();
        let Rewritten { onward, back } = pipeline::rewrite(frame, fate, self.id);
        let dues = [Some(due), copy].into_iter().flatten();
        let onward = dues.flat_map(|due| onward.iter().map(move |frame| (direction, first + due, frame)));
        let back = back.iter().map(|frame| (direction.reverse(), now, frame));
        for (direction, due, frame) in onward.chain(back) {
            if !self.lanes[direction as usize].keep(due, frame, tag) {
                self.log.lost_here(tag);
            }
        }
    }

    /// The next packet in `direction` that is due by `now`.
    pub fn due(&mut self, direction: Direction, now: Nanos) -> Option<Due> {
        let due = self.lanes[direction as usize].due(now)?;
        self.log.left(due.tag, now.saturating_sub(due.due));
        Some(due)
    }

    /// When the next packet is due, in either direction.
    pub fn next_due(&self) -> Option<Nanos> {
        self.lanes.iter().filter_map(Pipeline::next_due).min()
    }

    /// Takes back the buffer of a packet that has left.
    pub fn recycle(&mut self, direction: Direction, buffer: Vec<u8>) {
        self.lanes[direction as usize].recycle(buffer);
    }

    /// From now on everything passes at once.
    pub fn heal(&mut self) {
        self.lanes.iter_mut().for_each(Pipeline::heal);
    }

    /// How many packets are under way.
    pub fn queued(&self) -> usize {
        self.lanes.iter().map(Pipeline::queued).sum()
    }

    /// How many packets were lost because too many were under way.
    pub fn overflowed(&self) -> u64 {
        self.lanes.iter().map(Pipeline::overflowed).sum()
    }

    /// Ends the link.
    pub fn finish(self) -> Remains {
        let faults = self.lanes.map(|lane| {
            let (faults, left_out) = lane.faults();
            (faults.to_vec(), left_out)
        });
        Remains { log: self.log, faults, flows: self.identifier.flows() }
    }
}
