//! Steps that take whole groups back, and steps that move the transfer to a plainer place.

use super::steps::{Phase, Steps};
use crate::case::{
    Address, Case, Chunks, Direction, Ending, Endpoint, Family, Host, Knobs, Link, LinkId, Pairing, PathManager,
    Protocol, SocketOptions, Topology,
};

/// Collects them.
pub(super) fn steps(case: &Case, steps: &mut Steps) {
    everything(steps);
    groups(steps);
    protocols(case, steps);
    hosts(case, steps);
}

fn everything(steps: &mut Steps) {
    steps.add(Phase::Everything, "1 all", |case| {
        let end = |end: &Endpoint| Endpoint { payload: end.payload, ..Endpoint::default() };
        *case = Case { seed: case.seed, client: end(&case.client), server: end(&case.server), ..Case::default() };
    });
    steps.add(Phase::Everything, "2 all but protocols", |case| {
        let end = |end: &Endpoint| Endpoint { payload: end.payload, protocol: end.protocol, ..Endpoint::default() };
        *case = Case { seed: case.seed, client: end(&case.client), server: end(&case.server), ..Case::default() };
    });
}

fn groups(steps: &mut Steps) {
    steps.add(Phase::Group, "1 loopback", |case| {
        move_to(case, Host::Ns1, Host::Ns1);
    });
    steps.add(Phase::Group, "2 links", |case| case.links.clear());
    steps.add(Phase::Group, "3 options", |case| {
        case.client.options = SocketOptions::default();
        case.server.options = SocketOptions::default();
    });
    steps.add(Phase::Group, "4 chunks", |case| {
        for end in [&mut case.client, &mut case.server] {
            (end.write, end.read) = (Chunks::default(), Chunks::default());
        }
    });
    steps.add(Phase::Group, "5 knobs", |case| case.hosts.clear());
    steps.add(Phase::Group, "6 manners", |case| {
        let plain = Case::default();
        (case.ending, case.refusals, case.cpus) = (plain.ending, plain.refusals, plain.cpus);
        case.bound = plain.bound;
    });
    steps.add(Phase::Group, "7 links off the path", |case| {
        let path = case.path();
        case.links.retain(|id, _| path.contains(id));
    });
}

fn protocols(case: &Case, steps: &mut Steps) {
    let pairing = case.pairing();
    if pairing != Pairing::default() {
        steps.add(Phase::Place, "1 tcp", |case| {
            case.client.protocol = Protocol::Tcp;
            case.server.protocol = Protocol::Tcp;
        });
        steps.add(Phase::Place, "2 server tcp", |case| case.server.protocol = Protocol::Tcp);
        steps.add(Phase::Place, "3 client tcp", |case| case.client.protocol = Protocol::Tcp);
    }
    steps.add(Phase::Place, "4 v4", |case| case.family = Family::V4);
    steps.add(Phase::Place, "5 v6", |case| case.family = Family::V6);
    steps.add(Phase::Place, "6 near", |case| case.address = Address::Near);
    steps.add(Phase::Part, "ending", |case| case.ending = Ending::default());
    steps.add(Phase::Part, "cpus", |case| case.cpus = 1);
    steps.add(Phase::Part, "bound", |case| case.bound = false);
    steps.number(Phase::Part, "refusals", (case.refusals.into(), 0, 1), |case, value| case.refusals = value as u8);
}

fn hosts(case: &Case, steps: &mut Steps) {
    // With several paths the hosts have their places.
    if case.topology != Topology::Chain {
        return;
    }
    let (client, server) = (case.client.host, case.server.host);
    let near = |from: Host, to: Host| match from.cmp(&to) {
        std::cmp::Ordering::Less => Host::ALL[from.index() + 1],
        std::cmp::Ordering::Equal => from,
        std::cmp::Ordering::Greater => Host::ALL[from.index() - 1],
    };
    steps.add(Phase::Place, "7 mirror", mirror);
    steps.add(Phase::Place, "7 turn", |case| std::mem::swap(&mut case.client.host, &mut case.server.host));
    let left = client.index().min(server.index());
    steps.number(Phase::Place, "8 shift", (left as u64, 0, 1), move |case, to| shift(case, left - to as usize));
    let nearer = near(server, client);
    steps.add(Phase::Place, "9 server nearer", move |case| move_to(case, client, nearer));
    let nearer = near(client, server);
    steps.add(Phase::Place, "9 client nearer", move |case| move_to(case, nearer, server));
}

/// Moves the endpoints, each with the knobs of its host, to the chain; what links off the new path do, and what path
/// managers are told, is forgotten.
fn move_to(case: &mut Case, client: Host, server: Host) {
    let plain = |knobs: &Knobs| Knobs { pm: PathManager::default(), ..knobs.clone() };
    let knobs = [(case.client.host, client), (case.server.host, server)]
        .into_iter()
        .filter_map(|(from, to)| Some((to, plain(case.hosts.get(&from)?))))
        .collect();
    case.topology = Topology::Chain;
    (case.client.host, case.server.host, case.hosts) = (client, server, knobs);
    let path = case.path();
    case.links.retain(|id, _| path.contains(id));
    case.events
        .retain(|event| event.what.host().is_none() && event.what.link().is_some_and(|link| path.contains(&link)));
}

/// Turns the chain round: what was on its right is on its left.
fn mirror(case: &mut Case) {
    let turned = |host: Host| Host::ALL[Host::ALL.len() - 1 - host.index()];
    (case.client.host, case.server.host) = (turned(case.client.host), turned(case.server.host));
    case.hosts = std::mem::take(&mut case.hosts).into_iter().map(|(host, knobs)| (turned(host), knobs)).collect();
    let turn = |(id, link): (LinkId, Link)| {
        let turned = Link {
            backend: link.backend,
            mtu: link.mtu,
            left: link.right,
            right: link.left,
            forward: link.impairments(Direction::Backward).clone(),
            backward: link.forward,
        };
        (LinkId::CHAIN[LinkId::CHAIN.len() - 1 - id.index()], turned)
    };
    case.links = std::mem::take(&mut case.links).into_iter().map(turn).collect();
}

/// Moves everything `by` hosts to the left; what falls off the end was on no path.
fn shift(case: &mut Case, by: usize) {
    let host = |host: Host| host.index().checked_sub(by).map(|index| Host::ALL[index]);
    let link = |id: LinkId| id.index().checked_sub(by).map(|index| LinkId::CHAIN[index]);
    let (Some(client), Some(server)) = (host(case.client.host), host(case.server.host)) else { return };
    (case.client.host, case.server.host) = (client, server);
    case.hosts = std::mem::take(&mut case.hosts).into_iter().filter_map(|(at, it)| Some((host(at)?, it))).collect();
    case.links = std::mem::take(&mut case.links).into_iter().filter_map(|(at, it)| Some((link(at)?, it))).collect();
}
