//! Waits after the endpoints have closed until the network has settled, and finds out what is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::init;
use crate::case::{Case, Host};
use crate::net::NetError;
use crate::net::{diag, sockstat};
use crate::observation::SocketState;
use crate::topology::Topology;

/// The first wait between two looks; each is twice as long as the one before, up to [`LOOK_MAX`].
const LOOK_MIN: Duration = Duration::from_millis(1);
/// The longest.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// What is left on each endpoint's host, where anything is.
#[derive(Default)]
pub(super) struct Left {
    /// Sockets that can be found.
    pub(super) sockets: BTreeMap<Host, Vec<SocketState>>,
    /// How many more sockets are in use than at the start, including those that can be found.
    pub(super) lost: BTreeMap<Host, i64>,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.lost.is_empty()
    }

    /// Whether sockets are left, and all of them listen: the server's does not any more.
    fn only_listens(&self) -> bool {
        !self.sockets.is_empty() && self.sockets.values().flatten().all(|socket| socket.state == "LISTEN")
    }
}

/// The hosts of both endpoints, each once.
fn hosts(case: &Case) -> Vec<Host> {
    let mut hosts = vec![case.client.host, case.server.host];
    hosts.dedup();
    hosts
}

/// The sockets of both endpoints' hosts, all states.
pub(super) fn sockets(topology: &Topology, case: &Case) -> Result<BTreeMap<Host, Vec<SocketState>>, NetError> {
    hosts(case).into_iter().map(|host| Ok((host, diag::sockets(topology.namespace(host))?))).collect()
}

/// How many sockets of any kind both endpoints' hosts have in use before the transfer. Those that built the topology are
/// closed, but the kernel may take a moment to free them. In virtual time it waits for that. In real time it does not: the
/// growth until the end may then come out too small, and a leak go unnoticed, but nothing wrong is reported.
///
/// It also keeps the transfer out of the first 64 ms after a boot, in which no SYN cookie holds: see
/// docs/findings/linux-7.2.md.
pub(super) fn in_use_at_rest(topology: &Topology, case: &Case) -> Result<BTreeMap<Host, i64>, NetError> {
    if init::is_guest() {
        std::thread::sleep(LOOK_MAX);
    }
    in_use(topology, case)
}

/// How many sockets of any kind both endpoints' hosts have in use.
fn in_use(topology: &Topology, case: &Case) -> Result<BTreeMap<Host, i64>, NetError> {
    hosts(case).into_iter().map(|host| Ok((host, sockstat::in_use(topology.namespace(host))?))).collect()
}

/// Waits until no socket is left but those in TIME-WAIT, which hold the port for the network's sake (RFC 9293, 3.6.1), or
/// until `patience` is over. Returns what is left. `before`: how many sockets were in use before the transfer.
///
/// A path manager listens on the port of an endpoint for as long as it has the endpoint. Its endpoints are removed once
/// nothing else is left; sooner, it would announce the removal on a connection that is about to end.
pub(super) fn settle(
    topology: &Topology,
    case: &Case,
    patience: Duration,
    before: &BTreeMap<Host, i64>,
) -> Result<Left, NetError> {
    let start = Instant::now();
    let (mut pause, mut dismissed, mut last) = (LOOK_MIN, false, None);
    loop {
        // First, because the diagnosis opens a socket of its own, which counts until the kernel gets around to freeing it.
        let lost = lost(topology, case, before)?;
        // To list them takes ten times the system calls. As long as their number changes, nobody asks which they are.
        let changes = !lost.is_empty() && last.as_ref() != Some(&lost);
        if !changes || start.elapsed() >= patience {
            let left = Left { sockets: still_open(topology, case)?, lost: lost.clone() };
            if !dismissed && left.only_listens() {
                topology.dismiss_path_managers()?;
                dismissed = true;
                continue;
            }
            if left.is_empty() || start.elapsed() >= patience {
                return Ok(left);
            }
        }
        last = Some(lost);
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// How many sockets more are in use than before the transfer.
fn lost(topology: &Topology, case: &Case, before: &BTreeMap<Host, i64>) -> Result<BTreeMap<Host, i64>, NetError> {
    let mut lost = in_use(topology, case)?;
    for (host, used) in &mut lost {
        *used -= before.get(host).copied().unwrap_or(0);
    }
    lost.retain(|_, more| *more > 0);
    Ok(lost)
}

/// The sockets of both endpoints' hosts but those in TIME-WAIT.
fn still_open(topology: &Topology, case: &Case) -> Result<BTreeMap<Host, Vec<SocketState>>, NetError> {
    let mut sockets = sockets(topology, case)?;
    for sockets in sockets.values_mut() {
        sockets.retain(|socket| socket.state != "TIME-WAIT");
    }
    sockets.retain(|_, sockets| !sockets.is_empty());
    Ok(sockets)
}
