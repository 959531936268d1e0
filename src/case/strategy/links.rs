//! Draws what links do to packets.

use std::time::Duration;

use super::Group;
use super::draw::Draw;
use crate::case::{
    Backend, Case, Direction, Impairments, Jitter, Link, LinkId, Loss, Offloads, Outage, Rate, Reorder, validate,
};

/// MTUs where something changes: the least for IPv6, PPPoE, Ethernet and jumbo frames, and their neighbours.
const MTUS: [u64; 10] = [1280, 1281, 1400, 1492, 1499, 1501, 2000, 4096, 8999, 9000];

/// Gives links of the path MTUs of their own.
pub(super) fn mtus(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "mtu");
    let path = case.path();
    let sure = draw.pick(&path);
    for id in path {
        if id == sure || draw.chance(0.5) {
            link(case, id).mtu = draw.bounded(&MTUS, 1280, 9000) as u16;
        }
    }
    tidy(case);
}

/// Switches offloads of devices on the path off.
pub(super) fn offloads(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "offloads");
    for id in case.path() {
        for left in [true, false] {
            let offloads = match draw.even(0, 3) {
                0 => Offloads::default(),
                1 => Offloads { tso: false, gso: false, gro: false },
                _ => Offloads { tso: draw.chance(0.5), gso: draw.chance(0.5), gro: draw.chance(0.5) },
            };
            *(if left { &mut link(case, id).left } else { &mut link(case, id).right }) = offloads;
        }
    }
    tidy(case);
}

/// Impairs links of the path with one to three of `kinds`, in one direction or both.
pub(super) fn impair(case: &mut Case, kinds: &[Group]) {
    let mut draw = Draw::new(case.seed, "impair");
    let mut places = vec![];
    let path = case.path();
    let sure = draw.pick(&path);
    let ways = draw.pick(&[&[Direction::Forward][..], &[Direction::Backward], &Direction::BOTH]);
    let others = if draw.chance(0.3) { 0.6 } else { 0.0 };
    for id in path {
        if id == sure || draw.chance(others) {
            places.extend(ways.iter().map(|way| (id, *way)));
        }
    }
    let mut chosen = Vec::new();
    for _ in 0..draw.pick(&[1, 1, 2, 2, 3]) {
        let kind = draw.pick(kinds);
        if !chosen.contains(&kind) {
            chosen.push(kind);
        }
    }
    let spare = draw.chance(0.75);
    let share = 1.0 / places.len() as f64;
    for (id, way) in places {
        let impairments = link(case, id).impairments_mut(way);
        for kind in &chosen {
            draw_kind(&mut draw, *kind, share, impairments);
        }
        let touches = |kind: &Group| matches!(kind, Group::Loss | Group::Corrupt | Group::Duplicate | Group::Reorder);
        impairments.spare_handshake = spare && chosen.iter().any(touches);
    }
}

/// Draws one kind of impairment. `share` is the share of all damage that falls to this place.
fn draw_kind(draw: &mut Draw, kind: Group, share: f64, to: &mut Impairments) {
    match kind {
        Group::Loss => to.loss = Some(loss(draw, share)),
        Group::Corrupt => to.corrupt = probability(draw, 0.15 * share),
        Group::Duplicate => to.duplicate = if draw.chance(0.1) { 1.0 } else { probability(draw, 0.5) },
        Group::Delay => {
            to.delay = to.delay.max(delay(draw, share));
            if draw.chance(0.5) {
                let spread = draw.micros_log(50, (to.delay.as_micros() as u64).max(100));
                to.jitter = Some(if draw.chance(0.5) { Jitter::Uniform(spread) } else { Jitter::Normal(spread / 2) });
            }
        }
        Group::Reorder => {
            to.delay = to.delay.max(delay(draw, share));
            to.reorder = Some(Reorder {
                probability: if draw.chance(0.3) { draw.pick(&[0.25, 0.5, 0.99, 1.0]) } else { probability(draw, 0.5) },
                correlation: if draw.chance(0.4) { draw.pick(&[0.25, 0.5, 0.9, 0.99]) } else { 0.0 },
                gap: draw.pick(&[0, 0, 2, 3, 5, 10]),
            });
        }
        Group::Rate => {
            let kbit = draw.bounded(&[1_000, 3_000, 10_000, 100_000, 1_000_000], 500, 1_000_000) as u32;
            to.rate = Some(Rate { kbit, queue: draw.bounded(&[1, 2, 10, 100, 1000], 4, 1000) as u32 });
        }
        Group::Outages => to.outages = outages(draw, share),
        _ => unreachable!("{group:?} is no impairment", group = kind),
    }
}

/// A probability up to `most`.
fn probability(draw: &mut Draw, most: f64) -> f64 {
    let round: Vec<f64> =
        [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2].into_iter().filter(|value| *value <= most).collect();
    if !round.is_empty() && draw.chance(0.5) { draw.pick(&round) } else { draw.fraction(0.001, most) }
}

fn loss(draw: &mut Draw, share: f64) -> Loss {
    match draw.even(0, 3) {
        0 | 1 => Loss::Independent(probability(draw, 0.2 * share)),
        2 => Loss::GilbertElliott {
            to_bad: probability(draw, 0.05 * share),
            to_good: draw.pick(&[0.1, 0.2, 0.3, 0.5, 0.9, 1.0]),
            good: if draw.chance(0.3) { 0.001 } else { 0.0 },
            // A retransmission of a cell within a burst meets the same loss again.
            bad: draw.pick(&[0.1, 0.25, 0.5]),
        },
        _ => Loss::Cells { probability: probability(draw, 0.2 * share), carriages: draw.pick(&[1, 1, 2, 3]) },
    }
}

/// A delay of up to 50 ms; all together stay within two round trips of 50 ms.
fn delay(draw: &mut Draw, share: f64) -> Duration {
    let most = (100_000.0 * share).min(50_000.0) as u64;
    Duration::from_micros(draw.bounded(&[100, 1_000, 5_000, 10_000, 25_000, 50_000], 50, most))
}

/// One or two outages of at most 600 ms, shorter and single where other places have theirs as well.
fn outages(draw: &mut Draw, share: f64) -> Vec<Outage> {
    let most = (600.0 * share).max(50.0) as u64;
    let mut outages: Vec<Outage> = Vec::new();
    for _ in 0..if share < 1.0 { 1 } else { draw.pick(&[1, 1, 2]) } {
        // Most transfers are over in a few milliseconds.
        let wait = if draw.chance(0.6) { draw.millis(0, 10) } else { draw.millis(0, 300) };
        let from = outages.last().map_or(wait, |last| last.to + wait + Duration::from_millis(5));
        let length = draw.bounded(&[50, 200, 201, 600], 50, most);
        outages.push(Outage { from, to: from + Duration::from_millis(length) });
    }
    outages
}

/// The most loss and damage that the kernel is asked for: it knows no bound in a row.
const NETEM_MOST: f64 = 0.05;

/// Has the kernel carry out what impaired links do, where it can.
pub(super) fn netem(case: &mut Case) {
    for link in case.links.values_mut().filter(|link| link.is_impaired()) {
        let mut by_kernel = Link { backend: Backend::Netem, ..link.clone() };
        for direction in Direction::BOTH {
            let impairments = by_kernel.impairments_mut(direction);
            impairments.spare_handshake = false;
            impairments.corrupt = impairments.corrupt.min(NETEM_MOST);
            impairments.loss = impairments.loss.map(|loss| match loss {
                Loss::Independent(share) | Loss::Cells { probability: share, .. } => {
                    Loss::Independent(share.min(NETEM_MOST))
                }
                // A burst that is over at every second packet is no run of losses without an end.
                Loss::GilbertElliott { to_bad, to_good, good, bad } => {
                    Loss::GilbertElliott { to_bad: to_bad.min(NETEM_MOST), to_good: to_good.max(0.5), good, bad }
                }
            });
        }
        if Direction::BOTH.iter().all(|way| validate::netem::unable(by_kernel.impairments(*way)).is_none()) {
            *link = by_kernel;
        }
    }
    // Two flipped bits of a packet may make up for each other.
    let damaging = |way| case.links.values().filter(|link| link.impairments(way).corrupt > 0.0).count();
    if Direction::BOTH.into_iter().any(|way| damaging(way) > 1) {
        case.links.values_mut().for_each(|link| link.backend = Backend::UserSpace);
    }
}

/// The link `id` of `case`, to change it.
fn link(case: &mut Case, id: LinkId) -> &mut Link {
    case.links.entry(id).or_default()
}

/// Forgets links that differ in nothing from the plain one.
fn tidy(case: &mut Case) {
    case.links.retain(|_, link| *link != Link::default());
}
