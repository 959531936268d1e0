//! From random impairments to explicit faults.

use std::collections::BTreeMap;

use crate::case::{Backend, Case, Direction, Fault, Impairments, Link, LinkId};

/// `case` with what its links did at random as explicit faults: for each link and direction, loss, corruption,
/// duplication, jitter, reordering and outages give way to the list in `faults` (forward, then backward). Delay, rate,
/// numbering, MTU, offloads and the faults that the case already names stay. A link that `faults` leaves out did nothing at random. One
/// whose backend is netem stays as it is: nobody knows what it did.
pub fn explicit(case: &Case, faults: &BTreeMap<LinkId, [Vec<Fault>; 2]>) -> Case {
    let mut explicit = Case { finding: None, ..case.clone() };
    for id in case.topology.links().iter().copied() {
        let decided = faults.get(&id);
        if decided.is_none() && !case.links.contains_key(&id) {
            continue;
        }
        let link = explicit.links.entry(id).or_default();
        if link.backend == Backend::Netem {
            continue;
        }
        for (nth, direction) in Direction::BOTH.into_iter().enumerate() {
            let impairments = link.impairments_mut(direction);
            let named = std::mem::take(&mut impairments.faults);
            *impairments = Impairments {
                delay: impairments.delay,
                rate: impairments.rate,
                renumber: impairments.renumber,
                faults: named,
                ..Impairments::default()
            };
            for fault in decided.map_or(&[][..], |both| &both[nth]) {
                if !impairments.faults.contains(fault) {
                    impairments.faults.push(fault.clone());
                }
            }
        }
    }
    explicit.links.retain(|_, link| *link != Link::default());
    explicit
}
