//! What is to be built for a case.

use super::{CarrierChoice, Options, Side, layout};
use crate::case::{Case, Host, Link, LinkId, Offloads};
use crate::net::device::Device;
use crate::net::features;

/// What carries a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Veth,
    Tap,
    Packet,
}

/// A case, and what its options leave open decided.
pub(super) struct Plan<'a> {
    pub(super) case: &'a Case,
    pub(super) capture: bool,
    impaired: Kind,
}

impl Plan<'_> {
    pub(super) fn new<'a>(case: &'a Case, options: &Options) -> Plan<'a> {
        let is_impaired = || case.topology.links().iter().any(|link| case.is_carried(*link));
        let impaired = match options.carrier {
            CarrierChoice::Packet => Kind::Packet,
            CarrierChoice::Auto if is_impaired() && features::can_tun().is_err() => Kind::Packet,
            CarrierChoice::Tap | CarrierChoice::Auto => Kind::Tap,
        };
        Plan { case, capture: options.capture, impaired }
    }

    /// The links to be built.
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.case.topology.links().iter().copied()
    }

    /// The hosts to be built, from left to right.
    pub(super) fn hosts(&self) -> impl Iterator<Item = Host> {
        self.case.topology.hosts().iter().copied()
    }

    /// The links of `host`, each with the side at which it is.
    pub(super) fn ends(&self, host: Host) -> impl Iterator<Item = (LinkId, Side)> {
        layout::ends(self.case.topology, host)
    }

    /// The place of the wire among the namespaces: behind the hosts.
    pub(super) fn wire_index(&self) -> usize {
        self.case.topology.hosts().len()
    }

    pub(super) fn link(&self, link: LinkId) -> Link {
        self.case.link(link)
    }

    /// What carries `link`.
    pub(super) fn kind(&self, link: LinkId) -> Kind {
        if self.case.is_carried(link) { self.impaired } else { Kind::Veth }
    }

    /// Whether any link has far ends in a namespace of their own.
    pub(super) fn has_wire(&self) -> bool {
        self.links().any(|link| self.kind(link) == Kind::Packet)
    }

    /// The device of a host.
    pub(super) fn device(&self, link: LinkId, side: Side) -> Device {
        layout::device(link, side, self.link(link).mtu)
    }

    /// The device that a packet socket stands behind.
    pub(super) fn wire_device(&self, link: LinkId, side: Side) -> Device {
        layout::wire_device(link, side, self.link(link).mtu)
    }

    /// The offloads of a host's device.
    pub(super) fn offloads(&self, link: LinkId, side: Side) -> Offloads {
        match side {
            Side::Left => self.link(link).left,
            Side::Right => self.link(link).right,
        }
    }
}
