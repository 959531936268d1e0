//! The topology as its users see it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::paths::{self, PathManagers};
use super::plan::Plan;
use super::sites::Sites;
use super::{Options, Side, drops, layout};
use crate::case::{Case, Happening, Host, LinkId};
use crate::link::Wiring;
use crate::net::namespace::{self, Namespace};
use crate::net::netlink::{Netlink, Request};
use crate::net::{NetError, device, softnet, transparent};

/// The network of a case. Dropping it, and what was opened in it, removes it.
#[derive(Debug)]
pub struct Topology {
    namespaces: Vec<Namespace>,
    /// One for each host, and one for the wire where there is one.
    netlinks: Vec<Mutex<Netlink>>,
    wirings: Vec<Wiring>,
    softnet: softnet::Drops,
    /// The devices that an event may take down, and those at their other ends.
    fragile: Vec<String>,
    /// What there is.
    links: &'static [LinkId],
    /// Those that the case speaks to.
    path_managers: PathManagers,
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

    /// Does what an event asks of a path manager.
    pub fn happen(&self, case: &Case, what: &Happening) -> Result<(), NetError> {
        paths::happen(case, &self.path_managers, what)
    }

    /// Takes the device at the left end of a path down.
    pub fn take_down(&self, case: &Case, link: LinkId) -> Result<(), NetError> {
        self.carry_out(link.left(), paths::down(case, link))
    }

    /// Brings it up again, with its addresses and routes.
    pub fn bring_up(&self, case: &Case, link: LinkId) -> Result<(), NetError> {
        self.carry_out(link.left(), paths::up(case, link))
    }

    fn carry_out(&self, host: Host, requests: Vec<Request>) -> Result<(), NetError> {
        self.netlinks[host.index()].lock().unwrap_or_else(PoisonError::into_inner).carry_out(requests)
    }

    /// How many bytes the devices of each link sent into it, headers included: forward, backward.
    pub fn carried(&self) -> Result<BTreeMap<LinkId, [u64; 2]>, NetError> {
        let mut sent = BTreeMap::new();
        for netlink in &self.netlinks {
            let mut netlink = netlink.lock().unwrap_or_else(PoisonError::into_inner);
            sent.extend(device::statistics(&mut netlink)?.into_iter().map(|(name, count)| (name, count.tx_bytes)));
        }
        let of = |link, side| sent.get(&layout::device_name(link, side)).copied().unwrap_or(0);
        Ok(self.links.iter().map(|link| (*link, Side::BOTH.map(|side| of(*link, side)))).collect())
    }

    /// What the machine lost by itself since the topology was built, in words: `ns2: ns2eth3 tx_dropped 3`, or
    /// `cpu 1: softnet dropped 7` (where other cases may have had the same CPU). Empty on a healthy run, whatever the links
    /// do to packets.
    pub fn device_drops(&self) -> Result<Vec<String>, NetError> {
        let mut lost = Vec::new();
        for netlink in &self.netlinks {
            let mut netlink = netlink.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, statistics) in device::statistics(&mut netlink)? {
                // What goes to a device that is down is lost.
                if !self.fragile.contains(&name) {
                    lost.extend(drops::of_device(netlink.host(), &name, &statistics));
                }
            }
        }
        lost.extend(
            self.softnet.since()?.into_iter().map(|(cpu, count)| format!("cpu {cpu}: softnet dropped {count}")),
        );
        Ok(lost)
    }
}

/// Builds the network of `case`. It is ready when this returns: the first packet passes.
///
/// The calling thread stays in its namespace; the work is done on another, on the same CPUs.
///
/// # Errors
/// EPERM without rights over networks; else what failed, with the host and the device.
pub fn build(case: &Case, options: &Options) -> Result<Topology, NetError> {
    let softnet = softnet::Drops::now()?;
    namespace::in_thread(|| {
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
        let path_managers = paths::instruct(case, &namespaces)?;
        let (fragile, links) = (fragile(case), case.topology.links());
        Ok(Topology { namespaces, netlinks, wirings, softnet, fragile, links, path_managers })
    })
}

/// The devices of links that an event may take down: both ends, and the wire's.
fn fragile(case: &Case) -> Vec<String> {
    let down = case.events.iter().filter(|event| matches!(event.what, Happening::Down { .. }));
    let ends = down.flat_map(|event| Side::BOTH.map(|side| layout::device_name(event.what.link(), side)));
    ends.flat_map(|name| [format!("wire{name}"), name]).collect()
}
