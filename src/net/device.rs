//! Devices: making them, bringing them up, and telling when they carry packets.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, State, Stats64,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::netlink::{Netlink, Request};
use super::{NetError, features};
pub use crate::sys::ethtool::Feature;
use crate::sys::{ethtool, tun};

/// The index that every loopback device has.
const LOOPBACK: u32 = 1;

/// A MAC address.
pub type Mac = [u8; 6];

/// What a device is called, and what it can be asked for before it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name: `ns1eth2`.
    pub name: String,
    /// Its interface index; the two ends of a veth pair need different ones to come up without delay.
    pub index: u32,
    /// Its address.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u32,
}

/// Makes a veth pair: `near` in the namespace that is asked, `far` in `far_namespace`.
pub fn veth(near: &Device, far: &Device, far_namespace: BorrowedFd<'_>) -> Request {
    let mut peer = described(far);
    peer.attributes.push(LinkAttribute::NetNsFd(far_namespace.as_raw_fd()));
    let mut message = described(near);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        device: near.name.clone(),
        operation: format!("make a veth pair with {} (MTU {})", far.name, near.mtu),
    }
}

fn described(device: &Device) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = device.index;
    message.attributes = vec![
        LinkAttribute::IfName(device.name.clone()),
        LinkAttribute::Address(device.mac.to_vec()),
        LinkAttribute::Mtu(device.mtu),
    ];
    message
}

/// Makes a TAP device in the calling thread's namespace. It lives as long as the descriptor, which is non-blocking; a
/// frame read from it is one that the kernel sent. Its MAC address and MTU are not `device`'s yet: see [`shape_tap`].
pub fn tap(device: &Device) -> Result<OwnedFd, NetError> {
    tun::make_tap(&device.name, device.index)
        .map_err(|error| NetError::new("make a TAP device", error).device(&device.name).way_out(features::TUN_WAY_OUT))
}

/// Gives a TAP device its address, its MTU and a queue of `queue` frames: what finds it full is lost without a trace but a
/// counter.
pub fn shape_tap(device: &Device, queue: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = device.index;
    message.attributes = vec![
        LinkAttribute::Address(device.mac.to_vec()),
        LinkAttribute::Mtu(device.mtu),
        LinkAttribute::TxQueueLen(queue),
    ];
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
        device: device.name.clone(),
        operation: format!("set its address, the MTU to {} and its queue to {queue}", device.mtu),
    }
}

/// Has TCP hand its segments to a device one by one (GSO takes several for one until they reach the device).
pub fn one_segment(device: &Device) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = device.index;
    message.attributes = vec![LinkAttribute::GsoMaxSegs(1)];
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
        device: device.name.clone(),
        operation: "have TCP hand segments over one by one".into(),
    }
}

/// Brings a device up, without ARP and neighbour discovery: a device that may ask for neighbours also announces itself.
pub fn up(device: &Device) -> Request {
    // The kernel sets IFF_NOARP before it opens the device, so nothing is sent in between.
    let mut request = flags(device.index, LinkFlags::Up | LinkFlags::Noarp);
    request.device.clone_from(&device.name);
    request
}

/// Takes a device down. Its IPv6 addresses, its neighbours and its routes go.
pub fn down(device: &Device) -> Request {
    let mut request = flags(device.index, LinkFlags::Up);
    if let RouteNetlinkMessage::SetLink(message) = &mut request.message {
        message.header.flags = LinkFlags::empty();
    }
    request.device.clone_from(&device.name);
    "take it down".clone_into(&mut request.operation);
    request
}

/// Brings the loopback device up.
pub fn loopback_up() -> Request {
    let mut request = flags(LOOPBACK, LinkFlags::Up);
    "lo".clone_into(&mut request.device);
    request
}

fn flags(index: u32, flags: LinkFlags) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.header.change_mask = flags;
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
        device: String::new(),
        operation: "bring it up".into(),
    }
}

/// The question whether the device with this index carries packets; [`is_ready`] reads the answer.
pub fn readiness(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    RouteNetlinkMessage::GetLink(message)
}

/// Whether a device carries packets from now on.
///
/// IFF_RUNNING is not enough: it is set while the operational state is still unknown. A veth is ready once the kernel's
/// link watch has seen its carrier (IF_OPER_UP) and its first qdisc has replaced `noop`, which drops everything. A TAP
/// device has its carrier from the start, so the link watch may never look at it: its state stays unknown.
pub fn is_ready(answer: &RouteNetlinkMessage, carrier_from_start: bool) -> bool {
    let RouteNetlinkMessage::NewLink(message) = answer else { return false };
    let attribute = |wanted: &dyn Fn(&LinkAttribute) -> bool| message.attributes.iter().any(wanted);
    attribute(&|attribute| match attribute {
        LinkAttribute::OperState(state) => *state == State::Up || carrier_from_start && *state == State::Unknown,
        _ => false,
    }) && attribute(&|attribute| matches!(attribute, LinkAttribute::Qdisc(name) if name != "noop"))
}

/// The counters of every device of a namespace, by the device's name.
pub fn statistics(netlink: &mut Netlink) -> Result<Vec<(String, Stats64)>, NetError> {
    let answers = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(answers.into_iter().filter_map(named_statistics).collect())
}

fn named_statistics(answer: RouteNetlinkMessage) -> Option<(String, Stats64)> {
    let RouteNetlinkMessage::NewLink(message) = answer else { return None };
    let (mut name, mut statistics) = (None, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Stats64(stats) => statistics = Some(stats),
            _ => {}
        }
    }
    name.zip(statistics)
}

/// A handle to switch features of the devices of one namespace.
#[derive(Debug)]
pub struct Switches {
    socket: OwnedFd,
}

impl Switches {
    /// For the calling thread's namespace.
    pub fn open() -> Result<Switches, NetError> {
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map(|socket| Switches { socket })
            .map_err(|errno| NetError::new("open a socket for ethtool", errno))
    }

    /// Whether `feature` of `device` is on.
    pub fn get(&self, device: &str, feature: Feature) -> Result<bool, NetError> {
        ethtool::get(self.socket.as_fd(), device, feature)
            .map_err(|error| NetError::new(format!("read the feature {feature:?}"), error).device(device))
    }

    /// Switches `feature` of `device`.
    pub fn set(&self, device: &str, feature: Feature, on: bool) -> Result<(), NetError> {
        let word = if on { "on" } else { "off" };
        ethtool::set(self.socket.as_fd(), device, feature, on)
            .map_err(|error| NetError::new(format!("switch {feature:?} {word}"), error).device(device))
    }
}
