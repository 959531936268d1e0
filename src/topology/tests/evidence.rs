//! What can be seen of a connection: sockets, counters, losses.

use std::io::Write;

use super::*;
use crate::net::{counters, diag, features};
use crate::observation::SocketState;
use crate::topology::{Side, v4, v6};

fn established<'a>(sockets: &'a [SocketState], protocol: &str) -> Vec<&'a SocketState> {
    sockets.iter().filter(|socket| socket.protocol == protocol && socket.state == "ESTAB").collect()
}

#[test]
fn both_ends_of_a_tcp_connection_are_shown() {
    as_agent(|| {
        let topology = build(&Case::default(), &Options::default()).expect("build");
        let address = v6(LinkId::Ns2Ns3, Side::Right).into();
        let (mut client, server) = connect(&topology, Host::Ns1, Host::Ns3, address, Protocol::TCP);
        client.write_all(&[7; 1000]).expect("write");
        let near = diag::sockets(topology.namespace(Host::Ns1)).expect("sockets");
        let far = diag::sockets(topology.namespace(Host::Ns3)).expect("sockets");
        let (near, far) = (established(&near, "tcp"), established(&far, "tcp"));
        assert_eq!((near.len(), far.len()), (1, 1), "{near:?} {far:?}");
        assert_eq!((&near[0].local, &near[0].remote), (&far[0].remote, &far[0].local));
        assert!(near[0].remote.starts_with("[dead:beef:2::2]:"), "{:?}", near[0]);
        assert_eq!((far[0].receive_queue, far[0].details["bytes_received"]), (1000, 1000));
        assert_eq!((near[0].details["bytes_acked"], near[0].details["state"]), (1001, 1));
        assert!(near[0].details["snd_cwnd"] > 0 && near[0].details["rto"] >= 200_000, "{:?}", near[0]);
        drop((client, server));
        let left = diag::sockets(topology.namespace(Host::Ns3)).expect("sockets");
        assert!(established(&left, "tcp").is_empty(), "{left:?}");
    });
}

#[test]
fn an_mptcp_connection_is_shown_with_its_subflow() {
    as_agent(|| {
        if let Err(error) = features::has_mptcp() {
            return skip(error);
        }
        let topology = build(&Case::default(), &Options::default()).expect("build");
        let address = v4(LinkId::Ns3Ns4, Side::Right).into();
        let (mut client, _server) = connect(&topology, Host::Ns1, Host::Ns4, address, Protocol::MPTCP);
        client.write_all(&[7; 1000]).expect("write");
        let sockets = diag::sockets(topology.namespace(Host::Ns4)).expect("sockets");
        let connections = established(&sockets, "mptcp");
        assert_eq!(connections.len(), 1, "{sockets:?}");
        assert!(connections[0].details["token"] != 0, "{:?}", connections[0]);
        assert_eq!(connections[0].details["bytes_received"], 1000);
        let subflows = established(&sockets, "tcp");
        assert_eq!(subflows.len(), 1, "{sockets:?}");
        assert_eq!(subflows[0].details.get("mptcp_subflow"), Some(&1), "{:?}", subflows[0]);
    });
}

#[test]
fn counters_move_where_the_packets_are() {
    as_agent(|| {
        let topology = build(&Case::default(), &Options::default()).expect("build");
        let read = |host| counters::read(topology.namespace(host)).expect("counters");
        let before = Host::ALL.map(read);
        let protocol = if features::has_mptcp().is_ok() { Protocol::MPTCP } else { Protocol::TCP };
        connect(&topology, Host::Ns1, Host::Ns2, v4(LinkId::Ns1Ns2, Side::Right).into(), protocol);
        let moved: Vec<_> =
            Host::ALL.into_iter().zip(&before).map(|(host, before)| counters::delta(before, &read(host))).collect();
        assert_eq!(moved[0]["Tcp.ActiveOpens"], 1);
        assert_eq!(moved[1]["Tcp.PassiveOpens"], 1);
        if protocol == Protocol::MPTCP {
            assert_eq!(moved[1]["MPTcpExt.MPCapableSYNRX"], 1);
        }
        assert!(moved[2].is_empty() && moved[3].is_empty(), "{moved:?}");
    });
}
