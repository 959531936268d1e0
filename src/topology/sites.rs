//! Hosts and wires while they are built.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::plan::{Kind, Plan};
use super::settings::{self, Setting};
use super::{Side, layout, netem};
use crate::case::{Host, LinkId};
use crate::link::{Carrier, Wiring};
use crate::net::device::{self, Device, Feature, Switches};
use crate::net::namespace::Namespace;
use crate::net::netlink::{Netlink, Request};
use crate::net::{NetError, address, packet, sysctl, transparent};

/// How many frames wait for the link at a TAP device. With the kernel's 1000 a fast sender loses some.
const TAP_QUEUE: u32 = 20_000;

/// How long devices and addresses may take to come up. They need some milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The rest after the first look at whether they are, twice as long after each further one, up to [`READY_POLL_MAX`].
const READY_POLL_MIN: Duration = Duration::from_micros(50);
/// The longest rest between two looks.
const READY_POLL_MAX: Duration = Duration::from_millis(1);

/// How error messages call the namespace with the far sides of veth pairs.
const WIRE: &str = "wire";

/// A namespace while it is furnished.
struct Site {
    namespace: Namespace,
    netlink: Netlink,
    switches: Switches,
    /// What had to be opened inside: TAP devices, and packet sockets that are not bound yet.
    carriers: BTreeMap<(LinkId, Side), OwnedFd>,
}

impl Site {
    /// Makes a namespace, leaves the calling thread in it, and sets `settings` there.
    fn new(name: &str, settings: Vec<Setting>) -> Result<Site, NetError> {
        let namespace = Namespace::unshare(name)?;
        for (key, value) in settings {
            sysctl::set(key, &value).map_err(|error| error.on(name))?;
        }
        let netlink = Netlink::open(name)?;
        let switches = Switches::open().map_err(|error| error.on(name))?;
        Ok(Site { namespace, netlink, switches, carriers: BTreeMap::new() })
    }

    /// Makes a host, with the descriptors of its links.
    fn host(plan: &Plan<'_>, host: Host) -> Result<Site, NetError> {
        let name = host.to_string();
        let mut site = Site::new(&name, settings::of_host(plan.case.topology.is_router(host), &plan.case.knobs(host)))?;
        for (link, side) in plan.ends(host) {
            let carrier = match plan.kind(link) {
                Kind::Tap => device::tap(&plan.device(link, side)),
                Kind::Veth if plan.capture && side == Side::Left => packet::open_capture(),
                Kind::Veth | Kind::Packet => continue,
            };
            site.carriers.insert((link, side), carrier.map_err(|error| error.on(&name))?);
        }
        Ok(site)
    }

    /// Makes the namespace for the far sides of veth pairs.
    fn wire(plan: &Plan<'_>) -> Result<Site, NetError> {
        let mut site = Site::new(WIRE, settings::of_wire())?;
        for link in plan.links().filter(|link| plan.kind(*link) == Kind::Packet) {
            for side in Side::BOTH {
                site.carriers.insert((link, side), packet::open_far_end().map_err(|error| error.on(WIRE))?);
            }
        }
        Ok(site)
    }

    fn switch_off(&self, device: &Device, features: &[Feature]) -> Result<(), NetError> {
        for feature in features {
            self.switches.set(&device.name, *feature, false).map_err(|error| error.on(self.namespace.name()))?;
        }
        Ok(())
    }
}

/// All namespaces of a topology: the hosts in order, and behind them the wire if there is one.
pub(super) struct Sites(Vec<Site>);

impl Sites {
    /// Makes the namespaces. The calling thread ends up in the last of them.
    pub(super) fn found(plan: &Plan<'_>) -> Result<Sites, NetError> {
        let hosts = plan.hosts().map(|host| Site::host(plan, host));
        let wire = plan.has_wire().then(|| Site::wire(plan));
        hosts.chain(wire).collect::<Result<_, _>>().map(Sites)
    }

    /// Makes all devices and routes, and brings everything up: one batch for each namespace, left to right, since a link is
    /// made from its left end.
    pub(super) fn make_devices(&mut self, plan: &Plan<'_>) -> Result<(), NetError> {
        for host in plan.hosts() {
            let mut batch = self.devices(plan, host);
            batch.push(device::loopback_up());
            for (link, side) in plan.ends(host) {
                batch.extend(attach(plan, link, side));
            }
            for (link, (way, side)) in layout::remote(plan.case.topology, host) {
                let gateways = layout::addresses(way, side.opposite());
                for ((network, prefix), (gateway, _)) in layout::networks(link).into_iter().zip(gateways) {
                    batch.push(address::route(&plan.device(way, side), network, prefix, gateway));
                }
            }
            for (way, table) in layout::ways_by_source(plan.case.topology, host) {
                batch.extend(by_source(plan, way, table));
            }
            if let Some(target) = layout::diverted(plan.case).filter(|_| host == plan.case.server.host) {
                batch.extend(transparent::routes(target));
            }
            self.0[host.index()].netlink.carry_out(batch)?;
        }
        if let Some(wire) = self.0.get_mut(plan.wire_index()) {
            let ends: Vec<(LinkId, Side)> = wire.carriers.keys().copied().collect();
            let batch = ends.into_iter().map(|(link, side)| device::up(&plan.wire_device(link, side)));
            wire.netlink.carry_out(batch.collect())?;
        }
        Ok(())
    }

    /// What makes those devices that are made from `host`.
    fn devices(&self, plan: &Plan<'_>, host: Host) -> Vec<Request> {
        let request = |(link, side): (LinkId, Side)| {
            let device = plan.device(link, side);
            match plan.kind(link) {
                Kind::Veth if side == Side::Right => None,
                Kind::Veth => {
                    let far = self.0[link.right().index()].namespace.as_fd();
                    Some(device::veth(&device, &plan.device(link, Side::Right), far))
                }
                Kind::Tap => Some(device::shape_tap(&device, TAP_QUEUE)),
                Kind::Packet => {
                    let far = self.0[plan.wire_index()].namespace.as_fd();
                    Some(device::veth(&device, &plan.wire_device(link, side), far))
                }
            }
        };
        plan.ends(host).filter_map(request).collect()
    }

    /// Switches off what the case wants off, and what would put frames on a wire that no wire can carry: longer than the MTU,
    /// or without checksum. What the case leaves on stays as the kernel has it (a veth does GRO only when told to).
    pub(super) fn set_offloads(&self, plan: &Plan<'_>) -> Result<(), NetError> {
        for (link, side) in plan.links().flat_map(|link| Side::BOTH.map(|side| (link, side))) {
            let site = &self.0[side.host(link).index()];
            if plan.kind(link) == Kind::Packet {
                let all = [Feature::Tso, Feature::Gso, Feature::Gro, Feature::TxChecksum];
                site.switch_off(&plan.device(link, side), &all)?;
                self.0[plan.wire_index()].switch_off(&plan.wire_device(link, side), &all)?;
                continue;
            }
            let wanted = plan.offloads(link, side);
            let switches = [(Feature::Tso, wanted.tso), (Feature::Gso, wanted.gso), (Feature::Gro, wanted.gro)];
            for (feature, _) in switches.into_iter().filter(|(_, on)| !on) {
                site.switch_off(&plan.device(link, side), &[feature])?;
            }
        }
        Ok(())
    }

    /// Hands the links over, each with its descriptors.
    pub(super) fn wire_up(&mut self, plan: &Plan<'_>) -> Result<Vec<Wiring>, NetError> {
        let mut wirings = Vec::new();
        for id in plan.links() {
            let carrier = match plan.kind(id) {
                Kind::Veth => {
                    let capture = self.0[id.left().index()].carriers.remove(&(id, Side::Left));
                    if let Some(socket) = &capture {
                        let device = plan.device(id, Side::Left);
                        packet::bind(socket, &device).map_err(|error| error.on(&id.left().to_string()))?;
                    }
                    Carrier::Veth { capture }
                }
                Kind::Tap => Carrier::Tap {
                    left: taken(&mut self.0[id.left().index()], id, Side::Left),
                    right: taken(&mut self.0[id.right().index()], id, Side::Right),
                },
                Kind::Packet => {
                    let [left, right] = Side::BOTH.map(|side| taken(&mut self.0[plan.wire_index()], id, side));
                    for (socket, side) in [(&left, Side::Left), (&right, Side::Right)] {
                        packet::bind(socket, &plan.wire_device(id, side)).map_err(|error| error.on(WIRE))?;
                    }
                    Carrier::Packet { left, right }
                }
            };
            wirings.push(Wiring { id, link: plan.link(id), carrier });
        }
        Ok(wirings)
    }

    /// Waits until every device carries packets and every host knows its own addresses.
    pub(super) fn wait_until_ready(&mut self, plan: &Plan<'_>) -> Result<(), NetError> {
        let deadline = Instant::now() + READY_WITHIN;
        for (index, site) in self.0.iter_mut().enumerate() {
            let ends: Vec<(LinkId, Side)> = match plan.hosts().nth(index) {
                Some(host) => plan.ends(host).collect(),
                None => plan
                    .links()
                    .filter(|link| plan.kind(*link) == Kind::Packet)
                    .flat_map(|link| Side::BOTH.map(|side| (link, side)))
                    .collect(),
            };
            let mut rest = READY_POLL_MIN;
            while let Some(waiting) = first_unready(site, plan, &ends, index == plan.wire_index())? {
                if Instant::now() > deadline {
                    return Err(NetError::new(
                        format!("wait {READY_WITHIN:?} until it carries packets"),
                        Errno::ETIMEDOUT,
                    )
                    .on(site.namespace.name())
                    .device(&waiting));
                }
                thread::sleep(rest);
                rest = (rest * 2).min(READY_POLL_MAX);
            }
        }
        Ok(())
    }

    /// What a topology keeps.
    pub(super) fn into_parts(self) -> (Vec<Namespace>, Vec<Mutex<Netlink>>) {
        self.0.into_iter().map(|site| (site.namespace, Mutex::new(site.netlink))).unzip()
    }
}

/// Takes a descriptor that was opened when the site was made.
fn taken(site: &mut Site, link: LinkId, side: Side) -> OwnedFd {
    site.carriers.remove(&(link, side)).expect("a site opens the descriptors of all its links when it is made")
}

/// Brings up a host's device with its addresses, and tells it where the other end is.
fn attach(plan: &Plan<'_>, link: LinkId, side: Side) -> Vec<Request> {
    let device = plan.device(link, side);
    let mut requests = vec![device::up(&device)];
    if plan.case.has_netem() {
        // A netem takes what TCP hands down in one piece for one packet, and no device cuts it before.
        requests.insert(0, device::one_segment(&device));
    }
    requests.extend(netem::impair(plan, link, side));
    for (own, prefix) in layout::addresses(link, side) {
        requests.push(address::address(&device, own, prefix));
    }
    let peer = plan.device(link, side.opposite()).mac;
    for (far, _) in layout::addresses(link, side.opposite()) {
        requests.push(address::neighbour(&device, far, peer));
    }
    requests
}

/// Sends what comes from the left end of `way` out by it.
fn by_source(plan: &Plan<'_>, way: LinkId, table: u8) -> Vec<Request> {
    let device = plan.device(way, Side::Left);
    let gateways = layout::addresses(way, Side::Right);
    let pairs = layout::addresses(way, Side::Left).into_iter().zip(gateways);
    pairs
        .flat_map(|((own, _), (gateway, _))| {
            [address::default_route(&device, gateway, table), address::rule_by_source(own, table)]
        })
        .collect()
}

/// The name of the first device of a site that does not carry packets yet, or whose IPv6 address is not known yet.
fn first_unready(
    site: &mut Site,
    plan: &Plan<'_>,
    ends: &[(LinkId, Side)],
    is_wire: bool,
) -> Result<Option<String>, NetError> {
    let device = |link, side| if is_wire { plan.wire_device(link, side) } else { plan.device(link, side) };
    let mut questions: Vec<_> = ends.iter().map(|(link, side)| device::readiness(device(*link, *side).index)).collect();
    if !is_wire {
        questions.extend(ends.iter().map(|(link, side)| address::locality(layout::v6(*link, *side).into())));
    }
    let answers = site.netlink.ask(questions)?;
    for (place, (link, side)) in ends.iter().enumerate() {
        let carries =
            answers[place].as_ref().is_some_and(|answer| device::is_ready(answer, plan.kind(*link) == Kind::Tap));
        let known = is_wire || answers[place + ends.len()].as_ref().is_some_and(address::is_local);
        if !carries || !known {
            return Ok(Some(device(*link, *side).name));
        }
    }
    Ok(None)
}
