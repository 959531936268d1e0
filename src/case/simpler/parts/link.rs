//! Steps within links.

mod rules;

use std::time::Duration;

use super::{MICROSECOND, nanos};
use crate::case::simpler::steps::{Phase, Steps};
use crate::case::simpler::weight::{PLAIN_QUEUE, PLAIN_RATE, parts};
use crate::case::{Action, Backend, Case, Direction, Impairments, Jitter, Link, LinkId, Loss, Offloads};

/// No change of an MTU is worth a step below this many bytes: the way from 9000 to 1500 byte by byte would take thousands.
const MTU_GRAIN: u64 = 128;

/// No probability is worth a step below this many parts of 10^9.
const PROBABILITY: u64 = 100_000;

/// Rates and queues worth a try on the way to the plain ones.
const ROUND: [u64; 6] = [10, 100, 1000, 10_000, 100_000, 1_000_000];

/// Collects them.
pub(super) fn steps(case: &Case, steps: &mut Steps) {
    for (id, link) in &case.links {
        devices(*id, link, steps);
        for direction in Direction::BOTH {
            let impairments = link.impairments(direction);
            if *impairments != Impairments::default() {
                direction_steps(Way { id: *id, direction }, impairments, steps);
            }
        }
    }
}

fn devices(id: LinkId, link: &Link, steps: &mut Steps) {
    let mut edit = |phase, field: &str, edit: fn(&mut Link)| {
        steps.add(phase, &format!("links.{id}{field}"), move |case| {
            if let Some(link) = case.links.get_mut(&id) {
                edit(link);
            }
        });
    };
    edit(Phase::Part, "", |link| *link = Link::default());
    // Only a link of ours tells what it did.
    edit(Phase::Part, ".backend", |link| link.backend = Backend::UserSpace);
    edit(Phase::Part, ".devices", |link| {
        (link.mtu, link.left, link.right) = (Link::default().mtu, Offloads::default(), Offloads::default());
    });
    edit(Phase::Field, ".mtu", |link| link.mtu = Link::default().mtu);
    edit(Phase::Field, ".left", |link| link.left = Offloads::default());
    edit(Phase::Field, ".right", |link| link.right = Offloads::default());
    edit(Phase::Kind, ".left.tso", |link| link.left.tso = true);
    edit(Phase::Kind, ".left.gso", |link| link.left.gso = true);
    edit(Phase::Kind, ".left.gro", |link| link.left.gro = true);
    edit(Phase::Kind, ".right.tso", |link| link.right.tso = true);
    edit(Phase::Kind, ".right.gso", |link| link.right.gso = true);
    edit(Phase::Kind, ".right.gro", |link| link.right.gro = true);
    let plain = u64::from(Link::default().mtu);
    steps.number(Phase::Number, &format!("links.{id}.mtu"), (link.mtu.into(), plain, MTU_GRAIN), move |case, value| {
        if let Some(link) = case.links.get_mut(&id) {
            link.mtu = value as u16;
        }
    });
}

/// One direction of one link.
#[derive(Clone, Copy)]
struct Way {
    id: LinkId,
    direction: Direction,
}

impl Way {
    fn field(self, name: &str) -> String {
        format!("links.{}.{}{name}", self.id, self.direction)
    }

    fn edit(self, case: &mut Case, edit: impl FnOnce(&mut Impairments)) {
        if let Some(link) = case.links.get_mut(&self.id) {
            edit(link.impairments_mut(self.direction));
        }
    }
}

fn direction_steps(way: Way, impairments: &Impairments, steps: &mut Steps) {
    let mut off = |phase, name: &str, edit: fn(&mut Impairments)| {
        steps.add(phase, &way.field(name), move |case| way.edit(case, edit));
    };
    off(Phase::Part, "", |at| *at = Impairments::default());
    off(Phase::Field, ".loss", |at| at.loss = None);
    off(Phase::Field, ".corrupt", |at| at.corrupt = 0.0);
    off(Phase::Field, ".duplicate", |at| at.duplicate = 0.0);
    off(Phase::Field, ".rate", |at| at.rate = None);
    // Jitter and reordering do nothing without a delay.
    off(Phase::Field, ".delay", |at| (at.delay, at.jitter, at.reorder) = Default::default());
    off(Phase::Field, ".jitter", |at| at.jitter = None);
    off(Phase::Field, ".reorder", |at| at.reorder = None);
    off(Phase::Field, ".spare_handshake", |at| at.spare_handshake = false);
    off(Phase::Field, ".renumber", |at| at.renumber = 0);
    off(Phase::Kind, ".jitter", |at| {
        if let Some(Jitter::Normal(spread)) = at.jitter {
            at.jitter = Some(Jitter::Uniform(spread));
        }
    });
    loss(way, impairments.loss, steps);
    lists(way, impairments, steps);
    rules::steps(way, impairments, steps);
    times(way, impairments, steps);
    chances(way, impairments, steps);
    rate(way, impairments, steps);
}

fn loss(way: Way, loss: Option<Loss>, steps: &mut Steps) {
    match loss {
        None | Some(Loss::Independent(_)) => {}
        Some(Loss::Cells { probability, carriages }) => {
            steps.add(Phase::Kind, &way.field(".loss"), move |case| {
                way.edit(case, |at| at.loss = Some(Loss::Independent(probability)));
            });
            steps.number(Phase::Number, &way.field(".loss.carriages"), (carriages.into(), 1, 1), move |case, value| {
                way.edit(case, |at| {
                    at.loss = Some(Loss::Cells { probability, carriages: value as u32 });
                });
            });
        }
        Some(Loss::GilbertElliott { to_bad, to_good, bad, .. }) => {
            let in_bad = if to_bad > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 };
            let share = (in_bad * bad * 1000.0).ceil() / 1000.0;
            steps.add(Phase::Kind, &way.field(".loss"), move |case| {
                way.edit(case, |at| at.loss = Some(Loss::Independent(share.min(1.0))));
            });
        }
    }
}

fn lists(way: Way, impairments: &Impairments, steps: &mut Steps) {
    steps.list(&way.field(".outages"), impairments.outages.len(), move |case, chunk| {
        way.edit(case, |at| drop(at.outages.drain(chunk)));
    });
    steps.list(&way.field(".rules"), impairments.rules.len(), move |case, chunk| {
        way.edit(case, |at| drop(at.rules.drain(chunk)));
    });
    steps.list(&way.field(".faults"), impairments.faults.len(), move |case, chunk| {
        way.edit(case, |at| drop(at.faults.drain(chunk)));
    });
}

fn times(way: Way, impairments: &Impairments, steps: &mut Steps) {
    steps.rounder(&way.field(".delay"), impairments.delay.as_nanos() as u64, MICROSECOND, move |case, value| {
        way.edit(case, |at| at.delay = nanos(value));
    });
    let spread = match impairments.jitter {
        None => Duration::ZERO,
        Some(Jitter::Uniform(spread) | Jitter::Normal(spread)) => spread,
    };
    steps.rounder(&way.field(".jitter"), spread.as_nanos() as u64, MICROSECOND, move |case, value| {
        way.edit(case, |at| match &mut at.jitter {
            Some(Jitter::Uniform(spread) | Jitter::Normal(spread)) => *spread = nanos(value),
            None => {}
        });
    });
    for (nth, outage) in impairments.outages.iter().copied().enumerate() {
        let length = outage.to.saturating_sub(outage.from);
        steps.rounder(&way.field(&format!(".outages.{nth} length")), length.as_nanos() as u64, MICROSECOND, {
            move |case, value| way.edit(case, |at| at.outages[nth].to = outage.from + nanos(value))
        });
        steps.rounder(&way.field(&format!(".outages.{nth}.from")), outage.from.as_nanos() as u64, 0, {
            move |case, value| {
                way.edit(case, |at| {
                    at.outages[nth].from = nanos(value);
                    at.outages[nth].to = nanos(value) + length;
                });
            }
        });
    }
    for (nth, fault) in impairments.faults.iter().enumerate() {
        if let Action::Late(by) | Action::Early(by) = fault.action {
            let field = way.field(&format!(".faults.{nth}"));
            steps.rounder(&field, by.as_nanos() as u64, MICROSECOND, move |case, value| {
                way.edit(case, |at| match &mut at.faults[nth].action {
                    Action::Late(by) | Action::Early(by) => *by = nanos(value),
                    _ => {}
                });
            });
        }
    }
}

fn chances(way: Way, impairments: &Impairments, steps: &mut Steps) {
    let mut chance = |name: &str, value: f64, set: fn(&mut Impairments, f64)| {
        steps.rounder(&way.field(name), parts(value), PROBABILITY, move |case, value| {
            way.edit(case, |at| set(at, value as f64 / 1e9));
        });
    };
    chance(".corrupt", impairments.corrupt, |at, value| at.corrupt = value);
    chance(".duplicate", impairments.duplicate, |at, value| at.duplicate = value);
    match impairments.loss {
        None => {}
        Some(Loss::Independent(share) | Loss::Cells { probability: share, .. }) => {
            chance(".loss", share, |at, value| {
                if let Some(Loss::Independent(share) | Loss::Cells { probability: share, .. }) = &mut at.loss {
                    *share = value;
                }
            });
        }
        Some(Loss::GilbertElliott { to_bad, .. }) => chance(".loss", to_bad, |at, value| {
            if let Some(Loss::GilbertElliott { to_bad, .. }) = &mut at.loss {
                *to_bad = value;
            }
        }),
    }
    if let Some(reorder) = impairments.reorder {
        chance(".reorder.probability", reorder.probability, |at, value| {
            if let Some(reorder) = &mut at.reorder {
                reorder.probability = value;
            }
        });
        let mut plain = |name: &str, edit: fn(&mut crate::case::Reorder)| {
            steps.add(Phase::Kind, &way.field(name), move |case| {
                way.edit(case, |at| at.reorder.iter_mut().for_each(edit));
            });
        };
        plain(".reorder.correlation", |reorder| reorder.correlation = 0.0);
        plain(".reorder.gap", |reorder| reorder.gap = 0);
    }
}

fn rate(way: Way, impairments: &Impairments, steps: &mut Steps) {
    let Some(rate) = impairments.rate else { return };
    let mut towards = |name: &str, value: u32, plain: u64, set: fn(&mut crate::case::Rate, u32)| {
        let value = u64::from(value);
        let range = value.min(plain)..=value.max(plain);
        let targets: Vec<u64> = ROUND.into_iter().filter(|size| *size != value && range.contains(size)).collect();
        steps.targets(Phase::Number, &way.field(name), value, &targets, move |case, value| {
            way.edit(case, |at| at.rate.iter_mut().for_each(|rate| set(rate, value as u32)));
        });
    };
    towards(".rate.kbit", rate.kbit, PLAIN_RATE, |rate, value| rate.kbit = value);
    towards(".rate.queue", rate.queue, PLAIN_QUEUE, |rate, value| rate.queue = value);
}
