//! What a case says about several paths: how its hosts are joined, and how the path managers are configured.

use serde::{Deserialize, Serialize};

use super::{Host, LinkId, is_default};

/// The most paths of [`Topology::Parallel`].
pub const MAX_PATHS: u8 = LinkId::PATHS.len() as u8;

/// How the hosts of a case are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Topology {
    /// Four hosts in a row: `ns1 - ns2 - ns3 - ns4`.
    #[default]
    Chain,
    /// The client on ns1 and the server on ns2, joined by this many links (1 to [`MAX_PATHS`]): `path1`, `path2`, ...
    /// What ns1 sends from its address on a link goes out by that link.
    Parallel(u8),
    /// The client on ns1 and the server on ns3, with ns2 between them as a router: `path1` and `path2` lead to it, and
    /// `ns2-ns3` from there to the server.
    Diamond,
}

impl Topology {
    /// Its links: the paths first.
    pub fn links(self) -> &'static [LinkId] {
        const DIAMOND: [LinkId; 3] = [LinkId::Path1, LinkId::Path2, LinkId::Ns2Ns3];
        match self {
            Topology::Chain => &LinkId::CHAIN,
            Topology::Parallel(paths) => &LinkId::PATHS[..usize::from(paths.min(MAX_PATHS))],
            Topology::Diamond => &DIAMOND,
        }
    }

    /// Its hosts, from left to right.
    pub fn hosts(self) -> &'static [Host] {
        match self {
            Topology::Chain => &Host::ALL,
            Topology::Parallel(_) => &Host::ALL[..2],
            Topology::Diamond => &Host::ALL[..3],
        }
    }

    /// How many ways there are between client and server.
    pub fn paths(self) -> u8 {
        match self {
            Topology::Chain => 1,
            Topology::Parallel(paths) => paths.min(MAX_PATHS),
            Topology::Diamond => 2,
        }
    }

    /// The links that are ways of their own between client and server; none where there is only one way.
    pub fn ways(self) -> &'static [LinkId] {
        match self {
            Topology::Chain => &[],
            Topology::Parallel(_) | Topology::Diamond => &LinkId::PATHS[..usize::from(self.paths())],
        }
    }

    /// Where client and server must be; `None` if they may be anywhere.
    pub fn ends(self) -> Option<(Host, Host)> {
        match self {
            Topology::Chain => None,
            Topology::Parallel(_) => Some((Host::Ns1, Host::Ns2)),
            Topology::Diamond => Some((Host::Ns1, Host::Ns3)),
        }
    }

    /// Whether `host` forwards packets.
    pub fn is_router(self, host: Host) -> bool {
        match self {
            Topology::Chain => matches!(host, Host::Ns2 | Host::Ns3),
            Topology::Parallel(_) => false,
            Topology::Diamond => host == Host::Ns2,
        }
    }
}

/// How the MPTCP path manager of a host is configured, over generic netlink (`mptcp_pm`), before the transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathManager {
    /// Whether it is a program in user space, of ours, instead of the kernel's own (`net.mptcp.pm_type`). It hears of
    /// each connection, announces the endpoints with `signal`, makes subflows from those with `subflow`, and takes up
    /// addresses of the peer where `accepted` is above 0. It has no other limits, and knows no `fullmesh` and no `laminar`.
    #[serde(skip_serializing_if = "is_default")]
    pub userspace: bool,
    /// How many subflows a connection may have beside its first (0 to 8); the kernel's default is 2.
    #[serde(skip_serializing_if = "is_default")]
    pub subflows: Option<u8>,
    /// How many addresses that the peer announces (ADD_ADDR) are taken up (0 to 8); the kernel's default is 0.
    #[serde(skip_serializing_if = "is_default")]
    pub accepted: Option<u8>,
    /// Its endpoints: own addresses, and what to do with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<PmEndpoint>,
}

/// The kernel's limit of further subflows where nobody sets one (net/mptcp/pm_kernel.c).
pub const SUBFLOWS_DEFAULT: u8 = 2;

impl PathManager {
    /// How many subflows a connection may have beside its first.
    pub fn subflow_limit(&self) -> u8 {
        self.subflows.unwrap_or(SUBFLOWS_DEFAULT)
    }

    /// How many announced addresses are taken up.
    pub fn accept_limit(&self) -> u8 {
        self.accepted.unwrap_or(0)
    }
}

/// An endpoint of the path manager: the host's address on a link, in the family of the connection on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PmEndpoint {
    /// The link.
    pub link: LinkId,
    /// Announce it to the peer (ADD_ADDR).
    #[serde(default, skip_serializing_if = "is_default")]
    pub signal: bool,
    /// Make a subflow from it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subflow: bool,
    /// Its subflows are backups: they carry data only where no other can (RFC 8684 section 3.3.8).
    #[serde(default, skip_serializing_if = "is_default")]
    pub backup: bool,
    /// Make subflows from it to every known address of the peer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fullmesh: bool,
    /// Use it for subflows to announced addresses (Linux 6.18 and later).
    #[serde(default, skip_serializing_if = "is_default")]
    pub laminar: bool,
    /// Its address is of the other family: IPv6 where the connection is IPv4 on the wire, and the other way round. Only IPv6
    /// sockets can do both.
    #[serde(default, skip_serializing_if = "is_default")]
    pub other_family: bool,
    /// The port that is announced with it, and listened on: by the path manager, whoever that is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub port: Option<u16>,
    /// Its address identifier (1 to 255); the kernel chooses one if there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub id: Option<u8>,
}

impl PmEndpoint {
    /// An endpoint for the address on `link`, without flags.
    pub fn on(link: LinkId) -> PmEndpoint {
        PmEndpoint {
            link,
            signal: false,
            subflow: false,
            backup: false,
            fullmesh: false,
            laminar: false,
            other_family: false,
            port: None,
            id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Topology; 5] = [
        Topology::Chain,
        Topology::Parallel(1),
        Topology::Parallel(2),
        Topology::Parallel(MAX_PATHS),
        Topology::Diamond,
    ];

    #[test]
    fn every_link_joins_hosts_of_its_topology() {
        for topology in ALL {
            for link in topology.links() {
                assert!(topology.hosts().contains(&link.left()), "{topology:?} {link}");
                assert!(topology.hosts().contains(&link.right()), "{topology:?} {link}");
            }
        }
    }

    #[test]
    fn the_ways_are_as_many_as_the_paths_and_leave_from_the_client() {
        for topology in ALL.into_iter().filter(|topology| *topology != Topology::Chain) {
            assert_eq!(topology.ways().len(), usize::from(topology.paths()));
            let (client, _) = topology.ends().expect("the ends are fixed");
            assert!(topology.ways().iter().all(|way| way.left() == client));
        }
    }
}
