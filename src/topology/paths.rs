//! Configures the path managers of a case's hosts, and takes paths down and up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::layout::{self, PREFIXES, Side};
use crate::case::{self, Case, Family, Host, LinkId, PmEndpoint};
use crate::net::namespace::Namespace;
use crate::net::netlink::Request;
use crate::net::path_manager::events::Events;
use crate::net::path_manager::{Endpoint, PathManager, flag};
use crate::net::{NetError, address, device};

/// The path managers that a case configures or that its events change.
pub(super) type PathManagers = BTreeMap<Host, Mutex<PathManager>>;

/// Configures every path manager that the case says something about.
pub(super) fn configure(case: &Case, namespaces: &[Namespace]) -> Result<PathManagers, NetError> {
    let concerned = case.topology.hosts().iter().filter(|host| concerns(case, **host));
    concerned
        .map(|&host| {
            let mut manager = namespaces[host.index()].run(|| PathManager::open(&host.to_string()))??;
            let pm = case.knobs(host).pm;
            if pm.userspace {
                return Ok((host, Mutex::new(manager)));
            }
            if pm.subflows.is_some() || pm.accepted.is_some() {
                manager.set_limits(pm.subflow_limit(), pm.accept_limit())?;
            }
            for endpoint in &pm.endpoints {
                manager.add(&endpoint_in_kernel(case, host, endpoint))?;
            }
            Ok((host, Mutex::new(manager)))
        })
        .collect()
}

/// Whether the case configures the path manager of `host`, or has an event for it.
fn concerns(case: &Case, host: Host) -> bool {
    let configured = case.knobs(host).pm != case::PathManager::default();
    configured || case.events.iter().any(|event| event.what.host() == Some(host))
}

/// Listens to the kernel's path manager events at both ends, if there may be more than one subflow.
pub(super) fn listen(case: &Case, namespaces: &[Namespace]) -> Result<BTreeMap<Host, Events>, NetError> {
    let ends = [case.client.host, case.server.host];
    let managed = ends.iter().any(|host| case.knobs(*host).pm.userspace);
    if !case.is_mptcp() || (case.topology.paths() < 2 && !managed) {
        return Ok(BTreeMap::new());
    }
    let open = |host: Host| namespaces[host.index()].run(|| Events::listen(&host.to_string()))?;
    ends.into_iter().map(|host| Ok((host, open(host)?))).collect()
}

/// Removes all endpoints from every path manager.
pub(super) fn dismiss(managers: &PathManagers) -> Result<(), NetError> {
    managers.values().try_for_each(|manager| manager.lock().unwrap_or_else(PoisonError::into_inner).flush())
}

/// Takes the device at the left end of a path down.
pub(super) fn down(case: &Case, link: LinkId) -> Vec<Request> {
    vec![device::down(&layout::device(link, Side::Left, case.link(link).mtu))]
}

/// Brings it up again, with all that went with it. Its IPv4 address stays while it is down.
pub(super) fn up(case: &Case, link: LinkId) -> Vec<Request> {
    let of = |side| layout::device(link, side, case.link(link).mtu);
    let (device, peer) = (of(Side::Left), of(Side::Right).mac);
    let mut requests =
        vec![device::up(&device), address::address(&device, layout::v6(link, Side::Left).into(), PREFIXES.1)];
    let gateways = layout::addresses(link, Side::Right);
    requests.extend(gateways.iter().map(|(far, _)| address::neighbour(&device, *far, peer)));
    for (network, way) in layout::remote(case.topology, link.left()) {
        let networks = layout::networks(network).into_iter().zip(gateways).filter(|_| way.0 == link);
        requests.extend(networks.map(|((to, prefix), (by, _))| address::route(&device, to, prefix, by)));
    }
    for (_, table) in layout::ways_by_source(case.topology, link.left()).filter(|(way, _)| *way == link) {
        requests.extend(gateways.iter().map(|(by, _)| address::default_route(&device, *by, table)));
    }
    requests
}

/// An endpoint of a case as the kernel gets it: with an identifier, by which it can be removed again.
pub fn endpoint_in_kernel(case: &Case, host: Host, endpoint: &PmEndpoint) -> Endpoint {
    let PmEndpoint { link, signal, subflow, backup, fullmesh, laminar, other_family, port, .. } = *endpoint;
    let flags = [
        (signal, flag::SIGNAL),
        (subflow, flag::SUBFLOW),
        (backup, flag::BACKUP),
        (fullmesh, flag::FULLMESH),
        (laminar, flag::LAMINAR),
    ];
    let flags = flags.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, flag)| all | flag);
    let address = address_on(link, Side::of(host, link), is_v6(case) != other_family);
    Endpoint { address, port, id: Some(identifier(case, host, endpoint)), flags }
}

/// The identifier of an endpoint: its own, or the place of its link from 1, moved out of the way of the others'.
fn identifier(case: &Case, host: Host, endpoint: &PmEndpoint) -> u8 {
    if let Some(id) = endpoint.id {
        return id;
    }
    let taken: Vec<u8> = case.knobs(host).pm.endpoints.iter().filter_map(|other| other.id).collect();
    let place = link_number(endpoint.link);
    // Steps longer than there are links: no two of them meet.
    (0..10).map(|far| place + 20 * far).find(|id| !taken.contains(id)).unwrap_or(place)
}

fn link_number(link: LinkId) -> u8 {
    link.index() as u8 + 1
}

/// Whether a connection is IPv6 on the wire.
pub fn is_v6(case: &Case) -> bool {
    case.family == Family::V6
}

/// An address at an end of a link.
pub fn address_on(link: LinkId, side: Side, v6: bool) -> IpAddr {
    if v6 { layout::v6(link, side).into() } else { layout::v4(link, side).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Knobs;

    #[test]
    fn identifiers_are_unlike_each_other() {
        let mut endpoints: Vec<PmEndpoint> = LinkId::PATHS.into_iter().map(PmEndpoint::on).collect();
        endpoints[3].id = Some(link_number(LinkId::Path1));
        let pm = case::PathManager { endpoints: endpoints.clone(), ..case::PathManager::default() };
        let mut case = Case { topology: case::Topology::Parallel(8), ..Case::default() };
        case.hosts.insert(Host::Ns1, Knobs { pm, ..Knobs::default() });
        let mut ids: Vec<u8> = endpoints.iter().map(|endpoint| identifier(&case, Host::Ns1, endpoint)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), endpoints.len(), "{ids:?}");
    }
}
