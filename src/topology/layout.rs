//! Names, addresses and routes of a topology: pure data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::case::{Address, Case, Family, Host, LinkId, Topology};
use crate::net::device::Device;

/// The prefix lengths of the links' networks.
pub(super) const PREFIXES: (u8, u8) = (24, 64);

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Towards ns1.
    Left,
    /// Towards ns4.
    Right,
}

impl Side {
    /// Both ends.
    pub const BOTH: [Side; 2] = [Side::Left, Side::Right];

    /// The other end.
    pub fn opposite(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    /// The end of `link` at which `host` is.
    pub fn of(host: Host, link: LinkId) -> Side {
        if link.left() == host { Side::Left } else { Side::Right }
    }

    /// The host at this end of `link`.
    pub fn host(self, link: LinkId) -> Host {
        match self {
            Side::Left => link.left(),
            Side::Right => link.right(),
        }
    }
}

/// The last part of the address at an end of a link. On the last link they are swapped, as in the kernel's selftest.
fn last_part(link: LinkId, side: Side) -> u8 {
    if (side == Side::Left) == (link != LinkId::Ns3Ns4) { 1 } else { 2 }
}

/// The number of a link in addresses: from 1 in the chain, from 11 for the links side by side.
fn number(link: LinkId) -> u8 {
    let index = link.index() as u8;
    if link.is_path() { index - LinkId::CHAIN.len() as u8 + 11 } else { index + 1 }
}

/// The IPv4 address at an end of a link.
pub fn v4(link: LinkId, side: Side) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, number(link), last_part(link, side))
}

/// The IPv6 address at an end of a link.
pub fn v6(link: LinkId, side: Side) -> Ipv6Addr {
    Ipv6Addr::new(0xdead, 0xbeef, number(link).into(), 0, 0, 0, 0, last_part(link, side).into())
}

/// Both addresses at an end of a link, each with its prefix length.
pub(super) fn addresses(link: LinkId, side: Side) -> [(IpAddr, u8); 2] {
    [(v4(link, side).into(), PREFIXES.0), (v6(link, side).into(), PREFIXES.1)]
}

/// The networks of a link, each with its prefix length.
pub(super) fn networks(link: LinkId) -> [(IpAddr, u8); 2] {
    let v4 = Ipv4Addr::new(10, 0, number(link), 0);
    let v6 = Ipv6Addr::new(0xdead, 0xbeef, number(link).into(), 0, 0, 0, 0, 0);
    [(v4.into(), PREFIXES.0), (v6.into(), PREFIXES.1)]
}

/// The name of the device at an end of a link: `ns2eth3` is ns2's device towards ns3, `ns1path2` that of ns1 on the second
/// path.
pub fn device_name(link: LinkId, side: Side) -> String {
    if link.is_path() {
        return format!("{}{link}", side.host(link));
    }
    format!("{}eth{}", side.host(link), side.opposite().host(link).index() + 1)
}

/// The device at an end of a link. Its index is unlike that of any other device.
pub(super) fn device(link: LinkId, side: Side, mtu: u16) -> Device {
    Device {
        name: device_name(link, side),
        index: 10 + 2 * u32::from(number(link)) + side as u32,
        mac: [2, 0, 0, 0, number(link), side.host(link).index() as u8 + 1],
        mtu: mtu.into(),
    }
}

/// The far side of the veth pair at an end of a link that packet sockets carry.
pub(super) fn wire_device(link: LinkId, side: Side, mtu: u16) -> Device {
    let device = device(link, side, mtu);
    let [.., link_number, host_number] = device.mac;
    Device {
        name: format!("wire{}", device.name),
        index: device.index + 100,
        mac: [2, 0, 0, 1, link_number, host_number],
        mtu: device.mtu,
    }
}

/// The links of a host, each with the side at which the host is, from left to right.
pub(super) fn ends(topology: Topology, host: Host) -> impl Iterator<Item = (LinkId, Side)> {
    let both = topology.links().iter().flat_map(|link| Side::BOTH.map(|side| (*link, side)));
    both.filter(move |(link, side)| side.host(*link) == host)
}

/// The links that `host` is not on, each with the end through which the host reaches it: if there are several, the first.
pub(super) fn remote(topology: Topology, host: Host) -> impl Iterator<Item = (LinkId, (LinkId, Side))> {
    topology.links().iter().filter_map(move |&link| {
        let side = match () {
            () if link.left() > host => Side::Left,
            () if link.right() < host => Side::Right,
            () => return None,
        };
        let way = ends(topology, host).find(|(_, at)| *at == side)?;
        Some((link, way))
    })
}

/// The links side by side by which `host` sends what comes from its address there, each with the number of the table that
/// says so: so a subflow between any two addresses keeps to one path, that of the left host's address, in both directions.
pub(super) fn ways_by_source(topology: Topology, host: Host) -> impl Iterator<Item = (LinkId, u8)> {
    let ways = topology.ways().iter().filter(move |way| way.left() == host && topology.paths() > 1);
    ways.map(|way| (*way, 100 + number(*way)))
}

/// The address that the client of `case` connects to.
pub fn connect_target(case: &Case) -> IpAddr {
    let (client, server) = (case.client.host, case.server.host);
    // A host's ends come from left to right: the first faces left, where it has two.
    let faces_client = |side: Side| if client < server { side == Side::Right } else { side == Side::Left };
    let ends = |host| ends(case.topology, host);
    let end = match (case.is_loopback(), case.address) {
        (_, Address::Beyond) => case.beyond().and_then(|host| ends(host).next()),
        (true, Address::Near) => None,
        (true, Address::Far) => ends(server).next(),
        (false, Address::Near) => ends(server).find(|(_, side)| faces_client(*side)),
        (false, Address::Far) => ends(server).find(|(_, side)| !faces_client(*side)).or_else(|| ends(server).next()),
    };
    match (case.family, end) {
        (Family::V4, None) => Ipv4Addr::LOCALHOST.into(),
        (Family::V4, Some((link, side))) => v4(link, side).into(),
        (Family::V6, None) => Ipv6Addr::LOCALHOST.into(),
        (Family::V6, Some((link, side))) => v6(link, side).into(),
        (Family::V4Mapped, None) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        (Family::V4Mapped, Some((link, side))) => v4(link, side).to_ipv6_mapped().into(),
    }
}

/// The address, of another host, that the server of `case` takes connections for.
pub(super) fn diverted(case: &Case) -> Option<IpAddr> {
    (case.address == Address::Beyond).then(|| connect_target(case).to_canonical())
}

/// The address that the server of `case` listens on: every one of its host's, in the family of its socket, or the one that is
/// connected to.
pub fn listen_address(case: &Case) -> IpAddr {
    match case.family {
        _ if case.bound => connect_target(case),
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 | Family::V4Mapped => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(client: Host, server: Host, family: Family, address: Address) -> String {
        let mut case = Case { family, address, ..Case::default() };
        case.client.host = client;
        case.server.host = server;
        connect_target(&case).to_string()
    }

    #[test]
    fn devices_and_addresses_are_those_of_the_kernel_selftest() {
        let ends: Vec<(String, String, String)> = LinkId::CHAIN
            .into_iter()
            .flat_map(|link| Side::BOTH.map(|side| (link, side)))
            .map(|(link, side)| (device_name(link, side), v4(link, side).to_string(), v6(link, side).to_string()))
            .collect();
        let expected = [
            ("ns1eth2", "10.0.1.1", "dead:beef:1::1"),
            ("ns2eth1", "10.0.1.2", "dead:beef:1::2"),
            ("ns2eth3", "10.0.2.1", "dead:beef:2::1"),
            ("ns3eth2", "10.0.2.2", "dead:beef:2::2"),
            ("ns3eth4", "10.0.3.2", "dead:beef:3::2"),
            ("ns4eth3", "10.0.3.1", "dead:beef:3::1"),
        ];
        assert_eq!(ends, expected.map(|(name, v4, v6)| (name.into(), v4.into(), v6.into())));
    }

    #[test]
    fn every_device_and_mac_is_unlike_all_others() {
        let mut devices = Vec::new();
        for link in LinkId::CHAIN.into_iter().chain(LinkId::PATHS) {
            for side in Side::BOTH {
                devices.push(device(link, side, 1500));
                devices.push(wire_device(link, side, 1500));
            }
        }
        for (place, one) in devices.iter().enumerate() {
            assert!(one.name.len() < 16, "{} is too long for a device", one.name);
            for other in &devices[place + 1..] {
                assert!(
                    one.index != other.index && one.mac != other.mac && one.name != other.name,
                    "{one:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn every_host_has_a_way_to_every_link() {
        for topology in [Topology::Chain, Topology::Parallel(3), Topology::Diamond] {
            for host in topology.hosts().iter().copied() {
                let near: Vec<LinkId> = ends(topology, host).map(|(link, _)| link).collect();
                let far: Vec<LinkId> = remote(topology, host).map(|(link, _)| link).collect();
                assert_eq!(near.len() + far.len(), topology.links().len());
                for (link, (way, side)) in remote(topology, host) {
                    assert_eq!(side.host(way), host);
                    assert_eq!(link.place() > way.place(), side == Side::Left, "{host} goes to {link} by {way}");
                }
            }
        }
    }

    #[test]
    fn the_near_address_faces_the_client_and_the_far_one_faces_away() {
        use {Address::*, Family::*, Host::*};
        assert_eq!(target(Ns1, Ns2, V4, Near), "10.0.1.2");
        assert_eq!(target(Ns1, Ns2, V4, Far), "10.0.2.1");
        assert_eq!(target(Ns4, Ns2, V6, Near), "dead:beef:2::1");
        assert_eq!(target(Ns4, Ns2, V6, Far), "dead:beef:1::2");
        assert_eq!(target(Ns1, Ns4, V4Mapped, Near), "::ffff:10.0.3.1");
        assert_eq!(target(Ns1, Ns4, V4Mapped, Far), "::ffff:10.0.3.1");
        assert_eq!(target(Ns4, Ns1, V6, Far), "dead:beef:1::1");
        assert_eq!(target(Ns3, Ns3, V4, Near), "127.0.0.1");
        assert_eq!(target(Ns3, Ns3, V4, Far), "10.0.2.2");
        assert_eq!(target(Ns4, Ns4, V6, Near), "::1");
        assert_eq!(target(Ns4, Ns4, V4Mapped, Near), "::ffff:127.0.0.1");
        assert_eq!(target(Ns4, Ns4, V4Mapped, Far), "::ffff:10.0.3.1");
    }

    #[test]
    fn an_address_beyond_is_that_of_the_last_host_on_the_way() {
        use {Address::*, Family::*, Host::*};
        assert_eq!(target(Ns1, Ns2, V4, Beyond), "10.0.3.1");
        assert_eq!(target(Ns2, Ns3, V6, Beyond), "dead:beef:3::1");
        assert_eq!(target(Ns4, Ns2, V4Mapped, Beyond), "::ffff:10.0.1.1");
    }
}
