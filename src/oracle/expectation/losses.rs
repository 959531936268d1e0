//! What the links of a case can take away, and how often in a row: the number that a retransmission timer backs off by.
//!
//! A carriage that one link lost never reaches the next, so the carriages lost in a row are the sum over all directions
//! of all links that a packet, and the acknowledgement of it, cross. Each takes [`MAX_CARRIAGES`] at most by chance.
//! All of them doing so to the same packet is possible on paper only: one of them is counted in full, the others with
//! one carriage each, and what exceeds that is left to the healing of the links (see [`super::silence`]).

use std::collections::BTreeMap;

use crate::case::{Case, Direction, Fault, Impairments, Loss, MAX_CARRIAGES, Packet, Rule};

/// The most carriages in a row that anything waits for before the links are healed: 0.2 s doubled so often is 25 s.
const MOST: u32 = 6;

/// Carriages that full queues take of one packet: the first with the burst that overran one, and once more when what
/// else is sent again fills it anew. After that only single packets are on their way. The packets of the handshake meet
/// empty queues.
const LOST_TO_QUEUE: u32 = 2;

/// How many carriages of any data packet of `case`, or of the acknowledgement of it, may be lost in a row.
pub fn in_a_row(case: &Case) -> u32 {
    let queued = directions(case).any(|impairments| impairments.rate.is_some());
    row(case, takes).max(if queued { LOST_TO_QUEUE } else { 0 })
}

/// How many carriages of a packet of the handshake, or of the answer to it, may be lost in a row.
pub fn of_handshake(case: &Case) -> u32 {
    row(case, |impairments| takes(impairments) && !impairments.spare_handshake)
}

/// Whether the links of `case` can keep any packet of it from its receiver.
pub fn any(case: &Case) -> bool {
    let out_of_order = case.events.iter().any(|event| event.what.outage().is_some());
    out_of_order || in_a_row(case) > 0 || directions(case).any(|impairments| !impairments.outages.is_empty())
}

/// What the directions of the links do that the packets of the connection cross, both ways.
pub fn directions(case: &Case) -> impl Iterator<Item = Impairments> {
    case.path().into_iter().flat_map(|id| Direction::BOTH.map(|direction| case.link(id).impairments(direction).clone()))
}

/// Whether a direction loses packets by chance. A damaged packet is a lost one: a checksum drops it.
pub fn takes(impairments: &Impairments) -> bool {
    let loss = match impairments.loss {
        None => 0.0,
        Some(Loss::Independent(chance)) => chance,
        Some(Loss::GilbertElliott { good, bad, .. }) => good.max(bad),
        Some(Loss::Cells { probability, .. }) => probability,
    };
    loss > 0.0 || impairments.corrupt > 0.0
}

/// How many carriages are lost in a row where the directions for which `takes` holds lose by chance.
fn row(case: &Case, takes: impl Fn(&Impairments) -> bool) -> u32 {
    let chance = match directions(case).filter(takes).count() as u32 {
        0 => 0,
        some => MAX_CARRIAGES + some - 1,
    };
    let planned: u32 =
        directions(case).map(|impairments| planned(&impairments.faults) + ruled(&impairments.rules)).sum();
    (chance + planned).min(MOST)
}

/// How many carriages of one packet rules take. What they pick may always be the same one.
fn ruled(rules: &[Rule]) -> u32 {
    let taking = rules.iter().filter(|rule| rule.action.takes() && !rule.spares_the_stream());
    taking.map(|rule| rule.times.unwrap_or(MOST)).sum()
}

/// How many carriages of one packet explicit faults take. Faults name cells and other packets; a real packet can be two
/// of them at once (it may start two cells), so the two that are hit most count.
fn planned(faults: &[Fault]) -> u32 {
    let mut hits: BTreeMap<(u32, Packet), u32> = BTreeMap::new();
    for fault in faults.iter().filter(|fault| fault.action.takes()) {
        *hits.entry((fault.flow, fault.packet)).or_default() += 1;
    }
    let mut counts: Vec<u32> = hits.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.into_iter().take(2).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::{Action, Host, Link, LinkId, Outage, Pick, Rate, TcpOption};

    fn across(links: usize, impairments: &Impairments) -> Case {
        let mut case = Case::default();
        case.server.host = Host::ALL[links];
        for id in &LinkId::CHAIN[..links] {
            let link = Link { forward: impairments.clone(), backward: impairments.clone(), ..Link::default() };
            case.links.insert(*id, link);
        }
        case
    }

    fn lossy(chance: f64) -> Impairments {
        Impairments { loss: Some(Loss::Independent(chance)), ..Impairments::default() }
    }

    #[test]
    fn a_clean_case_loses_nothing() {
        let case = across(3, &Impairments::default());
        assert_eq!((in_a_row(&case), of_handshake(&case), any(&case)), (0, 0, false));
    }

    #[test]
    fn a_probability_of_zero_is_no_loss() {
        assert!(!any(&across(1, &lossy(0.0))));
    }

    #[test]
    fn links_beside_the_path_do_not_count() {
        let mut case = across(2, &lossy(0.5));
        case.server.host = Host::Ns1;
        assert!(!any(&case));
    }

    #[test]
    fn more_lossy_directions_take_more() {
        assert_eq!(in_a_row(&across(1, &lossy(0.5))), MAX_CARRIAGES + 1);
        assert_eq!(in_a_row(&across(3, &lossy(0.5))), MOST);
    }

    #[test]
    fn a_spared_handshake_meets_only_faults() {
        let spared = Impairments { spare_handshake: true, ..lossy(0.5) };
        assert_eq!(of_handshake(&across(1, &spared)), 0);
        let syn = Fault { flow: 0, packet: Packet::Syn, carriage: 0, action: Action::Drop };
        assert_eq!(of_handshake(&across(1, &Impairments { faults: vec![syn], ..spared })), 2);
    }

    #[test]
    fn full_queues_take_data_but_no_handshake() {
        let rate = Some(Rate { kbit: 1000, queue: 10 });
        let case = across(3, &Impairments { rate, ..Impairments::default() });
        assert_eq!((in_a_row(&case), of_handshake(&case), any(&case)), (LOST_TO_QUEUE, 0, true));
    }

    #[test]
    fn an_outage_takes_packets_too() {
        let outages = vec![Outage { from: Duration::ZERO, to: Duration::from_secs(1) }];
        assert!(any(&across(1, &Impairments { outages, ..Impairments::default() })));
    }

    #[test]
    fn rules_take_as_many_as_they_say() {
        let rule = Rule { times: Some(3), ..Rule::always(Pick::Fin, Action::Drop) };
        let addresses = Rule::always(Pick::Carries(TcpOption::AddAddr), Action::Drop);
        let mark = Rule::always(Pick::Any, Action::Mark);
        assert_eq!(ruled(&[rule.clone(), addresses, mark.clone()]), 3);
        assert!(any(&across(1, &Impairments { rules: vec![rule], ..Impairments::default() })));
        assert!(!any(&across(1, &Impairments { rules: vec![mark], ..Impairments::default() })));
    }

    #[test]
    fn faults_count_for_the_two_packets_that_are_hit_most() {
        let drop = |packet, carriage| Fault { flow: 0, packet, carriage, action: Action::Drop };
        let late = Fault { action: Action::Late(Duration::from_secs(1)), ..drop(Packet::Fin, 0) };
        let list = [
            drop(Packet::Cell(1), 0),
            drop(Packet::Cell(1), 1),
            drop(Packet::Cell(2), 0),
            drop(Packet::Cell(3), 0),
            late,
        ];
        assert_eq!(planned(&list), 3);
    }
}
