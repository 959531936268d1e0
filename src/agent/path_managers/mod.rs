//! The path managers of a case at work: they do what events ask of them. The kernel's own is told to; the one in user space
//! is a program, which runs here.

mod userspace;

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::case::{Case, Happening, Host, PmEndpoint};
use crate::net::NetError;
use crate::net::path_manager::{Endpoint, PathManager};
use crate::topology::{Topology, endpoint_in_kernel};

/// Runs the path managers in user space that the case has until `stop` can be read.
pub(super) fn run(case: &Case, topology: &Topology, stop: BorrowedFd<'_>) -> Result<(), NetError> {
    userspace::run(case, topology, stop)
}

/// Does what an event asks of a path manager; nothing, if there is nothing to do for it.
pub(super) fn carry_out(case: &Case, topology: &Topology, what: &Happening) -> Result<(), NetError> {
    let Some(host) = what.host() else { return Ok(()) };
    let Some(mut manager) = topology.path_manager(host) else { return Ok(()) };
    let userspace = case.knobs(host).pm.userspace;
    let mut heard = Vec::new();
    if let Some(events) = topology.path_manager_events(host) {
        // A path manager in user space receives its events itself.
        if !userspace {
            events.receive()?;
        }
        heard = events.heard().events;
    }
    if userspace::leaves_no_subflow(case, host, &heard, what) {
        return Ok(());
    }
    if userspace {
        return userspace::carry_out(case, host, &mut manager, &heard, what);
    }
    match in_kernel(case, host, &mut manager, what) {
        // It is there already, gone already, or of a kind that must not change.
        Err(error) if matches!(error.errno(), Some(Errno::EBUSY | Errno::EEXIST | Errno::EINVAL | Errno::ENOENT)) => {
            Ok(())
        }
        other => other,
    }
}

/// Has the kernel's path manager of `host` do what an event asks.
fn in_kernel(case: &Case, host: Host, manager: &mut PathManager, what: &Happening) -> Result<(), NetError> {
    // The endpoint as the case or an earlier event added it; the kernel knows it by its identifier.
    let known = || case.pm_endpoints(host).find(|endpoint| Some(endpoint.link) == what.link());
    match *what {
        Happening::Add { endpoint, .. } => {
            let wanted = endpoint_in_kernel(case, host, &endpoint);
            match manager.add(&wanted) {
                // The kernel has an implicit endpoint for this address; one without identifier takes its place.
                Err(error) if error.errno() == Some(Errno::EINVAL) && endpoint.id.is_none() => {
                    manager.add(&Endpoint { id: None, ..wanted })
                }
                other => other,
            }
        }
        Happening::Remove { link, .. } => match known() {
            Some(endpoint) => manager.remove(&endpoint_in_kernel(case, host, &endpoint)),
            None if case.topology.ways().first() == Some(&link) => {
                manager.remove(&Endpoint { id: Some(0), ..endpoint_in_kernel(case, host, &PmEndpoint::on(link)) })
            }
            None => Ok(()),
        },
        Happening::Flush { .. } => manager.flush(),
        Happening::Backup { on, .. } => known().map_or(Ok(()), |endpoint| {
            manager.set_flags(&endpoint_in_kernel(case, host, &PmEndpoint { backup: on, ..endpoint }))
        }),
        Happening::Fullmesh { on, .. } => known().map_or(Ok(()), |endpoint| {
            manager.set_flags(&endpoint_in_kernel(case, host, &PmEndpoint { fullmesh: on, ..endpoint }))
        }),
        Happening::Destroy { .. } | Happening::Block { .. } | Happening::Down { .. } => Ok(()),
    }
}
