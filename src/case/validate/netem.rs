//! What the kernel's network emulator can be asked for.

use std::time::Duration;

use super::{Check, show};
use crate::case::{Backend, Case, Direction, Happening, Impairments, Link, LinkId, Loss};

/// The longest jitter: netem counts it in 32 bits of nanoseconds.
const MAX_JITTER: Duration = Duration::from_secs(2);

/// What to do instead.
const INSTEAD: &str = "use the backend user-space, which can";

/// What keeps a netem from carrying out these impairments, if anything: the field, and why.
pub(crate) fn unable(impairments: &Impairments) -> Option<(&'static str, &'static str)> {
    let reasons = [
        (impairments.spare_handshake, "spare_handshake", "netem cannot tell packets of a handshake"),
        (matches!(impairments.loss, Some(Loss::Cells { .. })), "loss.cells", "netem cannot tell cells"),
        (!impairments.outages.is_empty(), "outages", "netem has none"),
        (impairments.renumber != 0, "renumber", "netem rewrites nothing"),
        (!impairments.rules.is_empty(), "rules", "netem cannot tell what a packet carries"),
        (!impairments.faults.is_empty(), "faults", "netem cannot tell one packet from another"),
    ];
    reasons.into_iter().find(|(holds, ..)| *holds).map(|(_, field, why)| (field, why))
}

impl Check {
    /// Checks links whose backend is netem.
    pub(super) fn netem(&mut self, case: &Case) {
        for (id, link) in case.links.iter().filter(|(_, link)| link.backend == Backend::Netem) {
            let at = format!("links.{id}");
            for direction in Direction::BOTH {
                let impairments = link.impairments(direction);
                if let Some((field, why)) = unable(impairments) {
                    self.must(false, &format!("{at}.{direction}.{field}"), || {
                        format!("is for the backend netem: {why}; {INSTEAD}")
                    });
                }
                let jitter = impairments.jitter.map(|jitter| jitter.spread()).unwrap_or_default();
                self.must(jitter <= MAX_JITTER, &format!("{at}.{direction}.jitter"), || {
                    format!("is {} with the backend netem: must be at most {}", show(jitter), show(MAX_JITTER))
                });
                // Two flips may make up for each other in a checksum. Links of ours keep out of each other's way.
                let alone = impairments.corrupt == 0.0 || !damaged_elsewhere(case, *id, direction);
                self.must(alone, &format!("{at}.{direction}.corrupt"), || {
                    "must be the only damage in this direction with the backend netem: two flipped bits of a packet \
                     can leave its checksum right"
                        .to_owned()
                });
            }
            let blocks = |what: &Happening| matches!(what, Happening::Block { link, .. } if link == id);
            self.must(!case.events.iter().any(|event| blocks(&event.what)), &format!("{at}.backend"), || {
                format!("is netem, and an event blocks this link: netem cannot; {INSTEAD}")
            });
        }
    }
}

/// Whether another link may flip bits in the same direction.
fn damaged_elsewhere(case: &Case, id: LinkId, direction: Direction) -> bool {
    let damages = |link: &Link| {
        let impairments = link.impairments(direction);
        impairments.corrupt > 0.0 || impairments.flips()
    };
    case.links.iter().any(|(other, link)| *other != id && damages(link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::validate::Problem;
    use crate::case::{Event, Jitter, Moment, Outage, Reorder};

    fn problems(change: impl FnOnce(&mut Case)) -> Vec<String> {
        let mut case = Case::default();
        case.links.entry(LinkId::Ns2Ns3).or_default().backend = Backend::Netem;
        change(&mut case);
        case.validate().err().unwrap_or_default().iter().map(Problem::to_string).collect()
    }

    fn forward(change: impl FnOnce(&mut Impairments)) -> Vec<String> {
        problems(|case| change(&mut case.links.get_mut(&LinkId::Ns2Ns3).unwrap().forward))
    }

    #[test]
    fn what_netem_can_do_is_valid() {
        let all = forward(|at| {
            at.loss = Some(Loss::Independent(0.1));
            at.corrupt = 0.1;
            at.duplicate = 0.1;
            at.delay = Duration::from_millis(1);
            at.jitter = Some(Jitter::Normal(Duration::from_millis(1)));
            at.reorder = Some(Reorder { probability: 0.5, correlation: 0.5, gap: 3 });
        });
        assert!(all.is_empty(), "{all:?}");
    }

    #[test]
    fn what_netem_cannot_do_is_refused_with_the_way_out() {
        let outage = Outage { from: Duration::ZERO, to: Duration::from_secs(1) };
        assert_eq!(
            forward(|at| at.outages.push(outage)),
            ["links.ns2-ns3.forward.outages is for the backend netem: netem has none; use the backend user-space, \
              which can"]
        );
        for refused in [
            forward(|at| at.spare_handshake = true),
            forward(|at| at.loss = Some(Loss::Cells { probability: 0.1, carriages: 1 })),
            forward(|at| at.jitter = Some(Jitter::Uniform(Duration::from_secs(3)))),
            forward(|at| at.renumber = 7),
        ] {
            assert_eq!(refused.len(), 1, "{refused:?}");
        }
    }

    #[test]
    fn a_blocked_link_and_a_second_damaging_one_are_refused() {
        let block = Happening::Block { link: LinkId::Ns2Ns3, lasts: Duration::from_secs(1) };
        let event = Event { when: Moment::Client(0), what: block };
        let said = problems(|case| case.events.push(event));
        assert!(said.iter().any(|text| text.starts_with("links.ns2-ns3.backend is netem")), "{said:?}");
        let said = problems(|case| {
            for id in [LinkId::Ns1Ns2, LinkId::Ns2Ns3] {
                case.links.entry(id).or_default().backward.corrupt = 0.1;
            }
        });
        assert_eq!(said.len(), 1, "{said:?}");
    }
}
