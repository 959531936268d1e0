//! Steps with several paths: fewer of them, back to the chain, and path managers with less to do.

use std::time::Duration;

use super::steps::{Phase, Steps};
use crate::case::{Case, Happening, Host, Knobs, LinkId, Moment, PathManager, PmEndpoint, Topology};

/// Collects them.
pub(super) fn steps(case: &Case, steps: &mut Steps) {
    topology(case, steps);
    for (host, knobs) in &case.hosts {
        path_manager(*host, knobs, steps);
    }
    events(case, steps);
}

fn events(case: &Case, steps: &mut Steps) {
    steps.list("events", case.events.len(), |case, chunk| drop(case.events.drain(chunk)));
    for (nth, event) in case.events.iter().enumerate() {
        let offset = match event.when {
            Moment::Client(at) | Moment::Server(at) => at,
            Moment::After(at) => at.as_nanos() as u64,
        };
        steps.rounder(&format!("events.{nth}.when"), offset, 0, move |case, value| match &mut case.events[nth].when {
            Moment::Client(at) | Moment::Server(at) => *at = value,
            Moment::After(at) => *at = Duration::from_nanos(value),
        });
        if let Some(lasts) = event.what.outage() {
            steps.rounder(&format!("events.{nth}.for"), lasts.as_nanos() as u64, 1_000_000, move |case, value| {
                match &mut case.events[nth].what {
                    Happening::Block { lasts, .. } | Happening::Down { lasts, .. } => {
                        *lasts = Duration::from_nanos(value)
                    }
                    _ => {}
                }
            });
        }
        // All endpoints at once are less plain than one of them; a subflow that goes is less plain than its endpoint.
        match event.what {
            Happening::Flush { host } => {
                for endpoint in case.knobs(host).pm.endpoints {
                    let link = endpoint.link;
                    steps.add(Phase::Kind, &format!("events.{nth}.{link}"), move |case| {
                        case.events[nth].what = Happening::Remove { host, link };
                    });
                }
            }
            Happening::Destroy { host, link } => steps.add(Phase::Kind, &format!("events.{nth}"), move |case| {
                case.events[nth].what = Happening::Remove { host, link };
            }),
            _ => {}
        }
        // A link that is down is one that nothing passes, and then some.
        if let Happening::Down { link, lasts } = event.what {
            steps.add(Phase::Kind, &format!("events.{nth}"), move |case| {
                case.events[nth].what = Happening::Block { link, lasts };
            });
        }
    }
}

fn topology(case: &Case, steps: &mut Steps) {
    for way in case.topology.ways() {
        steps.add(Phase::Place, &format!("0 only {way}"), move |case| keep_only(case, *way));
    }
    match case.topology {
        Topology::Chain => {}
        Topology::Parallel(paths) => {
            for place in (0..usize::from(paths)).rev() {
                steps.add(Phase::Place, &format!("1 without {}", LinkId::PATHS[place]), move |case| {
                    without(case, place)
                });
            }
        }
        Topology::Diamond => steps.add(Phase::Place, "1 parallel", unbent),
    }
}

/// The chain, with what `way` does on its first link.
fn keep_only(case: &mut Case, way: LinkId) {
    let link = case.links.remove(&way);
    case.topology = Topology::Chain;
    case.links.retain(|id, _| !id.is_path());
    case.links.extend(link.map(|link| (LinkId::Ns1Ns2, link)));
    case.hosts.values_mut().for_each(|knobs| knobs.pm = PathManager::default());
    case.events.retain_mut(|event| {
        let Happening::Block { link, .. } = &mut event.what else { return false };
        let ours = *link == way || !link.is_path();
        if *link == way {
            *link = LinkId::Ns1Ns2;
        }
        ours
    });
}

/// Without one of the parallel paths; those behind it move up.
fn without(case: &mut Case, place: usize) {
    let Topology::Parallel(paths) = case.topology else { return };
    let moved = |id: LinkId| match LinkId::PATHS.iter().position(|path| *path == id) {
        Some(at) if at == place => None,
        Some(at) if at > place => Some(LinkId::PATHS[at - 1]),
        _ => Some(id),
    };
    case.topology = Topology::Parallel(paths - 1);
    case.links = std::mem::take(&mut case.links).into_iter().filter_map(|(id, it)| Some((moved(id)?, it))).collect();
    for knobs in case.hosts.values_mut() {
        let endpoints = std::mem::take(&mut knobs.pm.endpoints).into_iter();
        knobs.pm.endpoints =
            endpoints.filter_map(|endpoint| Some(PmEndpoint { link: moved(endpoint.link)?, ..endpoint })).collect();
    }
    case.events.retain_mut(|event| {
        let Some(link) = event.what.link_mut() else { return true };
        let place = moved(*link);
        place.into_iter().for_each(|to| *link = to);
        place.is_some()
    });
}

/// The two paths of a diamond without what is behind its router.
fn unbent(case: &mut Case) {
    case.topology = Topology::Parallel(2);
    case.links.remove(&LinkId::Ns2Ns3);
    case.hosts.remove(&Host::Ns2);
    if let Some(mut knobs) = case.hosts.remove(&case.server.host) {
        knobs.pm.endpoints.clear();
        case.hosts.insert(Host::Ns2, knobs);
    }
    case.server.host = Host::Ns2;
    case.events.retain(|event| event.what.link().is_none_or(LinkId::is_path) && event.what.host() != Some(Host::Ns3));
}

fn path_manager(host: Host, knobs: &Knobs, steps: &mut Steps) {
    let at = format!("hosts.{host}.pm");
    let edit = move |case: &mut Case, edit: &dyn Fn(&mut PathManager)| {
        if let Some(knobs) = case.hosts.get_mut(&host) {
            edit(&mut knobs.pm);
        }
    };
    steps.add(Phase::Part, &at, move |case| edit(case, &|pm| *pm = PathManager::default()));
    steps.add(Phase::Part, &format!("{at}.userspace"), move |case| {
        edit(case, &|pm| pm.userspace = false);
        case.events.retain(|event| !matches!(event.what, Happening::Destroy { host: whose, .. } if whose == host));
    });
    steps.add(Phase::Field, &format!("{at}.subflows"), move |case| edit(case, &|pm| pm.subflows = None));
    steps.add(Phase::Field, &format!("{at}.accepted"), move |case| edit(case, &|pm| pm.accepted = None));
    type Limit = fn(&mut PathManager, u8);
    let limits: [(&str, Option<u8>, Limit); 2] = [
        ("subflows", knobs.pm.subflows, |pm, value| pm.subflows = Some(value)),
        ("accepted", knobs.pm.accepted, |pm, value| pm.accepted = Some(value)),
    ];
    for (name, limit, set) in limits {
        steps.rounder(&format!("{at}.{name}"), limit.unwrap_or(0).into(), 0, move |case, value| {
            edit(case, &|pm| set(pm, value as u8));
        });
    }
    steps.list(&format!("{at}.endpoints"), knobs.pm.endpoints.len(), move |case, chunk| {
        edit(case, &|pm| drop(pm.endpoints.drain(chunk.clone())));
    });
    type Edit = fn(&mut PmEndpoint);
    let flags: [(&str, Edit); 8] = [
        ("signal", |endpoint| endpoint.signal = false),
        ("subflow", |endpoint| endpoint.subflow = false),
        ("backup", |endpoint| endpoint.backup = false),
        ("fullmesh", |endpoint| endpoint.fullmesh = false),
        ("laminar", |endpoint| endpoint.laminar = false),
        ("other_family", |endpoint| endpoint.other_family = false),
        ("port", |endpoint| endpoint.port = None),
        ("id", |endpoint| endpoint.id = None),
    ];
    for nth in 0..knobs.pm.endpoints.len() {
        for (name, change) in flags {
            steps.add(Phase::Field, &format!("{at}.endpoints.{nth}.{name}"), move |case| {
                edit(case, &|pm| pm.endpoints.get_mut(nth).into_iter().for_each(change));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Link;

    fn three() -> Case {
        let mut case = Case { topology: Topology::Parallel(3), ..Case::default() };
        case.server.host = Host::Ns2;
        let endpoints = vec![PmEndpoint::on(LinkId::Path2), PmEndpoint::on(LinkId::Path3)];
        let pm = PathManager { endpoints, ..PathManager::default() };
        case.hosts.insert(Host::Ns1, Knobs { pm, ..Knobs::default() });
        case.links.insert(LinkId::Path3, Link { mtu: 1400, ..Link::default() });
        case
    }

    #[test]
    fn a_path_goes_with_its_endpoints_and_the_others_move_up() {
        let mut case = three();
        without(&mut case, 1);
        assert_eq!(case.topology, Topology::Parallel(2));
        assert_eq!(case.knobs(Host::Ns1).pm.endpoints, [PmEndpoint::on(LinkId::Path2)]);
        assert_eq!(case.link(LinkId::Path2).mtu, 1400);
        assert_eq!(case.validate(), Ok(()));
    }

    #[test]
    fn a_single_path_is_the_chain() {
        let mut case = three();
        keep_only(&mut case, LinkId::Path3);
        assert_eq!((case.topology, case.link(LinkId::Ns1Ns2).mtu), (Topology::Chain, 1400));
        assert_eq!(case.validate(), Ok(()));
    }

    #[test]
    fn a_diamond_becomes_two_parallel_paths() {
        let mut case = Case { topology: Topology::Diamond, ..Case::default() };
        case.server.host = Host::Ns3;
        let knobs = Knobs { sack: false, ..Knobs::default() };
        case.hosts.insert(Host::Ns3, knobs.clone());
        unbent(&mut case);
        assert_eq!((case.validate(), case.knobs(Host::Ns2)), (Ok(()), knobs));
    }
}
