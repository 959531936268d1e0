//! Impairments at work: each looks at one packet and says what becomes of it.
//!
//! A [`Stage`] has no clock, no descriptor and no memory of the order of packets (except the queue of [`rate`], which is
//! what a queue is). It gets a [`Parcel`], which says when and what, and writes into its [`Fate`]. Random stages draw
//! from a stream of their own, at the place of each of the packet's names: adding a stage never changes what another one
//! decides, and neither does the order in which packets come. A packet with several names draws for each, and the worst
//! counts. Random stages leave every name alone that was carried [`MAX_CARRIAGES`]
//! times: what is sent often enough arrives.

pub mod corrupt;
pub mod delay;
pub mod duplicate;
pub mod faults;
pub mod loss;
pub mod outage;
pub mod rate;
pub mod reorder;
pub mod rules;

use std::ops::Range;

use crate::case::{Action, Direction, Impairments, LinkId, MAX_CARRIAGES, Merge, Packet};
use crate::seed::Seed;

use super::identity::Unit;
use super::packet::Segment;

/// A point in time or a span of it, in nanoseconds.
pub type Nanos = u64;

/// One packet as a stage sees it.
#[derive(Clone, Debug)]
pub struct Parcel<'a> {
    /// The time since the first packet on the link.
    pub now: Nanos,
    /// The length of its frame, in bytes.
    pub length: usize,
    /// What it is: at least one name.
    pub units: &'a [Unit],
    /// The bits that a stage may flip, from the first bit behind the Ethernet header on.
    pub flippable: Range<u32>,
    /// Its segment, where it is one.
    pub segment: Option<&'a Segment<'a>>,
    /// The offset of its payload in the stream.
    pub sequence: u64,
    /// Its frame.
    pub frame: &'a [u8],
}

impl<'a> Parcel<'a> {
    /// A packet of which only its names and its length are known.
    pub fn bare(now: Nanos, length: usize, units: &'a [Unit]) -> Parcel<'a> {
        Parcel { now, length, units, flippable: 0..length as u32 * 8, segment: None, sequence: 0, frame: &[] }
    }
}

impl Parcel<'_> {
    /// The names that a random stage may harm, with their number among the packet's names.
    fn exposed(&self, spare_handshake: bool) -> impl Iterator<Item = (usize, &Unit)> {
        self.units
            .iter()
            .enumerate()
            .filter(move |(_, unit)| unit.carriage < MAX_CARRIAGES && !(spare_handshake && unit.is_handshake()))
    }
}

/// Names of a packet, as bits: bit n stands for the n-th.
pub type Names = u64;

/// Why a packet is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A stage that loses packets by name decided so.
    By(&'static str),
    /// The queue of the limited rate is full.
    QueueFull,
}

/// How many rewritings one packet meets at most; more are left out.
pub const MAX_CHANGES: usize = 4;

/// A rewriting of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// The stage that decided so.
    pub stage: &'static str,
    /// The names that it was decided for.
    pub names: Names,
}

/// What becomes of a packet: every stage adds its part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Whether and why it is lost.
    pub lost: Option<Lost>,
    /// The names that the loss was decided for.
    pub lost_for: Names,
    /// The bit that is flipped, and by which stage. One at most.
    pub flip: Option<(u32, &'static str)>,
    /// The names that the flip was decided for.
    pub flip_for: Names,
    /// The stage that doubled it, where one did.
    pub doubled: Option<&'static str>,
    /// The names that the second copy was decided for.
    pub doubled_for: Names,
    /// When it leaves the limited rate; the second entry is for the copy, and `None` if the queue had no place for
    /// it.
    pub leaves: (Nanos, Option<Nanos>),
    /// The time it then takes.
    pub delay: Nanos,
    /// How much longer (or less long) than the delay it takes, in nanoseconds.
    pub shift: i64,
    /// The stage that shifted it, where one did.
    pub shifted: Option<&'static str>,
    /// The names that the shift was decided for.
    pub shifted_for: Names,
    /// What is done to its bytes, in this order.
    pub changes: [Option<Change>; MAX_CHANGES],
}

impl Fate {
    /// The fate of a packet that nothing happens to.
    pub fn of(parcel: &Parcel<'_>) -> Fate {
        Fate { leaves: (parcel.now, None), ..Fate::default() }
    }

    /// When it is due, and its copy if there is one. A shift takes no time away that the delay has not added.
    pub fn due(&self) -> (Nanos, Option<Nanos>) {
        let takes = self.delay.saturating_add_signed(self.shift);
        (self.leaves.0 + takes, self.leaves.1.map(|leaves| leaves + takes))
    }

    /// The shift that counts: never more away than the delay.
    pub fn effective_shift(&self) -> i64 {
        self.shift.max(-i64::try_from(self.delay).unwrap_or(i64::MAX))
    }

    /// Loses it.
    fn lose(&mut self, stage: &'static str, names: Names) {
        self.lost = Some(Lost::By(stage));
        self.lost_for = names;
    }

    /// Flips a bit of it, unless one is flipped already.
    fn flip(&mut self, bit: u32, stage: &'static str, names: Names) {
        if self.flip.is_none() {
            self.flip = Some((bit, stage));
            self.flip_for = names;
        }
    }

    /// Sends a second copy after it, unless there is one already.
    fn double(&mut self, stage: &'static str, names: Names) {
        if self.doubled.is_none() {
            self.doubled = Some(stage);
            self.doubled_for = names;
            self.leaves.1 = Some(self.leaves.0);
        }
    }

    /// Makes it later or earlier, instead of what was decided before.
    fn shift(&mut self, shift: i64, stage: &'static str, names: Names) {
        self.shift = shift;
        self.shifted = Some(stage);
        self.shifted_for = names;
    }

    /// Rewrites it, unless the same is done to it already.
    fn change(&mut self, action: Action, stage: &'static str, names: Names) {
        if let Some(known) = self.changes.iter_mut().flatten().find(|change| change.action == action) {
            known.names |= names;
        } else if let Some(place) = self.changes.iter_mut().find(|place| place.is_none()) {
            *place = Some(Change { action, stage, names });
        }
    }

    /// Does to it what an explicit action says; shifts are for the last stages.
    fn act(&mut self, action: Action, parcel: &Parcel<'_>, link: LinkId, stage: &'static str, names: Names) {
        match action {
            Action::Drop => self.lose(stage, names),
            Action::Flip(bit) => {
                if let Some(bit) = corrupt::settle(bit, &parcel.flippable, link) {
                    self.flip(bit, stage, names);
                }
            }
            Action::Duplicate => self.double(stage, names),
            Action::Late(_) | Action::Early(_) => {}
            Action::Refuse => {
                self.change(action, stage, names);
                self.lose(stage, names);
            }
            Action::Strip(_) | Action::Clamp(_) | Action::Split(_) | Action::Alter(_) => {
                self.change(action, stage, names);
            }
            Action::Merge(_) | Action::Mark | Action::Reset(_) => self.change(action, stage, names),
        }
    }

    /// Whether its bytes are not those that came, a flipped bit apart, or other packets come of it.
    pub fn is_rewritten(&self) -> bool {
        let refused = |change: &Change| change.action == Action::Refuse;
        self.changes.iter().flatten().any(|change| self.lost.is_none() || refused(change))
    }

    /// How it is to be merged with the next one, where it is.
    pub fn merge(&self) -> Option<Merge> {
        self.changes.iter().flatten().find_map(|change| match change.action {
            Action::Merge(how) => Some(how),
            _ => None,
        })
    }

    /// What was decided by name, as explicit actions on the names of the packet.
    pub fn actions(&self) -> impl Iterator<Item = (Action, Names)> {
        let shift = self.effective_shift();
        let nanos = std::time::Duration::from_nanos(shift.unsigned_abs());
        // What is lost suffers nothing else.
        let alive = !matches!(self.lost, Some(Lost::By(_)));
        let refused = self.changes.iter().flatten().any(|change| change.action == Action::Refuse);
        let lost = (!alive && !refused).then_some((Action::Drop, self.lost_for));
        let flip = self.flip.filter(|_| alive).map(|(bit, _)| (Action::Flip(bit), self.flip_for));
        let doubled = self.doubled.filter(|_| alive).map(|_| (Action::Duplicate, self.doubled_for));
        let shifted = (alive && self.shifted.is_some() && shift != 0)
            .then_some((if shift > 0 { Action::Late(nanos) } else { Action::Early(nanos) }, self.shifted_for));
        let changes = self.changes.into_iter().flatten();
        let changes = changes.filter(move |change| alive || change.action == Action::Refuse);
        let changes = changes.map(|change| (change.action, change.names));
        [lost, flip, doubled, shifted].into_iter().flatten().chain(changes)
    }
}

/// An impairment at work.
pub trait Stage: Send {
    /// Adds its part to what becomes of the packet. Not called for a packet that is lost already.
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate);
}

/// The stages of one direction of a link, in the order in which packets pass them.
///
/// What explicit faults lose, flip and double comes before the limited rate, what they shift comes last: each where the
/// random stage of its kind works. So a list of faults taken from a run does what the random stages did.
pub fn stages(seed: Seed, link: LinkId, direction: Direction, impairments: &Impairments) -> Vec<Box<dyn Stage>> {
    let stream = |stage: &str| seed.stream(&format!("link {link} {direction} {stage}"));
    let spare = impairments.spare_handshake;
    let mut stages: Vec<Box<dyn Stage>> = Vec::new();
    if let Some(loss) = impairments.loss {
        stages.push(loss::stage(loss, spare, stream("loss")));
    }
    if !impairments.outages.is_empty() {
        stages.push(Box::new(outage::Outages::new(&impairments.outages)));
    }
    if impairments.corrupt > 0.0 {
        stages.push(Box::new(corrupt::Corrupt::new(impairments.corrupt, spare, link, stream("corrupt"))));
    }
    if impairments.duplicate > 0.0 {
        stages.push(Box::new(duplicate::Duplicate::new(impairments.duplicate, spare, stream("duplicate"))));
    }
    let (damages, shifts) = faults::stages(&impairments.faults, link);
    let (meddling, delaying) = rules::stages(&impairments.rules, link, |name| stream(&format!("rule {name}")));
    stages.extend(meddling.map(|stage| Box::new(stage) as Box<dyn Stage>));
    stages.extend(damages.map(|stage| Box::new(stage) as Box<dyn Stage>));
    if let Some(limit) = impairments.rate {
        stages.push(Box::new(rate::Limit::new(limit)));
    }
    if !impairments.delay.is_zero() {
        stages.push(Box::new(delay::Delay::new(impairments.delay)));
    }
    if let Some(jitter) = impairments.jitter {
        stages.push(Box::new(delay::Jittered::new(jitter, stream("jitter"))));
    }
    if let Some(reorder) = impairments.reorder {
        stages.push(Box::new(reorder::Overtaking::new(reorder, spare, stream("reorder"))));
    }
    stages.extend(delaying.map(|stage| Box::new(stage) as Box<dyn Stage>));
    stages.extend(shifts.map(|stage| Box::new(stage) as Box<dyn Stage>));
    stages
}

/// Where the numbers for an explicit fault's packet lie: the same as [`Unit::place`].
fn place(flow: u32, packet: Packet, carriage: u32) -> u64 {
    Unit { flow, packet, carriage }.place()
}

/// In nanoseconds; more than 500 years are as good as for ever.
fn nanos(duration: std::time::Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A unit of flow 0.
    pub(super) fn unit(packet: Packet, carriage: u32) -> Unit {
        Unit { flow: 0, packet, carriage }
    }

    /// What `stage` does to a packet with these names, that comes at time 0 and takes `delay`.
    pub(super) fn work(stage: &mut dyn Stage, units: &[Unit], delay: Nanos) -> Fate {
        let parcel = Parcel { flippable: 0..1500 * 8, ..Parcel::bare(0, 1514, units) };
        let mut fate = Fate { delay, ..Fate::of(&parcel) };
        stage.work(&parcel, &mut fate);
        fate
    }

    /// What `stage` does to the first carriages of these cells, one packet each.
    pub(super) fn cells(stage: &mut dyn Stage, cells: impl Iterator<Item = u64>) -> BTreeMap<u64, Fate> {
        cells.map(|cell| (cell, work(stage, &[unit(Packet::Cell(cell), 0)], 1000))).collect()
    }

    /// Everything random at once.
    pub(super) fn everything() -> Impairments {
        use crate::case::{Jitter, Loss, Rate, Reorder};
        let ms = std::time::Duration::from_millis;
        Impairments {
            loss: Some(Loss::Independent(0.1)),
            corrupt: 0.1,
            duplicate: 0.1,
            rate: Some(Rate { kbit: 1_000_000, queue: 1000 }),
            delay: ms(10),
            jitter: Some(Jitter::Normal(ms(2))),
            reorder: Some(Reorder { probability: 0.1, correlation: 0.5, gap: 2 }),
            ..Impairments::default()
        }
    }

    fn each_alone(impairments: &Impairments) -> Vec<(&'static str, Impairments)> {
        let none = || Impairments { delay: impairments.delay, ..Impairments::default() };
        vec![
            ("loss", Impairments { loss: impairments.loss, ..none() }),
            ("corrupt", Impairments { corrupt: impairments.corrupt, ..none() }),
            ("duplicate", Impairments { duplicate: impairments.duplicate, ..none() }),
            ("jitter", Impairments { jitter: impairments.jitter, ..none() }),
            ("reorder", Impairments { reorder: impairments.reorder, ..none() }),
        ]
    }

    fn fates(impairments: &Impairments, order: impl Iterator<Item = u64>) -> BTreeMap<u64, Fate> {
        let mut stages = stages(Seed(3), LinkId::Ns1Ns2, Direction::Forward, impairments);
        order
            .map(|cell| {
                let units = [unit(Packet::Cell(cell), 0)];
                let parcel = Parcel { flippable: 0..1500 * 8, ..Parcel::bare(0, 1514, &units) };
                let mut fate = Fate::of(&parcel);
                stages.iter_mut().for_each(|stage| stage.work(&parcel, &mut fate));
                (cell, fate)
            })
            .collect()
    }

    #[test]
    fn decisions_do_not_depend_on_the_order_of_packets() {
        for (name, impairments) in each_alone(&everything()) {
            let forwards = fates(&impairments, 0..3000);
            assert_eq!(forwards, fates(&impairments, (0..3000).rev()), "{name}");
            let touched = forwards.values().filter(|fate| fate.actions().next().is_some()).count();
            assert!(touched > 30, "{name} touched {touched} packets");
        }
    }

    #[test]
    fn a_stage_decides_the_same_whatever_else_there_is() {
        let all = fates(&Impairments { rate: None, ..everything() }, 0..3000);
        let alone: Vec<_> = each_alone(&everything()).into_iter().map(|(_, one)| fates(&one, 0..3000)).collect();
        let [loss, corrupt, duplicate, ..] = &alone[..] else { unreachable!("there are five") };
        for (cell, fate) in all {
            assert_eq!(fate.lost, loss[&cell].lost);
            assert_eq!(fate.flip, corrupt[&cell].flip);
            assert_eq!(fate.doubled, duplicate[&cell].doubled);
        }
    }

    #[test]
    fn what_is_sent_often_enough_passes_unharmed() {
        let mut worst = everything();
        worst.loss = Some(crate::case::Loss::Independent(1.0));
        worst.rate = None;
        let mut stages = stages(Seed(3), LinkId::Ns1Ns2, Direction::Forward, &worst);
        for carriage in 0..10 {
            let fate = work(&mut *stages[0], &[unit(Packet::Cell(5), carriage)], 0);
            assert_eq!(fate.lost.is_some(), carriage < MAX_CARRIAGES);
        }
    }

    #[test]
    fn a_handshake_that_is_spared_passes_unharmed() {
        for spare_handshake in [false, true] {
            let certain = Impairments {
                spare_handshake,
                loss: Some(crate::case::Loss::Independent(1.0)),
                corrupt: 1.0,
                duplicate: 1.0,
                ..Impairments::default()
            };
            for stage in &mut stages(Seed(3), LinkId::Ns1Ns2, Direction::Forward, &certain) {
                for packet in [Packet::Syn, Packet::SynAck, Packet::Ack(0)] {
                    let fate = work(&mut **stage, &[unit(packet, 0)], 0);
                    assert_eq!(fate.actions().count(), usize::from(!spare_handshake));
                }
                assert_eq!(work(&mut **stage, &[unit(Packet::Ack(1), 0)], 0).actions().count(), 1);
            }
        }
    }
}
