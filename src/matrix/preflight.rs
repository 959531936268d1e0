//! What the script looks at before its transfers: that MPTCP can be switched off, and that every host reaches every
//! address.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::case::{Case, Host, LinkId};
use crate::net::namespace::{self, Namespace};
use crate::net::{NetError, sysctl};
use crate::sys::process::{ForkResult, exit_now, fork};
use crate::topology::{self, Side, v4, v6};

/// How long an answer to a ping may take: the links are plain, but the machine may be busy.
const ANSWER: Duration = Duration::from_secs(5);

/// What the pings carry.
const WORDS: &[u8] = b"whitewater";

/// What was found before the transfers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// Why `net.mptcp.enabled=0` does not keep MPTCP sockets away, where it does not.
    pub sysctl: Option<String>,
    /// Which pings were not answered, and why.
    pub pings: Vec<String>,
}

/// Looks at it, in a forked child with a network of its own. The fewer threads there are, the better.
///
/// # Errors
/// This machine has no user namespaces, or the network cannot be built: what failed, and the way out.
pub fn preflight(v4_only: bool) -> Result<Preflight, String> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let failed = |error: io::Error| format!("could not start a child: {error}");
    let (mut answers, mut teller) = io::pipe().map_err(failed)?;
    match fork().map_err(failed)? {
        ForkResult::Child => {
            let found = look(uid, gid, v4_only).map_err(|error| error.to_string());
            let told = serde_json::to_writer(&mut teller, &found).is_ok() && teller.flush().is_ok();
            exit_now(i32::from(!told))
        }
        ForkResult::Parent { child } => {
            drop(teller);
            let mut text = String::new();
            answers.read_to_string(&mut text).map_err(failed)?;
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => {
                    serde_json::from_str(&text).map_err(|error| format!("the child spoke nonsense: {error}"))?
                }
                other => Err(format!("the child ended early: {other:?}")),
            }
        }
    }
}

fn look(uid: u32, gid: u32, v4_only: bool) -> Result<Preflight, NetError> {
    namespace::enter_user_namespace(uid, gid)?;
    let sysctl = switch_off(&Namespace::new("disabled")?)?;
    let topology = topology::build(&Case::default(), &topology::Options::default())?;
    let mut pings = Vec::new();
    for sender in Host::ALL {
        for (link, side) in LinkId::CHAIN.into_iter().flat_map(|link| Side::BOTH.map(|side| (link, side))) {
            let addresses = [IpAddr::from(v4(link, side)), v6(link, side).into()];
            for address in addresses.into_iter().filter(|address| address.is_ipv4() || !v4_only) {
                if let Err(error) = topology.namespace(sender).run(|| ping(address))? {
                    pings.push(format!("{sender} -> {address}: {error}"));
                }
            }
        }
    }
    Ok(Preflight { sysctl, pings })
}

/// Whether a namespace without MPTCP still gives MPTCP sockets.
fn switch_off(namespace: &Namespace) -> Result<Option<String>, NetError> {
    namespace.run(|| {
        let enabled = sysctl::get("net.mptcp.enabled")?;
        if enabled != "1" {
            return Ok(Some(format!("net.mptcp.enabled is {enabled} by default")));
        }
        sysctl::set("net.mptcp.enabled", "0")?;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP));
        Ok(match socket.map_err(|error| error.raw_os_error()) {
            Err(Some(libc::ENOPROTOOPT)) => None,
            Err(errno) => Some(format!("a socket failed with errno {errno:?}, not with ENOPROTOOPT")),
            Ok(_) => Some("a socket was given".to_owned()),
        })
    })?
}

/// Sends one echo request and waits for its answer.
fn ping(address: IpAddr) -> io::Result<()> {
    let echo = IcmpEchoHeader { id: std::process::id() as u16, seq: 1 };
    let (socket, request, answer) = match address {
        IpAddr::V4(_) => (
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
            Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), WORDS).to_bytes().to_vec(),
            Icmpv4Header::with_checksum(Icmpv4Type::EchoReply(echo), WORDS).to_bytes().to_vec(),
        ),
        // The kernel puts the checksum of ICMPv6 in.
        IpAddr::V6(_) => (
            Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
            Icmpv6Header::new(Icmpv6Type::EchoRequest(echo)).to_bytes().to_vec(),
            Icmpv6Header::new(Icmpv6Type::EchoReply(echo)).to_bytes().to_vec(),
        ),
    };
    socket.send_to(&[&request[..], WORDS].concat(), &SocketAddr::new(address, 0).into())?;
    let deadline = Instant::now() + ANSWER;
    let mut buffer = [0; 2048];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        socket.set_read_timeout(Some(left))?;
        let length = match Read::read(&mut &socket, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            other => other?,
        };
        if is_answer(&buffer[..length], address.is_ipv4(), &answer) {
            return Ok(());
        }
    }
}

/// Whether a packet is the answer: everything but the checksum is looked at. An IPv4 header comes first, IPv6's does not.
fn is_answer(packet: &[u8], is_v4: bool, answer: &[u8]) -> bool {
    let skip = if is_v4 { usize::from(packet.first().unwrap_or(&0) & 0x0f) * 4 } else { 0 };
    let Some((header, words)) = packet.get(skip..).and_then(|packet| packet.split_at_checked(answer.len())) else {
        return false;
    };
    header[..2] == answer[..2] && header[4..] == answer[4..] && words == WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_reaches_every_address_and_mptcp_can_be_switched_off() {
        match preflight(false) {
            Ok(found) => assert_eq!(found, Preflight::default()),
            Err(why) => println!("SKIP: {why}"),
        }
    }

    #[test]
    fn an_answer_differs_from_a_request_and_from_another_answer() {
        let echo = |id| IcmpEchoHeader { id, seq: 1 };
        let reply = |id| [&Icmpv6Header::new(Icmpv6Type::EchoReply(echo(id))).to_bytes()[..], WORDS].concat();
        let answer = Icmpv6Header::new(Icmpv6Type::EchoReply(echo(7))).to_bytes();
        assert!(is_answer(&reply(7), false, &answer));
        assert!(!is_answer(&reply(8), false, &answer));
        let request = Icmpv6Header::new(Icmpv6Type::EchoRequest(echo(7))).to_bytes();
        assert!(!is_answer(&[&request[..], WORDS].concat(), false, &answer));
        assert!(!is_answer(&reply(7)[..4], false, &answer));
    }
}
