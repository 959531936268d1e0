//! Links at work: what carries the packets of a link, and what is done to them on the way.

mod batch;
mod capture;
pub mod conduct;
pub mod engine;
pub mod holding;
pub mod identity;
pub mod log;
pub mod options;
pub mod packet;
pub mod pipeline;
mod relay;
pub mod rewrite;
mod sabotage;
#[cfg(test)]
mod sample;
pub mod seen;
pub mod stage;
mod trouble;

pub use identity::CELL;
pub use log::LinkLog;
pub use relay::{Relay, RelayOptions};

use std::os::fd::OwnedFd;

use crate::case::{Link, LinkId};

/// A link ready to carry packets: what the case says of it, and the kernel's ends of it.
#[derive(Debug)]
pub struct Wiring {
    /// Which link.
    pub id: LinkId,
    /// What the case says of it.
    pub link: Link,
    /// Its ends.
    pub carrier: Carrier,
}

/// What carries the packets of a link. All descriptors are non-blocking and deal in Ethernet frames.
#[derive(Debug)]
pub enum Carrier {
    /// A veth pair: the kernel carries the packets by itself. The packet socket on its left device sees all that pass,
    /// for the packet log.
    Veth {
        /// An AF_PACKET socket bound to the device at the left end, for capture only.
        capture: Option<OwnedFd>,
    },
    /// A TAP device at each end (IFF_TAP | IFF_NO_PI): a frame read here was sent there.
    Tap {
        /// The device of the left host.
        left: OwnedFd,
        /// The device of the right host.
        right: OwnedFd,
    },
    /// A veth pair at each end whose far side lies in a namespace of ours, with an AF_PACKET socket on it.
    Packet {
        /// The socket on the far side of the left host's pair.
        left: OwnedFd,
        /// The socket on the far side of the right host's pair.
        right: OwnedFd,
    },
}
