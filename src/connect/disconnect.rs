//! Reconnecting: the end of one connection of a socket, before the next one.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::words::{Step, die, number};
use crate::net::diag;
use crate::net::namespace::Namespace;
use crate::observation::SocketState;
use crate::sys::socket;

/// How long to wait between two looks.
const TICK: Duration = Duration::from_millis(1);

/// Shuts down, waits until all that was sent is through and the sockets are closed, and disconnects, which would drop
/// what is not through yet.
pub(super) fn disconnect(socket: &Socket, timeout: Option<Duration>) -> Step<()> {
    let local = socket.local_addr().map_err(|_| die("getsockname"))?;
    let Some(local) = local.as_socket() else { return Err(die("bad family")) };
    // A connection that is gone already has nothing to shut down.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let begin = Instant::now();
    while talks(local.ip())? {
        if timeout.is_some_and(|timeout| begin.elapsed() > timeout) {
            return Err(die("timeout while waiting for spool to complete"));
        }
        sleep(TICK);
    }
    socket::disconnect(socket).map_err(|error| die(&format!("can't disconnect: {}", number(&error))))
}

/// Whether any connection of this namespace that is not closed has this address at either end: what `ss -Mnt` would
/// list, without listeners and TIME-WAIT.
fn talks(address: IpAddr) -> Step<bool> {
    let listed = Namespace::current("here").and_then(|here| diag::sockets(&here));
    let sockets = listed.map_err(|error| die(&format!("{error}\n")))?;
    Ok(sockets.iter().any(|socket| is_open(socket) && ends(socket).contains(&Some(address))))
}

fn is_open(socket: &SocketState) -> bool {
    !matches!(socket.state.as_str(), "LISTEN" | "UNCONN" | "TIME-WAIT" | "SYN-RECV" | "BOUND-INACTIVE")
}

fn ends(socket: &SocketState) -> [Option<IpAddr>; 2] {
    [&socket.local, &socket.remote].map(|end| end.parse::<SocketAddr>().ok().map(|end| end.ip()))
}
