//! What the path managers of a case's hosts are told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use super::layout::{self, Side};
use crate::case::{self, Case, Family, Host, LinkId, PmEndpoint};
use crate::net::NetError;
use crate::net::namespace::Namespace;
use crate::net::path_manager::{Endpoint, PathManager, flag};

/// The path managers that a case speaks to.
pub(super) type PathManagers = BTreeMap<Host, Mutex<PathManager>>;

/// Tells every path manager that the case has something to tell.
pub(super) fn instruct(case: &Case, namespaces: &[Namespace]) -> Result<PathManagers, NetError> {
    let spoken = case.topology.hosts().iter().filter(|host| speaks_to(case, **host));
    spoken
        .map(|&host| {
            let mut manager = namespaces[host.index()].run(|| PathManager::open(&host.to_string()))??;
            let pm = case.knobs(host).pm;
            if pm.subflows.is_some() || pm.accepted.is_some() {
                manager.set_limits(pm.subflow_limit(), pm.accept_limit())?;
            }
            for endpoint in &pm.endpoints {
                manager.add(&in_kernel(case, host, endpoint))?;
            }
            Ok((host, Mutex::new(manager)))
        })
        .collect()
}

fn speaks_to(case: &Case, host: Host) -> bool {
    case.knobs(host).pm != case::PathManager::default()
}

/// An endpoint of a case as the kernel is told of it: with an identifier, by which it can be removed again.
pub(super) fn in_kernel(case: &Case, host: Host, endpoint: &PmEndpoint) -> Endpoint {
    let PmEndpoint { link, signal, subflow, backup, fullmesh, laminar, port, .. } = *endpoint;
    let flags = [
        (signal, flag::SIGNAL),
        (subflow, flag::SUBFLOW),
        (backup, flag::BACKUP),
        (fullmesh, flag::FULLMESH),
        (laminar, flag::LAMINAR),
    ];
    let flags = flags.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, flag)| all | flag);
    Endpoint { address: own_address(case, host, link), port, id: Some(identifier(case, host, endpoint)), flags }
}

/// The identifier of an endpoint: its own, or the place of its link from 1, moved out of the way of the others'.
fn identifier(case: &Case, host: Host, endpoint: &PmEndpoint) -> u8 {
    if let Some(id) = endpoint.id {
        return id;
    }
    let taken: Vec<u8> = case.knobs(host).pm.endpoints.iter().filter_map(|other| other.id).collect();
    let place = link_number(endpoint.link);
    (0..u8::MAX).map(|far| place.wrapping_add(far)).find(|id| *id != 0 && !taken.contains(id)).unwrap_or(place)
}

fn link_number(link: LinkId) -> u8 {
    link.index() as u8 + 1
}

/// The address of `host` on `link`, in the family of the connection on the wire.
fn own_address(case: &Case, host: Host, link: LinkId) -> IpAddr {
    let side = if link.left() == host { Side::Left } else { Side::Right };
    match case.family {
        Family::V4 | Family::V4Mapped => layout::v4(link, side).into(),
        Family::V6 => layout::v6(link, side).into(),
    }
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
