//! Segments that a middlebox holds back until the next one of their flow arrives, to merge the two.
//!
//! This is the last thing that happens in a direction: packets that were lost before never get here, and packets that were
//! overtaken come in their new order. No clock and no descriptor.

use std::net::SocketAddr;

use crate::case::Merge;

use super::packet::{Segment, View};
use super::pipeline::Due;
use super::rewrite::merge::merge;
use super::stage::Nanos;

/// The segments that wait in one direction of a link, one of each flow at most.
#[derive(Debug)]
pub struct Holding {
    waiting: Vec<Waiting>,
    /// The longest frame that may leave.
    most: usize,
}

#[derive(Debug)]
struct Waiting {
    flow: [SocketAddr; 2],
    until: Nanos,
    how: Merge,
    packet: Due,
}

impl Holding {
    /// For a link that takes frames of at most this many bytes.
    pub fn new(most: usize) -> Holding {
        Holding { waiting: Vec::new(), most }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the next one has waited long enough.
    pub fn next(&self) -> Option<Nanos> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// One that has waited long enough by `now`.
    pub fn over(&mut self, now: Nanos) -> Option<Due> {
        let place = (0..self.waiting.len()).min_by_key(|place| self.waiting[*place].until)?;
        let until = self.waiting[place].until;
        (until <= now).then(|| Due { due: until, ..self.waiting.remove(place).packet })
    }

    /// Takes a packet that is due, and holds it back if `how` says so. Returns what is ready to leave: first a packet that
    /// waited and does not belong with this one, then the packet itself, perhaps merged.
    pub fn take(&mut self, packet: Due, how: Option<Merge>) -> [Option<Due>; 2] {
        let Some(flow) = View::of(&packet.frame).segment.as_ref().map(flow) else { return [None, Some(packet)] };
        let Some(place) = self.waiting.iter().position(|waiting| waiting.flow == flow) else {
            return [None, self.hold(flow, packet, how)];
        };
        let Waiting { how: before, packet: first, until, .. } = self.waiting.remove(place);
        let Some(frame) = merge(&first.frame, &packet.frame, before.options, self.most) else {
            return [Some(Due { due: packet.due, ..first }), self.hold(flow, packet, how)];
        };
        let mut parts = first.parts;
        parts.push(first.tag);
        let merged = Due { frame, parts, ..packet };
        // The whole waits no longer than its first part would have.
        match how.filter(|_| merged.due < until) {
            Some(how) => {
                self.waiting.push(Waiting { flow, until, how, packet: merged });
                [None, None]
            }
            None => [None, Some(merged)],
        }
    }

    fn hold(&mut self, flow: [SocketAddr; 2], packet: Due, how: Option<Merge>) -> Option<Due> {
        let Some(how) = how else { return Some(packet) };
        let within = u64::try_from(how.within.as_nanos()).unwrap_or(u64::MAX / 4);
        self.waiting.push(Waiting { flow, until: packet.due.saturating_add(within), how, packet });
        None
    }
}

fn flow(segment: &Segment<'_>) -> [SocketAddr; 2] {
    [segment.source, segment.destination]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::{Direction, Kept};
    use crate::link::sample::{self, Sample};

    const HOW: Option<Merge> = Some(Merge { within: Duration::from_nanos(10), options: Kept::Same });

    /// What leaves, as tags and payloads, when these come one after the other, each to wait.
    fn left(holding: &mut Holding, packets: &[(Nanos, Sample)]) -> Vec<(u64, u32)> {
        let mut left = Vec::new();
        for (tag, (due, sample)) in (0..).zip(packets) {
            left.extend(std::iter::from_fn(|| holding.over(*due)));
            let packet = Due { frame: sample.frame(Direction::Forward), due: *due, tag, parts: Vec::new() };
            left.extend(holding.take(packet, HOW).into_iter().flatten());
        }
        let payload = |due: &Due| View::of(&due.frame).segment.unwrap().payload;
        left.iter().map(|due| (due.tag, payload(due))).collect()
    }

    #[test]
    fn what_goes_on_is_merged_until_there_is_no_room() {
        let data = |nth: u32| sample::data(1 + 600 * nth, 1, 600);
        let mut holding = Holding::new(1514);
        assert_eq!(left(&mut holding, &[(1, data(0)), (2, data(1)), (3, data(2))]), [(1, 1200)]);
        let last = holding.over(13).expect("the third one waits");
        assert_eq!((last.tag, last.due, holding.is_empty()), (2, 13, true));
    }

    #[test]
    fn nothing_waits_too_long_or_behind_what_came_later() {
        let mut holding = Holding::new(1514);
        let (one, two) = (sample::data(1, 1, 100), sample::data(101, 1, 100));
        assert_eq!(left(&mut holding, &[(1, one), (11, two)]), [(0, 100)], "its time was over");
        assert_eq!(holding.next(), Some(21));
        let ack = sample::data(201, 7, 0);
        assert_eq!(left(&mut holding, &[(12, ack), (12, ack)]), [(1, 100), (0, 0)]);
    }

    #[test]
    fn each_flow_waits_for_its_own() {
        let mut holding = Holding::new(1514);
        let other = |sequence| sample::data(sequence, 1, 50).ports(40001, 5000);
        let packets = [(1, sample::data(1, 1, 100)), (2, other(1)), (3, sample::data(101, 1, 100)), (4, other(51))];
        assert_eq!(left(&mut holding, &packets), [(0, 0); 0]);
        let merged: Vec<_> = std::iter::from_fn(|| holding.over(12)).map(|due| (due.parts, due.tag)).collect();
        assert_eq!(merged, [(vec![0], 2), (vec![1], 3)]);
    }
}
