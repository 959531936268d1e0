//! Explicit faults: this done to that packet, one by one.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::case::{Action, Fault, LinkId};
use crate::link::identity::Unhashed;
use crate::link::packet::checksum_holds;

use super::{Fate, Names, Parcel, Stage, nanos, place};

/// The name of this stage in logs.
pub const NAME: &str = "fault";

/// Actions by the place of their packet.
type Actions = HashMap<u64, Vec<Action>, BuildHasherDefault<Unhashed>>;

/// Loses, flips, doubles and rewrites.
#[derive(Debug)]
pub struct Damages {
    actions: Actions,
    link: LinkId,
}

/// Makes packets late or early. Where several such faults meet one packet, the latest counts.
#[derive(Debug)]
pub struct Shifts(Actions);

/// The stages for `faults`: what damages, and what shifts; `None` for what there is none of.
pub fn stages(faults: &[Fault], link: LinkId) -> (Option<Damages>, Option<Shifts>) {
    let (mut damages, mut shifts) = (Actions::default(), Actions::default());
    for fault in faults {
        let place = place(fault.flow, fault.packet, fault.carriage);
        let actions = if fault.action.shifts() { &mut shifts } else { &mut damages };
        actions.entry(place).or_default().push(fault.action);
    }
    (
        (!damages.is_empty()).then_some(Damages { actions: damages, link }),
        (!shifts.is_empty()).then_some(Shifts(shifts)),
    )
}

/// The actions on the packet's names, with the number of the name.
fn meant<'a>(actions: &'a Actions, parcel: &'a Parcel<'_>) -> impl Iterator<Item = (usize, Action)> + 'a {
    parcel
        .units
        .iter()
        .enumerate()
        .flat_map(|(index, unit)| actions.get(&unit.place()).into_iter().flatten().map(move |&action| (index, action)))
}

impl Stage for Damages {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let (mut lost, mut doubled): (Names, Names) = (0, 0);
        for (index, action) in meant(&self.actions, parcel) {
            match action {
                // Several names may lose or double it: each is told.
                Action::Drop => lost |= 1 << index,
                Action::Duplicate => doubled |= 1 << index,
                // A middlebox leaves what came damaged to its receiver's checksum.
                action if action.rewrites() && !checksum_holds(parcel.frame) => {}
                action => fate.act(action, parcel, self.link, NAME, 1 << index),
            }
        }
        if doubled != 0 {
            fate.double(NAME, doubled);
        }
        if lost != 0 {
            fate.lose(NAME, lost);
        }
    }
}

impl Stage for Shifts {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let latest = meant(&self.0, parcel)
            .filter_map(|(index, action)| Some((shift(action)?, index)))
            .max_by_key(|&(shift, _)| shift);
        if let Some((shift, index)) = latest {
            fate.shift(shift, NAME, 1 << index);
        }
    }
}

/// How much later (or earlier) than the delay an action makes a packet.
pub(super) fn shift(action: Action) -> Option<i64> {
    match action {
        Action::Late(late) => Some(i64::try_from(nanos(late)).unwrap_or(i64::MAX)),
        Action::Early(early) => Some(-i64::try_from(nanos(early)).unwrap_or(i64::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{unit, work};
    use super::*;
    use crate::case::Packet;

    fn fault(carriage: u32, action: Action) -> Fault {
        Fault { flow: 0, packet: Packet::Cell(3), carriage, action }
    }

    #[test]
    fn a_fault_meets_its_packet_and_no_other() {
        let (damages, shifts) = stages(&[fault(1, Action::Drop)], LinkId::Ns1Ns2);
        let mut damages = damages.unwrap();
        assert!(shifts.is_none());
        let mut lost = |units: &[_]| work(&mut damages, units, 0).lost.is_some();
        assert!(lost(&[unit(Packet::Cell(2), 0), unit(Packet::Cell(3), 1)]));
        assert!(!lost(&[unit(Packet::Cell(3), 0)]));
        assert!(!lost(&[unit(Packet::Cell(2), 1)]));
        assert!(!lost(&[unit(Packet::Inner(3), 1)]));
        assert!(!lost(&[crate::link::identity::Unit { flow: 1, ..unit(Packet::Cell(3), 1) }]));
    }

    #[test]
    fn several_faults_may_meet_one_packet() {
        let late = |ns| Action::Late(Duration::from_nanos(ns));
        let early = Action::Early(Duration::from_nanos(70));
        let list = [Action::Duplicate, Action::Flip(33), Action::Flip(99), early, late(5), late(3)];
        let faults: Vec<Fault> = list.iter().map(|&action| fault(0, action)).collect();
        let (damages, shifts) = stages(&faults, LinkId::Ns1Ns2);
        let units = [unit(Packet::Cell(3), 0)];
        let fate = work(&mut damages.unwrap(), &units, 0);
        assert_eq!((fate.doubled, fate.flip), (Some(NAME), Some((32, NAME))));
        assert_eq!(work(&mut shifts.unwrap(), &units, 100).due(), (105, None));
        let (_, shifts) = stages(&[fault(0, early)], LinkId::Ns1Ns2);
        assert_eq!(work(&mut shifts.unwrap(), &units, 50).due(), (0, None));
    }
}
