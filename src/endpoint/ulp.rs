//! TCP_ULP on sockets that must refuse it.

use socket2::{Protocol as SocketProtocol, Socket};

use crate::case::Protocol;
use crate::observation::{Contradiction, Story};
use crate::sys::sockopt;

/// Asks an MPTCP socket for the upper layers `mptcp`, which no program may ask for, and `tls`, which MPTCP does not
/// carry (net/mptcp/sockopt.c). A socket that has become a TCP socket may have `tls`, and is not asked.
pub(super) fn check(socket: &Socket, protocol: Protocol, story: &mut Story) {
    if protocol != Protocol::Mptcp {
        return;
    }
    let whole = matches!(socket.protocol(), Ok(Some(SocketProtocol::MPTCP)));
    let names: &[&str] = if whole { &["mptcp", "tls"] } else { &["mptcp"] };
    for name in names {
        if sockopt::set_bytes(socket, libc::IPPROTO_TCP, libc::TCP_ULP, name.as_bytes()).is_ok() {
            let looks = format!("TCP_ULP {name} was taken by an MPTCP socket");
            story.contradictions.push(Contradiction { what: looks.clone(), looks });
        }
    }
}
