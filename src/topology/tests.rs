//! The chain at work, as an agent has it: each test is a child process, root in namespaces of its own.

mod carriers;
mod chain;
mod evidence;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Options, Topology, build};
use crate::case::{Case, Host, Impairments, Link, LinkId};
use crate::net::namespace::enter_user_namespace;
use crate::sys::process::in_child;

/// How long a socket of a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `body` in a child that is root in a user and a network namespace of its own.
fn as_agent(body: impl FnOnce()) {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let code = in_child(|| {
        match enter_user_namespace(uid, gid) {
            Ok(()) => body(),
            Err(error) => skip(error),
        }
        Ok(())
    });
    assert_eq!(code.expect("fork"), 0, "the child failed: see its words above");
}

/// Says, past the test harness, that a test did not happen.
fn skip(reason: impl std::fmt::Display) {
    // Nothing is to be done where even this fails.
    let _ = writeln!(io::stderr(), "SKIP: {reason}");
}

/// A case in which the first `count` links delay packets: enough to need a user-space link.
fn impaired(count: usize) -> Case {
    let delay = Impairments { delay: Duration::from_millis(1), ..Impairments::default() };
    let link = Link { forward: delay, ..Link::default() };
    Case { links: LinkId::CHAIN.into_iter().take(count).map(|id| (id, link.clone())).collect(), ..Case::default() }
}

/// A stream socket in a host's namespace.
fn socket(topology: &Topology, host: Host, address: IpAddr, protocol: Protocol) -> Socket {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = topology.namespace(host).run(|| Socket::new(domain, Type::STREAM, Some(protocol)));
    let socket = socket.expect("enter").expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    socket.set_write_timeout(Some(PATIENCE)).expect("SO_SNDTIMEO");
    socket
}

/// A listener on every address of a host, and where to reach it under `address`.
fn listen(topology: &Topology, host: Host, address: IpAddr, protocol: Protocol) -> (Socket, SocketAddr) {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let listener = socket(topology, host, address, protocol);
    listener.bind(&SocketAddr::new(any, 0).into()).expect("bind");
    listener.listen(1).expect("listen");
    let port = listener.local_addr().expect("bound").as_socket().expect("an IP address").port();
    (listener, SocketAddr::new(address, port))
}

/// The two ends of a connection from one host to an address of another.
fn connect(topology: &Topology, from: Host, to: Host, address: IpAddr, protocol: Protocol) -> (Socket, Socket) {
    let (listener, target) = listen(topology, to, address, protocol);
    let client = socket(topology, from, address, protocol);
    client
        .connect_timeout(&target.into(), PATIENCE)
        .unwrap_or_else(|error| panic!("{from} to {target} on {to}: {error}"));
    let (server, _) = listener.accept().expect("accept");
    server.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    (client, server)
}
