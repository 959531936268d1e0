//! The topology as its users see it.

use std::sync::{Mutex, PoisonError};

use super::paths::{self, PathManagers};
use super::plan::Plan;
use super::sites::Sites;
use super::{Options, drops};
use crate::case::{Case, Host};
use crate::link::Wiring;
use crate::net::namespace::{self, Namespace};
use crate::net::netlink::Netlink;
use crate::net::{NetError, device, softnet};

/// The network of a case. Dropping it, and what was opened in it, removes it.
#[derive(Debug)]
pub struct Topology {
    namespaces: Vec<Namespace>,
    /// One for each host, and one for the wire where there is one.
    netlinks: Vec<Mutex<Netlink>>,
    wirings: Vec<Wiring>,
    softnet: softnet::Drops,
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

    /// What the machine lost by itself since the topology was built, in words: `ns2: ns2eth3 tx_dropped 3`, or
    /// `cpu 1: softnet dropped 7` (where other cases may have had the same CPU). Empty on a healthy run, whatever the links
    /// do to packets.
    pub fn device_drops(&self) -> Result<Vec<String>, NetError> {
        let mut lost = Vec::new();
        for netlink in &self.netlinks {
            let mut netlink = netlink.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, statistics) in device::statistics(&mut netlink)? {
                lost.extend(drops::of_device(netlink.host(), &name, &statistics));
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
        let path_managers = paths::instruct(case, &namespaces)?;
        Ok(Topology { namespaces, netlinks, wirings, softnet, path_managers })
    })
}
