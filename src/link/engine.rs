//! A whole link at work, without clock and descriptors: identifies packets, lets the stages decide, holds packets that
//! wait, and logs everything.

use std::net::SocketAddr;

use crate::case::{Direction, Fault, Link, LinkId};
use crate::seed::Seed;

use super::identity::{Identifier, Identity};
use super::log::{Log, Record};
use super::packet::View;
use super::pipeline::{self, Due, Pipeline};
use super::rewrite::{Rewritten, renumber};
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
    /// What is added to the sequence numbers of each direction. Within the link, numbers are those of their sender.
    renumber: [u32; 2],
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
        let lane = |direction| Pipeline::new(seed, id, direction, link.impairments(direction), link.mtu);
        Engine {
            id,
            identifier: Identifier::new(),
            identity: Identity::default(),
            lanes: Direction::BOTH.map(lane),
            renumber: Direction::BOTH.map(|direction| link.impairments(direction).renumber),
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
        renumber::acknowledgement(frame, self.renumber[direction.reverse() as usize]);
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
        renumber::sequence(frame, self.renumber[direction as usize]);
        pipeline::damage(frame, &fate);
        let mut at_once = 0;
        for due in [Some(due), copy].into_iter().flatten() {
            if due <= now && lane.is_clear(now) {
                at_once += 1;
            } else if !lane.keep(due, frame, tag, None) {
                self.log.lost_here(tag);
            }
        }
        at_once
    }

    /// Takes a packet that came at `now` and goes nowhere, because the link is blocked.
    pub fn swallow(&mut self, direction: Direction, now: Nanos, frame: &mut [u8]) {
        self.first.get_or_insert(now);
        renumber::acknowledgement(frame, self.renumber[direction.reverse() as usize]);
        let view = View::of(frame);
        self.identifier.identify(direction, &view, frame, &mut self.identity);
        let fate = Fate { lost: Some(Lost::By(BLOCK)), lost_for: 1, ..Fate::default() };
        self.log.push(Record::new(now, direction, &self.identity, &view, frame, fate, now));
    }

    /// Keeps what becomes of a packet that a middlebox rewrites, until it is due.
    fn rewrite(&mut self, direction: Direction, now: Nanos, frame: &[u8], fate: &Fate, tag: u64) {
        let first = self.first.unwrap_or(now);
        let (due, copy) = fate.due();
        let renumber = [direction, direction.reverse()].map(|way| self.renumber[way as usize]);
        let Rewritten { onward, back } = pipeline::rewrite(frame, fate, self.id, renumber);
        // Of a segment that is split the last part waits for the next one.
        let merge = |nth| fate.merge().filter(|_| nth + 1 == onward.len());
        let dues = [Some(due), copy].into_iter().flatten();
        let onward = dues.flat_map(|due| {
            onward.iter().enumerate().map(move |(nth, frame)| (direction, first + due, frame, merge(nth)))
        });
        let back = back.iter().map(|frame| (direction.reverse(), now, frame, None));
        for (direction, due, frame, merge) in onward.chain(back) {
            if !self.lanes[direction as usize].keep(due, frame, tag, merge) {
                self.log.lost_here(tag);
            }
        }
    }

    /// The next packet in `direction` that is due by `now`.
    pub fn due(&mut self, direction: Direction, now: Nanos) -> Option<Due> {
        let due = self.lanes[direction as usize].due(now)?;
        for tag in due.parts.iter().chain([&due.tag]) {
            self.log.left(*tag, now.saturating_sub(due.due));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Action, Direction, Impairments, Pick, Rule};
    use crate::link::packet::checksum_holds;
    use crate::link::sample::{self, Sample};
    use Direction::Forward;

    fn engine(forward: Impairments) -> Engine {
        Engine::new(Seed(1), LinkId::Ns1Ns2, &Link { forward, ..Link::default() })
    }

    /// What comes out of `engine` at either end when these packets go in, from left to right.
    fn carried(engine: &mut Engine, packets: &[Sample]) -> [Vec<Vec<u8>>; 2] {
        let mut out = [Vec::new(), Vec::new()];
        for packet in packets {
            let mut frame = packet.frame(Forward);
            for _ in 0..engine.offer(Forward, 5, &mut frame) {
                out[0].push(frame.clone());
            }
            for direction in Direction::BOTH {
                while let Some(due) = engine.due(direction, 5) {
                    out[direction as usize].push(due.frame);
                }
            }
        }
        out
    }

    fn packets() -> Vec<Sample> {
        vec![sample::syn(99), sample::data(100, 1, 1448), sample::data(1548, 1, 700).fin()]
    }

    fn ruled(on: Pick, action: Action) -> Impairments {
        Impairments { rules: vec![Rule::always(on, action)], ..Impairments::default() }
    }

    #[test]
    fn a_split_segment_leaves_in_two_parts_and_in_order() {
        let [onward, back] = carried(&mut engine(ruled(Pick::Data(0), Action::Split(99))), &packets());
        let payloads: Vec<u32> = onward.iter().map(|frame| View::of(frame).segment.unwrap().payload).collect();
        assert_eq!(payloads, [0, 100, 1348, 100, 600]);
        assert!(onward.iter().all(|frame| checksum_holds(frame)) && back.is_empty());
    }

    #[test]
    fn a_refused_packet_comes_back_as_a_rst_alone() {
        let [onward, back] = carried(&mut engine(ruled(Pick::Syn, Action::Refuse)), &packets()[..1]);
        assert!(onward.is_empty());
        assert!(back.len() == 1 && View::of(&back[0]).segment.unwrap().flags.rst());
    }

    #[test]
    fn numbers_are_moved_onward_and_moved_back_in_what_comes_back() {
        let number = |frame: &[u8]| View::of(frame).segment.map(|it| (it.sequence, it.acknowledgement)).unwrap();
        let moved = |rules| Impairments { renumber: 1000, rules, ..Impairments::default() };
        let split = vec![Rule::always(Pick::Data(0), Action::Split(99))];
        for (rules, expected) in [(vec![], vec![1099, 1100, 2548]), (split, vec![1099, 1100, 1200, 2548, 2648])] {
            let [onward, _] = carried(&mut engine(moved(rules)), &packets());
            assert_eq!(onward.iter().map(|frame| number(frame).0).collect::<Vec<_>>(), expected);
        }
        let mut engine = engine(moved(vec![]));
        carried(&mut engine, &packets()[..1]);
        let mut answer = sample::syn_ack(0, 1100).frame(Direction::Backward);
        assert_eq!(engine.offer(Direction::Backward, 5, &mut answer), 1);
        assert_eq!(number(&answer), (0, 100));
        // A RST in the name of the receiver has the numbers that the sender knows.
        let mut engine = self::engine(moved(vec![Rule::always(Pick::Syn, Action::Refuse)]));
        let [_, back] = carried(&mut engine, &packets()[..1]);
        assert_eq!(number(&back[0]), (0, 100));
    }

    #[test]
    fn a_flip_in_a_rewritten_packet_is_still_damage() {
        let rules = vec![Rule::always(Pick::Data(0), Action::Split(99))];
        let [onward, _] =
            carried(&mut engine(Impairments { rules, corrupt: 1.0, ..Impairments::default() }), &packets());
        let sound: Vec<bool> = onward[1..].iter().map(|frame| checksum_holds(frame)).collect();
        assert_eq!(sound, [false, true, false, true]);
    }

    #[test]
    fn the_faults_of_a_rule_do_what_the_rule_did() {
        for action in [Action::Split(99), Action::Alter(3), Action::Mark, Action::Drop, Action::Refuse] {
            let mut random = engine(ruled(Pick::Data(0), action));
            let done = carried(&mut random, &packets());
            let faults = random.finish().faults[0].0.clone();
            assert_eq!(faults.len(), 2, "{faults:?}");
            let mut explicit = engine(Impairments { faults, ..Impairments::default() });
            assert_eq!(carried(&mut explicit, &packets()), done, "{action:?}");
        }
    }
}
