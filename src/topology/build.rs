//! The network of a case, as its users see it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::paths::{self, PathManagers};
use super::plan::Plan;
use super::sites::Sites;
use super::{Options, Side, drops, layout, netem};
use crate::case::{Backend, Case, Direction, Happening, Host, LinkId};
use crate::link::Wiring;
use crate::net::namespace::{self, Namespace};
use crate::net::netlink::{Netlink, Request};
use crate::net::path_manager::PathManager;
use crate::net::path_manager::events::Events;
use crate::net::{NetError, device, softnet, transparent};

/// The network of a case. Dropping it, and what was opened in it, removes it.
#[derive(Debug)]
pub struct Topology {
    namespaces: Vec<Namespace>,
    /// One for each host, and one for the wire if there is one.
    netlinks: Vec<Mutex<Netlink>>,
    wirings: Vec<Wiring>,
    softnet: softnet::Drops,
    /// Devices that may drop packets by themselves: those that an event takes down, those at their other ends, and those
    /// behind a netem that flips bits, since the kernel drops a frame with a damaged type field.
    fragile: Vec<String>,
    /// The links of the topology.
    links: &'static [LinkId],
    /// Those that the case configures or changes.
    path_managers: PathManagers,
    path_manager_events: BTreeMap<Host, Events>,
}

impl Topology {
    /// The namespace of `host`.
    pub fn namespace(&self, host: Host) -> &Namespace {
        &self.namespaces[host.index()]
    }

    /// The links, from left to right, for [`crate::link`] to work on. The second call gives none.
    pub fn take_wirings(&mut self) -> Vec<Wiring> {
        std::mem::take(&mut self.wirings)
    }

    /// The path manager of `host`, if the case configures it or changes it.
    pub fn path_manager(&self, host: Host) -> Option<MutexGuard<'_, PathManager>> {
        Some(self.path_managers.get(&host)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The path manager events of `host`, if there may be more than one subflow.
    pub fn path_manager_events(&self, host: Host) -> Option<&Events> {
        self.path_manager_events.get(&host)
    }

    /// Removes all endpoints from the path managers, and with them the sockets that they listen on.
    pub fn dismiss_path_managers(&self) -> Result<(), NetError> {
        paths::dismiss(&self.path_managers)
    }

    /// Takes the device at the left end of a path down.
    pub fn take_down(&self, case: &Case, link: LinkId) -> Result<(), NetError> {
        self.carry_out(link.left(), paths::down(case, link))
    }

    /// Stops the kernel from impairing links. Packets under way keep their timing. Links in user space are healed by
    /// [`crate::link`].
    pub fn heal(&self, case: &Case) -> Result<(), NetError> {
        for (link, side) in self.links.iter().flat_map(|link| Side::BOTH.map(|side| (*link, side))) {
            self.carry_out(side.host(link), netem::heal(case, link, side).into_iter().collect())?;
        }
        Ok(())
    }

    /// Brings the device at the left end of a path up again, with its addresses and routes.
    pub fn bring_up(&self, case: &Case, link: LinkId) -> Result<(), NetError> {
        self.carry_out(link.left(), paths::up(case, link))
    }

    fn carry_out(&self, host: Host, requests: Vec<Request>) -> Result<(), NetError> {
        if requests.is_empty() {
            return Ok(());
        }
        self.netlinks[host.index()].lock().unwrap_or_else(PoisonError::into_inner).carry_out(requests)
    }

    /// What the devices have counted since the topology was built.
    pub fn traffic(&self) -> Result<Traffic, NetError> {
        let (mut sent, mut drops) = (BTreeMap::new(), Vec::new());
        for netlink in &self.netlinks {
            let mut netlink = netlink.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, statistics) in device::statistics(&mut netlink)? {
                // What goes to a device that is down is lost.
                if !self.fragile.contains(&name) {
                    drops.extend(drops::of_device(netlink.host(), &name, &statistics));
                }
                sent.insert(name, statistics.tx_bytes);
            }
        }
        let softnet = self.softnet.since()?;
        drops.extend(softnet.into_iter().map(|(cpu, count)| format!("cpu {cpu}: softnet dropped {count}")));
        let of = |link, side| sent.get(&layout::device_name(link, side)).copied().unwrap_or(0);
        let carried = self.links.iter().map(|link| (*link, Side::BOTH.map(|side| of(*link, side)))).collect();
        Ok(Traffic { carried, drops })
    }
}

/// What the devices of a topology have counted.
#[derive(Debug)]
pub struct Traffic {
    /// How many bytes the devices of each link sent into it, headers included: forward, backward.
    pub carried: BTreeMap<LinkId, [u64; 2]>,
    /// What the machine lost by itself, in words: `ns2: ns2eth3 tx_dropped 3`, or `cpu 1: softnet dropped 7` (where other
    /// cases may have had the same CPU). Empty on a healthy run, whatever the links do to packets.
    pub drops: Vec<String>,
}

/// Builds the network of `case`. It is ready when this returns: the first packet passes.
///
/// The calling thread ends where it began.
///
/// # Errors
/// EPERM without rights over networks; else what failed, with the host and the device.
pub fn build(case: &Case, options: &Options) -> Result<Topology, NetError> {
    let softnet = softnet::Drops::now()?;
    namespace::apart(|| {
        let plan = Plan::new(case, options);
        let mut sites = Sites::found(&plan)?;
        sites.make_devices(&plan)?;
        sites.set_offloads(&plan)?;
        let wirings = sites.wire_up(&plan)?;
        sites.wait_until_ready(&plan)?;
        let (namespaces, netlinks) = sites.into_parts();
        if let Some(target) = layout::diverted(case) {
            let namespace = &namespaces[case.server.host.index()];
            namespace.run(|| transparent::divert(namespace.name(), target))??;
        }
        let path_manager_events = paths::listen(case, &namespaces)?;
        let path_managers = paths::configure(case, &namespaces)?;
        let (fragile, links) = (fragile(case), case.topology.links());
        Ok(Topology { namespaces, netlinks, wirings, softnet, fragile, links, path_managers, path_manager_events })
    })
}

/// The devices that may lose packets: those of links that an event may take down, both ends and the wire's, and those of
/// links that a netem damages.
fn fragile(case: &Case) -> Vec<String> {
    let down = case.events.iter().filter(|event| matches!(event.what, Happening::Down { .. }));
    let damaged = case.links.iter().filter(|(_, link)| {
        link.backend == Backend::Netem && Direction::BOTH.iter().any(|way| link.impairments(*way).corrupt > 0.0)
    });
    let links = down.filter_map(|event| event.what.link()).chain(damaged.map(|(id, _)| *id));
    let ends = links.flat_map(|link| Side::BOTH.map(|side| layout::device_name(link, side)));
    ends.flat_map(|name| [format!("wire{name}"), name]).collect()
}
