//! What happens to paths while a transfer runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Host, LinkId, PmEndpoint};

/// Something that happens once, during the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub when: Moment,
    /// What.
    #[serde(rename = "do")]
    pub what: Happening,
}

/// A moment of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Moment {
    /// Once the server has read this many bytes of the client's.
    Client(u64),
    /// Once the client has read this many bytes of the server's.
    Server(u64),
    /// So long after the endpoints were started.
    After(#[serde(with = "humantime_serde")] Duration),
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Happening {
    /// Nothing passes a link in either direction, for a while.
    Block {
        /// The link.
        link: LinkId,
        /// For how long.
        #[serde(rename = "for", with = "humantime_serde")]
        lasts: Duration,
    },
    /// The device at the left end of a path is down, for a while; then its addresses and routes are back.
    Down {
        /// The path.
        link: LinkId,
        /// For how long.
        #[serde(rename = "for", with = "humantime_serde")]
        lasts: Duration,
    },
    /// A path manager gets an endpoint.
    Add {
        /// Whose.
        host: Host,
        /// The endpoint.
        endpoint: PmEndpoint,
    },
    /// A path manager loses an endpoint, and with it the subflows from it (RM_ADDR). Where it is that of the first path, the
    /// client's first subflow goes, whether or not there is such an endpoint. Without effect where that would leave no
    /// subflow.
    Remove {
        /// Whose.
        host: Host,
        /// The endpoint's link.
        link: LinkId,
    },
    /// A path manager loses all its endpoints at once.
    Flush {
        /// Whose.
        host: Host,
    },
    /// An endpoint with `subflow` makes subflows to every address of the peer from now on, or no longer: those from it are
    /// made anew. Without effect where there is no such endpoint.
    Fullmesh {
        /// Whose.
        host: Host,
        /// The endpoint's link; not the first path.
        link: LinkId,
        /// Whether it does from now on.
        on: bool,
    },
    /// A path manager in user space ends the subflows from its address on a link, and says nothing about it.
    Destroy {
        /// Whose.
        host: Host,
        /// The link.
        link: LinkId,
    },
    /// An endpoint becomes a backup, or none any more (MP_PRIO). Without effect where there is no such endpoint.
    Backup {
        /// Whose.
        host: Host,
        /// The endpoint's link.
        link: LinkId,
        /// Whether it is one from now on.
        on: bool,
    },
}

impl Happening {
    /// The link that it is about, where it is about one.
    pub fn link(&self) -> Option<LinkId> {
        match *self {
            Happening::Block { link, .. }
            | Happening::Down { link, .. }
            | Happening::Remove { link, .. }
            | Happening::Fullmesh { link, .. }
            | Happening::Destroy { link, .. }
            | Happening::Backup { link, .. } => Some(link),
            Happening::Add { endpoint, .. } => Some(endpoint.link),
            Happening::Flush { .. } => None,
        }
    }

    /// The host whose path manager it is about.
    pub fn host(&self) -> Option<Host> {
        match *self {
            Happening::Block { .. } | Happening::Down { .. } => None,
            Happening::Add { host, .. }
            | Happening::Remove { host, .. }
            | Happening::Flush { host }
            | Happening::Fullmesh { host, .. }
            | Happening::Destroy { host, .. }
            | Happening::Backup { host, .. } => Some(host),
        }
    }

    /// Whether it ends subflows.
    pub fn retires(&self) -> bool {
        matches!(self, Happening::Remove { .. } | Happening::Flush { .. } | Happening::Destroy { .. })
    }

    /// How long it keeps packets from a link.
    pub fn outage(&self) -> Option<Duration> {
        match self {
            Happening::Block { lasts, .. } | Happening::Down { lasts, .. } => Some(*lasts),
            _ => None,
        }
    }

    /// The link that it is about, to change it.
    pub fn link_mut(&mut self) -> Option<&mut LinkId> {
        match self {
            Happening::Block { link, .. }
            | Happening::Down { link, .. }
            | Happening::Remove { link, .. }
            | Happening::Fullmesh { link, .. }
            | Happening::Destroy { link, .. }
            | Happening::Backup { link, .. } => Some(link),
            Happening::Add { endpoint, .. } => Some(&mut endpoint.link),
            Happening::Flush { .. } => None,
        }
    }
}
