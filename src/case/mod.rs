//! A case: one transfer, described completely as plain data.
//!
//! A [`Case`] says which hosts talk over which protocols, what they send, in which chunks, with which socket options,
//! how the transfer ends, and what the links in between do to its packets. The same case is the same test: everything
//! random in it comes from its [`Seed`]. [`Case::default`] is the plainest case there is (TCP over loopback, nothing to
//! send, nothing in the way), and everything a file leaves out has its value from there.
//!
//! This room holds the data, its text form ([`mod@file`]), the generators ([`strategy`]) and the steps towards simpler
//! cases ([`simpler`]). It runs nothing and judges nothing.

mod ending;
mod endpoint;
mod events;
mod host;
mod io;
mod link;
mod middlebox;
mod names;
mod paths;
mod tuning;

pub mod file;
pub mod simpler;
pub mod steadier;
pub mod strategy;
pub mod validate;

pub use ending::{Ending, First, Leave, Manner, Rounds, Second};
pub use endpoint::{Chunks, Congestion, Endpoint, Pairing, Pattern, Pause, Protocol, SocketOptions};
pub use events::{Event, Happening, Moment};
pub use host::{Host, Knobs, Offloads, Syncookies};
pub use io::{Io, Receiving, Sending};
pub use link::{
    Action, Backend, Direction, Fault, Impairments, Jitter, Link, LinkId, Loss, MAX_CARRIAGES, Outage, Packet, Rate,
    Reorder,
};
pub use middlebox::{Kept, Merge, Pick, Removal, Rule, Strip, TcpOption, Towards};
pub use names::ParseNameError;
pub use paths::{MAX_PATHS, PathManager, PmEndpoint, SUBFLOWS_DEFAULT, Topology};
pub use tuning::{Change, SocketOption, Sysctl, Way};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// The version of the case format that this program reads and writes.
pub const FORMAT: u32 = 1;

/// One transfer, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Case {
    /// The version of this format: [`FORMAT`].
    pub format: u32,
    /// Where the payload, the random chunk sizes and the links' decisions come from.
    pub seed: Seed,
    /// How the hosts are joined.
    #[serde(skip_serializing_if = "is_default")]
    pub topology: Topology,
    /// The address family of the connection.
    pub family: Family,
    /// Which of the server's addresses the client connects to.
    pub address: Address,
    /// Whether the server listens on that address alone, instead of on every one of its host's: nobody joins at another.
    #[serde(skip_serializing_if = "is_default")]
    pub bound: bool,
    /// How many connects are refused, because nobody listens yet, before the one that counts.
    pub refusals: u8,
    /// On how many CPUs the case runs, 1 or 2. On one, nothing overtakes unless a link says so; on two, veth itself
    /// reorders a little.
    pub cpus: u8,
    /// How the transfer ends.
    #[serde(skip_serializing_if = "is_default")]
    pub ending: Ending,
    /// How many connections there are, one after the other.
    #[serde(skip_serializing_if = "is_default")]
    pub rounds: Rounds,
    /// The endpoint that connects.
    pub client: Endpoint,
    /// The endpoint that listens.
    pub server: Endpoint,
    /// Kernel knobs, for the hosts where they differ from [`Knobs::default`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<Host, Knobs>,
    /// The links that differ from [`Link::default`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<LinkId, Link>,
    /// What happens to paths meanwhile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What a run of this case showed, where it was saved for that. Not part of the test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Record>,
}

impl Default for Case {
    fn default() -> Case {
        Case {
            format: FORMAT,
            seed: Seed::default(),
            topology: Topology::default(),
            family: Family::V4,
            address: Address::Near,
            bound: false,
            refusals: 0,
            cpus: 1,
            ending: Ending::default(),
            rounds: Rounds::default(),
            client: Endpoint::default(),
            server: Endpoint::default(),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            events: Vec::new(),
            finding: None,
        }
    }
}

impl Case {
    /// The knobs of `host`.
    pub fn knobs(&self, host: Host) -> Knobs {
        self.hosts.get(&host).cloned().unwrap_or_default()
    }

    /// The link `id`.
    pub fn link(&self, id: LinkId) -> Link {
        self.links.get(&id).cloned().unwrap_or_default()
    }

    /// Whether the packets of the link `id` go through user space: it is impaired, and not by the kernel, or an event
    /// blocks it.
    pub fn is_carried(&self, id: LinkId) -> bool {
        let blocked = |event: &Event| matches!(event.what, Happening::Block { link, .. } if link == id);
        let link = self.link(id);
        link.is_impaired() && link.backend == Backend::UserSpace || self.events.iter().any(blocked)
    }

    /// Whether all links on the way have the same MTU, so that no packet is too big for one of them.
    pub fn has_one_mtu(&self) -> bool {
        let mut mtus = self.path().into_iter().map(|id| self.link(id).mtu);
        mtus.next().is_none_or(|first| mtus.all(|mtu| mtu == first))
    }

    /// Whether the kernel's network emulator impairs a link.
    pub fn has_netem(&self) -> bool {
        self.links.values().any(|link| link.backend == Backend::Netem)
    }

    /// Whether client and server are on the same host.
    pub fn is_loopback(&self) -> bool {
        self.client.host == self.server.host
    }

    /// The host whose address the client connects to where the server only stands in for it ([`Address::Beyond`]): the
    /// last one in the direction from the client to the server. `None` if there is none beyond the server.
    pub fn beyond(&self) -> Option<Host> {
        let last = match self.client.host.cmp(&self.server.host) {
            std::cmp::Ordering::Less => Host::Ns4,
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => Host::Ns1,
        };
        (self.topology == Topology::Chain && self.server.host != last).then_some(last)
    }

    /// The links that the connection crosses, from the client to the server: with several paths all of them.
    pub fn path(&self) -> Vec<LinkId> {
        if self.topology != Topology::Chain {
            return self.topology.links().to_vec();
        }
        let (client, server) = (self.client.host, self.server.host);
        let mut links: Vec<LinkId> = LinkId::CHAIN
            .into_iter()
            .filter(|link| link.left() >= client.min(server) && link.right() <= client.max(server))
            .collect();
        if client > server {
            links.reverse();
        }
        links
    }

    /// The links that the connection's first subflow crosses: all of [`Case::path`] where there is only one way.
    pub fn first_way(&self) -> Vec<LinkId> {
        let further = self.topology.ways().get(1..).unwrap_or_default();
        self.path().into_iter().filter(|link| !further.contains(link)).collect()
    }

    /// The endpoints that the path manager of `host` gets, including those that events add.
    pub fn pm_endpoints(&self, host: Host) -> impl Iterator<Item = PmEndpoint> {
        let added = self.events.iter().filter_map(move |event| match event.what {
            Happening::Add { host: whose, endpoint } if whose == host => Some(endpoint),
            _ => None,
        });
        self.knobs(host).pm.endpoints.into_iter().chain(added)
    }

    /// Whether an event takes the first subflow from a connection.
    pub fn loses_its_first(&self, what: &Happening) -> bool {
        let Some(first) = self.topology.ways().first() else { return false };
        match *what {
            Happening::Remove { link, .. } | Happening::Destroy { link, .. } => link == *first,
            Happening::Flush { host } => self.pm_endpoints(host).any(|endpoint| endpoint.link == *first),
            _ => false,
        }
    }

    /// The direction in which packets from the client to the server cross the links.
    pub fn client_direction(&self) -> Direction {
        if self.client.host <= self.server.host { Direction::Forward } else { Direction::Backward }
    }

    /// The protocols of both endpoints.
    pub fn pairing(&self) -> Pairing {
        Pairing { client: self.client.protocol, server: self.server.protocol }
    }

    /// Whether both endpoints ask for MPTCP.
    pub fn is_mptcp(&self) -> bool {
        self.client.protocol == Protocol::Mptcp && self.server.protocol == Protocol::Mptcp
    }
}

/// The address family of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
    /// IPv4 on the wire, IPv6 sockets with v4-mapped addresses (`::ffff:10.0.1.1`) at both ends.
    V4Mapped,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 3] = [Family::V4, Family::V6, Family::V4Mapped];
}

/// Which of the server's addresses the client connects to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    /// The one on the device that faces the client; 127.0.0.1 or ::1 where both are on one host.
    #[default]
    Near,
    /// The one on the device that faces away from the client, if there is one; else as [`Address::Near`]. On one
    /// host: the address of its first device.
    Far,
    /// One of the host beyond the server, for which the server stands in: its host is a router on the way there, and takes
    /// the connection by transparent proxying.
    Beyond,
}

/// What a run of a saved case showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The verdict, in words.
    pub verdict: String,
    /// What groups findings: the verdict and what it looked like.
    pub signature: String,
    /// The kernel that the case ran on: release and version, as `uname -rv` shows them.
    pub kernel: String,
    /// The world that it ran in.
    pub world: String,
    /// The program that was that kernel, where it was a file of its own. Another program is another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<KernelProgram>,
    /// In how many of how many runs of this very case the finding showed, such as `10 of 10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// What is known about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The program of a kernel that runs as a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KernelProgram {
    /// What `whitewater kernel list` calls it.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

/// For `skip_serializing_if`: a case file names only what differs from the plainest case.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
