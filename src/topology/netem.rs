//! Links that the kernel's network emulator impairs: a netem at the sending end of each direction.

use super::Side;
use super::plan::Plan;
use crate::case::{Backend, Case, Direction, Impairments, Jitter, Link, LinkId, Loss, Rate};
use crate::net::netem::{self, Netem, Reorder};
use crate::net::netlink::Request;
use crate::seed::Seed;

/// How many packets may be under way where no queue is limited: more than any window holds.
const UNLIMITED: u32 = 1 << 20;

/// Has the device at the sending end of one direction of `link` impair what it sends, where the case asks the kernel for
/// that.
pub(super) fn impair(plan: &Plan<'_>, link: LinkId, side: Side) -> Option<Request> {
    let of = plan.link(link);
    let direction = direction(side);
    let impaired = of.backend == Backend::Netem && *of.impairments(direction) != Impairments::default();
    impaired.then(|| netem::impair(&plan.device(link, side), &settings(plan.case.seed, link, &of, direction)))
}

/// Has it pass everything from now on, at once.
pub(super) fn heal(case: &Case, link: LinkId, side: Side) -> Option<Request> {
    let of = case.link(link);
    let impaired = of.backend == Backend::Netem && *of.impairments(direction(side)) != Impairments::default();
    let plain = Netem { limit: UNLIMITED, ..Netem::default() };
    impaired.then(|| netem::impair(&super::layout::device(link, side, of.mtu), &plain))
}

/// The direction in which the device at this end sends.
fn direction(side: Side) -> Direction {
    match side {
        Side::Left => Direction::Forward,
        Side::Right => Direction::Backward,
    }
}

/// What a netem has to be told. [`Case::validate`] lets nothing else be asked of one.
fn settings(seed: Seed, id: LinkId, link: &Link, direction: Direction) -> Netem {
    let impairments = link.impairments(direction);
    let loss = match impairments.loss {
        None | Some(Loss::Cells { .. }) => netem::Loss::None,
        Some(Loss::Independent(share)) => netem::Loss::Independent(share),
        Some(Loss::GilbertElliott { to_bad, to_good, good, bad }) => {
            netem::Loss::GilbertElliott { to_bad, to_good, good, bad }
        }
    };
    let (jitter, normal) = match impairments.jitter {
        None => Default::default(),
        Some(Jitter::Uniform(spread)) => (spread, false),
        Some(Jitter::Normal(deviation)) => (deviation, true),
    };
    Netem {
        seed: seed.stream(&format!("netem {id} {direction}")).next_u64(),
        delay: impairments.delay,
        jitter,
        normal,
        loss,
        duplicate: impairments.duplicate,
        corrupt: impairments.corrupt,
        reorder: impairments.reorder.map(|reorder| Reorder {
            probability: reorder.probability,
            correlation: reorder.correlation,
            gap: reorder.gap,
        }),
        rate: impairments.rate.map_or(0, |rate| u64::from(rate.kbit) * 1000 / 8),
        limit: impairments
            .rate
            .map_or(UNLIMITED, |rate| rate.queue.saturating_add(flying(rate, impairments, link.mtu))),
    }
}

/// How many full packets the delay alone keeps under way at this rate. A netem counts them to its queue.
fn flying(rate: Rate, impairments: &Impairments, mtu: u16) -> u32 {
    let bits = impairments.delay.as_secs_f64() * f64::from(rate.kbit) * 1e3;
    (bits / (f64::from(mtu) * 8.0)).ceil() as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_delay_holds_is_not_in_the_queue() {
        let forward = Impairments {
            rate: Some(Rate { kbit: 12_000, queue: 10 }),
            delay: Duration::from_millis(10),
            ..Impairments::default()
        };
        let link = Link { forward, ..Link::default() };
        // 12 Mbit/s for 10 ms are ten packets of 1500 bytes.
        assert_eq!(settings(Seed(1), LinkId::Path1, &link, Direction::Forward).limit, 20);
        assert_eq!(settings(Seed(1), LinkId::Path1, &link, Direction::Backward).limit, UNLIMITED);
    }

    #[test]
    fn each_direction_of_each_link_has_its_own_numbers() {
        let link = Link::default();
        let seed = |id, direction| settings(Seed(1), id, &link, direction).seed;
        let seeds = [LinkId::Path1, LinkId::Path2].map(|id| Direction::BOTH.map(|direction| seed(id, direction)));
        let mut all = seeds.concat();
        all.dedup();
        assert_eq!(all.len(), 4);
        assert_eq!(seed(LinkId::Path1, Direction::Forward), seeds[0][0]);
    }
}
