//! Addresses, neighbours and routes: requests for [`super::netlink::Netlink::carry_out`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::device::{Device, Mac};
use super::netlink::Request;

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Gives `device` an address, without duplicate address detection, and the route to the address's network.
pub fn address(device: &Device, address: IpAddr, prefix: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.flags = AddressHeaderFlags::Nodad | AddressHeaderFlags::Permanent;
    message.header.index = device.index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    Request {
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        device: device.name.clone(),
        operation: format!("add address {address}/{prefix}"),
    }
}

/// Says for good where on the link of `device` an address is.
pub fn neighbour(device: &Device, address: IpAddr, mac: Mac) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = device.index;
    message.header.state = NeighbourState::Permanent;
    let destination = match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    };
    message.attributes =
        vec![NeighbourAttribute::Destination(destination), NeighbourAttribute::LinkLayerAddress(mac.to_vec())];
    Request {
        message: RouteNetlinkMessage::NewNeighbour(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        device: device.name.clone(),
        operation: format!("add neighbour {address}"),
    }
}

/// Sends what goes to `network` by way of `gateway`.
pub fn route(device: &Device, network: IpAddr, prefix: u8, gateway: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(network);
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(network.into()),
        RouteAttribute::Gateway(gateway.into()),
        RouteAttribute::Oif(device.index),
    ];
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        device: device.name.clone(),
        operation: format!("add a route to {network}/{prefix} via {gateway}"),
    }
}

/// Sends everything that a rule leads to `table` by way of `gateway`.
pub fn default_route(device: &Device, gateway: IpAddr, table: u8) -> Request {
    let network: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut request = route(device, network, 0, gateway);
    if let RouteNetlinkMessage::NewRoute(message) = &mut request.message {
        message.header.table = table;
        message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Destination(_)));
    }
    request.operation = format!("add a default route via {gateway} to table {table}");
    request
}

/// Leads what comes from `own` to the routes of `table`.
pub fn rule_by_source(own: IpAddr, table: u8) -> Request {
    let mut message = RuleMessage::default();
    message.header.family = family(own);
    message.header.src_len = if own.is_ipv4() { 32 } else { 128 };
    message.header.table = table;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::Source(own), RuleAttribute::Priority(table.into())];
    Request {
        message: RouteNetlinkMessage::NewRule(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        device: String::new(),
        operation: format!("add a rule from {own} to table {table}"),
    }
}

/// The question how a packet to `own`, an address of the host itself, would go; [`is_local`] reads the answer.
pub fn locality(own: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(own);
    message.header.destination_prefix_length = if own.is_ipv4() { 32 } else { 128 };
    message.attributes = vec![RouteAttribute::Destination(own.into())];
    RouteNetlinkMessage::GetRoute(message)
}

/// Whether the host takes packets to the address for its own (RTN_LOCAL): an IPv6 address is known as local only some time
/// after it was added, and packets to it are dropped until then (`Ip6InAddrErrors`).
pub fn is_local(answer: &RouteNetlinkMessage) -> bool {
    matches!(answer, RouteNetlinkMessage::NewRoute(message) if message.header.kind == RouteType::Local)
}
