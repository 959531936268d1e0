//! After the endpoints have closed: what is left of them, once the network had time to settle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::case::{Case, Host};
use crate::net::NetError;
use crate::net::diag;
use crate::observation::SocketState;
use crate::topology::Topology;

/// The first wait between two looks; each is twice as long as the one before, up to [`LOOK_MAX`].
const LOOK_MIN: Duration = Duration::from_millis(1);
/// The longest.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// The sockets of both endpoints' hosts, all states.
pub(super) fn sockets(topology: &Topology, case: &Case) -> Result<BTreeMap<Host, Vec<SocketState>>, NetError> {
    let mut hosts = vec![case.client.host];
    if case.server.host != case.client.host {
        hosts.push(case.server.host);
    }
    hosts.into_iter().map(|host| Ok((host, diag::sockets(topology.namespace(host))?))).collect()
}

/// Waits until no socket is left but those in TIME-WAIT, which hold the port for the network's sake (RFC 9293, 3.6.1), or
/// until `patience` is over. Returns what is left.
pub(super) fn settle(
    topology: &Topology,
    case: &Case,
    patience: Duration,
) -> Result<BTreeMap<Host, Vec<SocketState>>, NetError> {
    let start = Instant::now();
    let mut pause = LOOK_MIN;
    loop {
        let mut left = sockets(topology, case)?;
        for sockets in left.values_mut() {
            sockets.retain(|socket| socket.state != "TIME-WAIT");
        }
        left.retain(|_, sockets| !sockets.is_empty());
        if left.is_empty() || start.elapsed() >= patience {
            return Ok(left);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK_MAX);
    }
}
