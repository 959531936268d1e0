//! The chain at work.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use crate::case::{Case, Host, LinkId};
use crate::net::namespace::enter_user_namespace;
use crate::sys::process::in_child;

/// Runs `body` in a child that is root in a user and a network namespace of its own, as an agent is.
fn as_agent(body: impl FnOnce()) {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let code = in_child(|| {
        match enter_user_namespace(uid, gid) {
            Ok(()) => body(),
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "SKIP: {error}");
            }
        }
        Ok(())
    });
    assert_eq!(code.expect("fork"), 0, "the child failed: see its words above");
}

/// Connects from one host to another, sends a byte there and back, and returns how long the connect took.
fn echo(topology: &Topology, from: Host, to: Host, address: IpAddr) -> Duration {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let listener = topology.namespace(to).run(|| TcpListener::bind((any, 0))).expect("enter").expect("listen");
    let target = SocketAddr::new(address, listener.local_addr().expect("bound").port());
    let start = Instant::now();
    let client = topology.namespace(from).run(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)));
    let took = start.elapsed();
    let mut client = client.expect("enter").unwrap_or_else(|error| panic!("{from} to {target} on {to}: {error}"));
    let (mut server, _) = listener.accept().expect("accept");
    client.write_all(b"?").expect("write");
    let mut byte = [0];
    server.read_exact(&mut byte).expect("read");
    server.write_all(b"!").expect("write");
    client.read_exact(&mut byte).expect("read");
    assert_eq!(&byte, b"!");
    took
}

#[test]
fn every_host_reaches_every_address_of_every_other() {
    as_agent(|| {
        let topology = build(&Case::default(), &Options::default()).expect("build");
        for from in Host::ALL {
            for (link, side) in LinkId::ALL.into_iter().flat_map(|link| Side::BOTH.map(|side| (link, side))) {
                echo(&topology, from, side.host(link), v4(link, side).into());
                echo(&topology, from, side.host(link), v6(link, side).into());
            }
        }
        assert_eq!(topology.device_drops().expect("drops"), [""; 0]);
    });
}
