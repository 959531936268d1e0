//! The path manager in user space: it hears of connections from the kernel, and has the kernel announce addresses, and make
//! and close subflows.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::case::{Case, Family, Happening, Host, LinkId, PmEndpoint};
use crate::net::NetError;
use crate::net::path_manager::events::Events;
use crate::net::path_manager::{Endpoint, PathManager, flag};
use crate::observation::{PmEvent, PmEventKind};
use crate::topology::{Side, Topology, address_on, endpoint_in_kernel, is_v6};

/// A connection that is open, as far as events tell.
#[derive(Debug, PartialEq)]
struct Connection {
    token: u32,
    /// Both ends of each of its subflows.
    subflows: Vec<(SocketAddr, SocketAddr)>,
}

/// The connections that are open after these events.
fn connections(heard: &[PmEvent]) -> Vec<Connection> {
    let mut open: Vec<Connection> = Vec::new();
    for event in heard {
        let place = open.iter().position(|connection| connection.token == event.token);
        let ends = event.local.zip(event.remote);
        match (event.kind, place) {
            (PmEventKind::Established, None) => {
                open.push(Connection { token: event.token, subflows: ends.into_iter().collect() });
            }
            (PmEventKind::SubflowEstablished, Some(place)) => open[place].subflows.extend(ends),
            (PmEventKind::SubflowClosed, Some(place)) => open[place].subflows.retain(|each| Some(*each) != ends),
            (PmEventKind::Closed, Some(place)) => drop(open.remove(place)),
            _ => {}
        }
    }
    open
}

/// The addresses of `host` from which there are to be no more subflows after an event.
fn retired_addresses(case: &Case, host: Host, what: &Happening) -> Vec<IpAddr> {
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

/// Whether an event would leave a connection of `host` without any subflow, including one that is only just beginning.
pub(super) fn leaves_no_subflow(case: &Case, host: Host, heard: &[PmEvent], what: &Happening) -> bool {
    let gone = retired_addresses(case, host, what);
    let stays = |(local, _): &(SocketAddr, SocketAddr)| !gone.contains(&local.ip().to_canonical());
    let open = connections(heard);
    let begins = open.is_empty() && case.loses_its_first(what);
    what.retires() && (begins || open.iter().any(|connection| !connection.subflows.iter().any(stays)))
}

/// Does what an event asks of the path manager in user space of `host`, for each connection.
pub(super) fn carry_out(
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
                use_endpoint(case, host, manager, token, &endpoint, remote)?;
            }
            Happening::Remove { .. } | Happening::Flush { .. } | Happening::Destroy { .. } => {
                if !matches!(what, Happening::Destroy { .. }) {
                    for id in removed_ids(case, host, what) {
                        unless_refused(manager.withdraw(token, id))?;
                    }
                }
                for (local, remote) in from(&retired_addresses(case, host, what)) {
                    unless_refused(manager.destroy(token, local, remote))?;
                }
            }
            Happening::Backup { link, on, .. } => {
                for (local, remote) in from(&own_addresses(host, link)) {
                    unless_refused(manager.prioritize(token, local.ip(), remote, on))?;
                }
            }
            Happening::Fullmesh { .. } | Happening::Block { .. } | Happening::Down { .. } => {}
        }
    }
    Ok(())
}

/// The identifiers of the addresses that an event removes.
fn removed_ids(case: &Case, host: Host, what: &Happening) -> Vec<u8> {
    let of = |endpoint: PmEndpoint| endpoint_in_connection(case, host, &endpoint).id.unwrap_or(0);
    match *what {
        Happening::Flush { .. } => case.pm_endpoints(host).map(of).collect(),
        Happening::Remove { link, .. } => {
            let known = case.pm_endpoints(host).find(|endpoint| endpoint.link == link);
            vec![of(known.unwrap_or(PmEndpoint::on(link)))]
        }
        _ => Vec::new(),
    }
}

/// An endpoint as connections know it: the address that the client's connection began with has the identifier 0.
fn endpoint_in_connection(case: &Case, host: Host, endpoint: &PmEndpoint) -> Endpoint {
    let known = endpoint_in_kernel(case, host, endpoint);
    let begins = host == case.client.host && case.topology.ways().first() == Some(&endpoint.link);
    if begins { Endpoint { id: Some(0), ..known } } else { known }
}

/// Uses an endpoint for a connection to `remote`: announces it, or makes a subflow from it.
fn use_endpoint(
    case: &Case,
    host: Host,
    manager: &mut PathManager,
    token: u32,
    endpoint: &PmEndpoint,
    remote: SocketAddr,
) -> Result<(), NetError> {
    let known = endpoint_in_connection(case, host, endpoint);
    let backup = known.flags & flag::BACKUP;
    if endpoint.signal {
        unless_refused(manager.announce(token, &Endpoint { flags: flag::SIGNAL | backup, ..known }))?;
    }
    // Only the client can make subflows: nobody listens at the client.
    if endpoint.subflow && host == case.client.host && known.id != Some(0) {
        let to = if endpoint.other_family {
            let door = if endpoint.link.right() == case.server.host { endpoint.link } else { LinkId::Ns2Ns3 };
            address_on(door, Side::Right, known.address.is_ipv6())
        } else {
            remote.ip().to_canonical()
        };
        let remote = SocketAddr::new(to, remote.port());
        unless_refused(manager.create(token, &Endpoint { flags: flag::SUBFLOW | backup, ..known }, remote))?;
    }
    Ok(())
}

/// The kernel may refuse because a connection has ended or its peer cannot be reached: that is no trouble.
fn unless_refused(result: Result<(), NetError>) -> Result<(), NetError> {
    match result {
        Err(error) if matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EOPNOTSUPP)) => Err(error),
        _ => Ok(()),
    }
}

/// Listens on the ports that path managers in user space announce, so that the peer can join there. The kernel's own path
/// manager listens by itself.
fn listeners(case: &Case, topology: &Topology) -> Result<Vec<Socket>, NetError> {
    let ends = [case.client.host, case.server.host].into_iter().filter(|host| case.knobs(*host).pm.userspace);
    let ports = ends.flat_map(|host| case.pm_endpoints(host).map(move |endpoint| (host, endpoint)));
    let mut listeners = Vec::new();
    for (host, endpoint) in ports {
        let known = endpoint_in_kernel(case, host, &endpoint);
        let Some(port) = known.port else { continue };
        // In the family of the connection's sockets, as the kernel does it.
        let address = match known.address {
            IpAddr::V4(v4) if case.family != Family::V4 => v4.to_ipv6_mapped().into(),
            address => address,
        };
        let at = SocketAddr::new(address, port);
        match topology.namespace(host).run(|| listener(at))? {
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
pub(super) fn run(case: &Case, topology: &Topology, stop: BorrowedFd<'_>) -> Result<(), NetError> {
    let _listeners = listeners(case, topology)?;
    let managed = case.topology.hosts().iter().filter(|host| case.knobs(**host).pm.userspace);
    let sources: Vec<(Host, &Events)> =
        managed.filter_map(|host| Some((*host, topology.path_manager_events(*host)?))).collect();
    let mut waiting: Vec<PollFd<'_>> =
        sources.iter().map(|(_, events)| PollFd::new(events.as_fd(), PollFlags::POLLIN)).collect();
    waiting.push(PollFd::new(stop, PollFlags::POLLIN));
    loop {
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(NetError::new("wait for the path manager's events", errno)),
        }
        if waiting.last().and_then(PollFd::any).unwrap_or(false) {
            return Ok(());
        }
        for (host, events) in &sources {
            for event in events.receive()? {
                let Some(mut manager) = topology.path_manager(*host) else { continue };
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
        PmEventKind::Established => pm
            .endpoints
            .iter()
            .try_for_each(|endpoint| use_endpoint(case, host, manager, event.token, endpoint, remote)),
        PmEventKind::Announced if pm.accept_limit() > 0 && host == case.client.host => {
            let peer = remote.ip().to_canonical();
            let ways = case.topology.ways().iter();
            let Some(link) = ways.copied().find(|way| own_addresses(way.right(), *way).contains(&peer)) else {
                return Ok(());
            };
            let other_family = peer.is_ipv6() != is_v6(case);
            let known = pm.endpoints.iter().copied().find(|endpoint| endpoint.link == link);
            let near = endpoint_in_connection(
                case,
                host,
                &PmEndpoint { other_family, ..known.unwrap_or(PmEndpoint::on(link)) },
            );
            let remote = SocketAddr::new(peer, remote.port());
            unless_refused(manager.create(event.token, &Endpoint { flags: flag::SUBFLOW, ..near }, remote))
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
        assert!(leaves_no_subflow(&case, Host::Ns1, &alone, &remove(LinkId::Path1)));
        assert!(!leaves_no_subflow(&case, Host::Ns1, &alone, &remove(LinkId::Path2)));
        let joined = [first.clone(), event(PmEventKind::SubflowEstablished, second)];
        assert!(!leaves_no_subflow(&case, Host::Ns1, &joined, &remove(LinkId::Path1)));
        let [established, lost] = joined.clone();
        let left = [established, lost, event(PmEventKind::SubflowClosed, second)];
        assert!(leaves_no_subflow(&case, Host::Ns1, &left, &remove(LinkId::Path1)));
        let over = [first, event(PmEventKind::Closed, second)];
        assert!(!leaves_no_subflow(&case, Host::Ns1, &over, &remove(LinkId::Path2)));
        assert!(
            leaves_no_subflow(&case, Host::Ns1, &over, &remove(LinkId::Path1)),
            "the next one may be about to begin"
        );
    }
}
