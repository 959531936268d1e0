//! The path manager in user space: it hears of connections from the kernel, and has it announce addresses, and make and end
//! subflows. Hosts whose path manager is the kernel's own are only listened to.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::layout::Side;
use super::paths::{PathManagers, address_on, in_kernel, is_v6};
use crate::case::{Case, Family, Happening, Host, LinkId, PmEndpoint};
use crate::net::NetError;
use crate::net::namespace::Namespace;
use crate::net::path_manager::events::Events;
use crate::net::path_manager::{Endpoint, PathManager, flag};
use crate::observation::{PmEvent, PmEventKind};

/// What is heard of the connections of hosts.
pub(super) type Ears = BTreeMap<Host, Events>;

/// Listens at both ends, where there is something to hear of more than one subflow.
pub(super) fn listen(case: &Case, namespaces: &[Namespace]) -> Result<Ears, NetError> {
    let ends = [case.client.host, case.server.host];
    let managed = ends.iter().any(|host| case.knobs(*host).pm.userspace);
    if !case.is_mptcp() || (case.topology.paths() < 2 && !managed) {
        return Ok(Ears::new());
    }
    let ear = |host: Host| namespaces[host.index()].run(|| Events::listen(&host.to_string()))?;
    ends.into_iter().map(|host| Ok((host, ear(host)?))).collect()
}

/// A connection that lives, as far as was heard.
#[derive(Debug, PartialEq)]
struct Connection {
    token: u32,
    /// Both ends of each of its subflows.
    subflows: Vec<(SocketAddr, SocketAddr)>,
}

/// The connections that live after these events.
fn connections(heard: &[PmEvent]) -> Vec<Connection> {
    let mut living: Vec<Connection> = Vec::new();
    for event in heard {
        let place = living.iter().position(|connection| connection.token == event.token);
        let ends = event.local.zip(event.remote);
        match (event.kind, place) {
            (PmEventKind::Established, None) => {
                living.push(Connection { token: event.token, subflows: ends.into_iter().collect() });
            }
            (PmEventKind::SubflowEstablished, Some(place)) => living[place].subflows.extend(ends),
            (PmEventKind::SubflowClosed, Some(place)) => living[place].subflows.retain(|each| Some(*each) != ends),
            (PmEventKind::Closed, Some(place)) => drop(living.remove(place)),
            _ => {}
        }
    }
    living
}

/// The addresses of `host` that an event has no more subflows from.
fn retired(case: &Case, host: Host, what: &Happening) -> Vec<IpAddr> {
    let links: Vec<LinkId> = match what {
        Happening::Remove { link, .. } | Happening::Destroy { link, .. } => vec![*link],
        Happening::Flush { .. } => case.pm_endpoints(host).map(|endpoint| endpoint.link).collect(),
        _ => Vec::new(),
    };
    links.into_iter().flat_map(|link| own_addresses(host, link)).collect()
}

/// The addresses of `host` on `link`, in both families.
fn own_addresses(host: Host, link: LinkId) -> [IpAddr; 2] {
    [false, true].map(|v6| address_on(link, Side::of(host, link), v6))
}

/// Whether an event would leave a connection of `host` without any subflow, one that only begins included.
pub(super) fn orphans(case: &Case, host: Host, heard: &[PmEvent], what: &Happening) -> bool {
    let gone = retired(case, host, what);
    let stays = |(local, _): &(SocketAddr, SocketAddr)| !gone.contains(&local.ip().to_canonical());
    let living = connections(heard);
    let begins = living.is_empty() && case.loses_its_first(what);
    what.retires() && (begins || living.iter().any(|connection| !connection.subflows.iter().any(stays)))
}

/// Does what an event asks of the path manager in user space of `host`, for each connection.
pub(super) fn happen(
    case: &Case,
    host: Host,
    manager: &mut PathManager,
    heard: &[PmEvent],
    what: &Happening,
) -> Result<(), NetError> {
    for Connection { token, subflows } in connections(heard) {
        let from = |gone: &[IpAddr]| -> Vec<(SocketAddr, SocketAddr)> {
            let ours = subflows.iter().filter(|(local, _)| gone.contains(&local.ip().to_canonical()));
            ours.copied().collect()
        };
        match *what {
            Happening::Add { endpoint, .. } => {
                let Some((_, remote)) = subflows.first().copied() else { continue };
                employ(case, host, manager, token, &endpoint, remote)?;
            }
            Happening::Remove { .. } | Happening::Flush { .. } | Happening::Destroy { .. } => {
                if !matches!(what, Happening::Destroy { .. }) {
                    for id in identifiers(case, host, what) {
                        settle(manager.withdraw(token, id))?;
                    }
                }
                for (local, remote) in from(&retired(case, host, what)) {
                    settle(manager.destroy(token, local, remote))?;
                }
            }
            Happening::Backup { link, on, .. } => {
                for (local, remote) in from(&own_addresses(host, link)) {
                    settle(manager.prioritize(token, local.ip(), remote, on))?;
                }
            }
            Happening::Fullmesh { .. } | Happening::Block { .. } | Happening::Down { .. } => {}
        }
    }
    Ok(())
}

/// The identifiers of the addresses that an event takes back.
fn identifiers(case: &Case, host: Host, what: &Happening) -> Vec<u8> {
    let of = |endpoint: PmEndpoint| local(case, host, &endpoint).id.unwrap_or(0);
    match *what {
        Happening::Flush { .. } => case.pm_endpoints(host).map(of).collect(),
        Happening::Remove { link, .. } => {
            let known = case.pm_endpoints(host).find(|endpoint| endpoint.link == link);
            vec![of(known.unwrap_or(PmEndpoint::on(link)))]
        }
        _ => Vec::new(),
    }
}

/// An endpoint as a connection knows it: the address that the client's connection began with has the identifier 0.
fn local(case: &Case, host: Host, endpoint: &PmEndpoint) -> Endpoint {
    let known = in_kernel(case, host, endpoint);
    let begins = host == case.client.host && case.topology.ways().first() == Some(&endpoint.link);
    if begins { Endpoint { id: Some(0), ..known } } else { known }
}

/// Uses an endpoint for a connection to `remote`: announces it, or makes a subflow from it.
fn employ(
    case: &Case,
    host: Host,
    manager: &mut PathManager,
    token: u32,
    endpoint: &PmEndpoint,
    remote: SocketAddr,
) -> Result<(), NetError> {
    let known = local(case, host, endpoint);
    let backup = known.flags & flag::BACKUP;
    if endpoint.signal {
        settle(manager.announce(token, &Endpoint { flags: flag::SIGNAL | backup, ..known }))?;
    }
    // The client alone reaches a port that is listened on.
    if endpoint.subflow && host == case.client.host && known.id != Some(0) {
        let to = if endpoint.other_family {
            let door = if endpoint.link.right() == case.server.host { endpoint.link } else { LinkId::Ns2Ns3 };
            address_on(door, Side::Right, known.address.is_ipv6())
        } else {
            remote.ip().to_canonical()
        };
        let remote = SocketAddr::new(to, remote.port());
        settle(manager.create(token, &Endpoint { flags: flag::SUBFLOW | backup, ..known }, remote))?;
    }
    Ok(())
}

/// What the kernel refuses, since a connection has ended or its peer is out of reach, is no trouble.
fn settle(result: Result<(), NetError>) -> Result<(), NetError> {
    match result {
        Err(error) if matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EOPNOTSUPP)) => Err(error),
        _ => Ok(()),
    }
}

/// Listens where the path manager in user space of a host announces an address with a port: who joins there needs somebody who
/// does. The kernel's own path manager listens by itself.
fn listeners(case: &Case, namespaces: &[Namespace]) -> Result<Vec<Socket>, NetError> {
    let ends = [case.client.host, case.server.host].into_iter().filter(|host| case.knobs(*host).pm.userspace);
    let ports = ends.flat_map(|host| case.pm_endpoints(host).map(move |endpoint| (host, endpoint)));
    let mut listeners = Vec::new();
    for (host, endpoint) in ports {
        let known = in_kernel(case, host, &endpoint);
        let Some(port) = known.port else { continue };
        // Of the family of the connection's sockets, as the kernel does it.
        let address = match known.address {
            IpAddr::V4(v4) if case.family != Family::V4 => v4.to_ipv6_mapped().into(),
            address => address,
        };
        let at = SocketAddr::new(address, port);
        match namespaces[host.index()].run(|| listener(at))? {
            Ok(listener) => listeners.push(listener),
            // The endpoint is added twice, or the server listens there.
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {}
            Err(error) => return Err(NetError::new(format!("listen on {at}"), error).on(&host.to_string())),
        }
    }
    Ok(listeners)
}

fn listener(at: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(at), Type::STREAM.cloexec(), Some(Protocol::from(libc::IPPROTO_MPTCP)))?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(1)?;
    Ok(socket)
}

/// Runs the path managers in user space until `stop` can be read.
pub(super) fn manage(
    case: &Case,
    namespaces: &[Namespace],
    managers: &PathManagers,
    ears: &Ears,
    stop: BorrowedFd<'_>,
) -> Result<(), NetError> {
    let _listeners = listeners(case, namespaces)?;
    let ours: Vec<(Host, &Events)> =
        ears.iter().filter(|(host, _)| case.knobs(**host).pm.userspace).map(|(host, ear)| (*host, ear)).collect();
    let mut waiting: Vec<PollFd<'_>> =
        ours.iter().map(|(_, ear)| PollFd::new(ear.as_fd(), PollFlags::POLLIN)).collect();
    waiting.push(PollFd::new(stop, PollFlags::POLLIN));
    loop {
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(NetError::new("wait for the path manager's events", errno)),
        }
        if waiting.last().and_then(PollFd::any).unwrap_or(false) {
            return Ok(());
        }
        for (host, ear) in &ours {
            let Some(manager) = managers.get(host) else { continue };
            for event in ear.receive()? {
                let mut manager = manager.lock().unwrap_or_else(PoisonError::into_inner);
                react(case, *host, &mut manager, &event)?;
            }
        }
    }
}

/// What the path manager in user space of `host` does about an event.
fn react(case: &Case, host: Host, manager: &mut PathManager, event: &PmEvent) -> Result<(), NetError> {
    let Some(remote) = event.remote else { return Ok(()) };
    let pm = case.knobs(host).pm;
    match event.kind {
        PmEventKind::Established => {
            pm.endpoints.iter().try_for_each(|endpoint| employ(case, host, manager, event.token, endpoint, remote))
        }
        PmEventKind::Announced if pm.accept_limit() > 0 && host == case.client.host => {
            let peer = remote.ip().to_canonical();
            let ways = case.topology.ways().iter();
            let Some(link) = ways.copied().find(|way| own_addresses(way.right(), *way).contains(&peer)) else {
                return Ok(());
            };
            let other_family = peer.is_ipv6() != is_v6(case);
            let known = pm.endpoints.iter().copied().find(|endpoint| endpoint.link == link);
            let near = local(case, host, &PmEndpoint { other_family, ..known.unwrap_or(PmEndpoint::on(link)) });
            let remote = SocketAddr::new(peer, remote.port());
            settle(manager.create(event.token, &Endpoint { flags: flag::SUBFLOW, ..near }, remote))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: PmEventKind, local: &str) -> PmEvent {
        PmEvent {
            kind,
            token: 7,
            local: Some(format!("{local}:5000").parse().expect("an address")),
            remote: Some("10.0.11.2:80".parse().expect("an address")),
            local_id: None,
            remote_id: None,
            backup: false,
            error: None,
        }
    }

    #[test]
    fn the_last_subflow_of_a_connection_is_not_taken() {
        let case = Case { topology: crate::case::Topology::Parallel(2), ..Case::default() };
        let (first, second) = (event(PmEventKind::Established, "10.0.11.1"), "10.0.12.1");
        let remove = |link| Happening::Remove { host: Host::Ns1, link };
        let alone = [first.clone()];
        assert!(orphans(&case, Host::Ns1, &alone, &remove(LinkId::Path1)));
        assert!(!orphans(&case, Host::Ns1, &alone, &remove(LinkId::Path2)));
        let joined = [first.clone(), event(PmEventKind::SubflowEstablished, second)];
        assert!(!orphans(&case, Host::Ns1, &joined, &remove(LinkId::Path1)));
        let [established, lost] = joined.clone();
        let left = [established, lost, event(PmEventKind::SubflowClosed, second)];
        assert!(orphans(&case, Host::Ns1, &left, &remove(LinkId::Path1)));
        let over = [first, event(PmEventKind::Closed, second)];
        assert!(!orphans(&case, Host::Ns1, &over, &remove(LinkId::Path2)));
        assert!(orphans(&case, Host::Ns1, &over, &remove(LinkId::Path1)), "the next one may be about to begin");
    }
}
