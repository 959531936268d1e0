//! Hosts that reach each other, at once and in silence, with the settings that the case asks for.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::Instant;

use nix::errno::Errno;

use super::*;
use crate::case::{Knobs, Offloads, Syncookies};
use crate::link::Carrier;
use crate::net::device::{self, Device, Feature, Switches};
use crate::net::namespace::{Namespace, apart, in_thread};
use crate::net::netlink::Netlink;
use crate::net::{counters, sysctl};
use crate::topology::{CarrierChoice, Side, device_name, v4, v6};

#[test]
fn every_host_reaches_every_address_of_every_other() {
    as_agent(|| {
        let topology = build(&Case::default(), &Options::default()).expect("build");
        for from in Host::ALL {
            for (link, side) in LinkId::CHAIN.into_iter().flat_map(|link| Side::BOTH.map(|side| (link, side))) {
                for address in [v4(link, side).into(), v6(link, side).into()] {
                    let (mut client, mut server) = connect(&topology, from, side.host(link), address, Protocol::TCP);
                    let mut word = [0; 4];
                    client.write_all(b"ping").expect("write");
                    server.read_exact(&mut word).expect("read");
                    server.write_all(&word).expect("write");
                    client.read_exact(&mut word).expect("read");
                    assert_eq!(&word, b"ping");
                }
            }
        }
        assert_eq!(topology.traffic().expect("traffic").drops, [""; 0]);
    });
}

#[test]
fn the_first_connect_loses_no_packet() {
    as_agent(|| {
        for round in 0..40 {
            let topology = build(&Case::default(), &Options::default()).expect("build");
            let address: IpAddr = match round % 2 {
                0 => v6(LinkId::Ns3Ns4, Side::Right).into(),
                _ => v4(LinkId::Ns3Ns4, Side::Right).into(),
            };
            connect(&topology, Host::Ns1, Host::Ns4, address, Protocol::TCP);
            let seen = counters::read(topology.namespace(Host::Ns1)).expect("counters");
            assert_eq!(seen["Tcp.RetransSegs"], 0, "round {round} to {address} sent something twice");
        }
    });
}

#[test]
fn a_wire_that_nobody_uses_is_silent() {
    as_agent(|| {
        let options = Options { capture: true, carrier: CarrierChoice::Packet };
        for case in [Case::default(), impaired(2)] {
            let mut topology = build(&case, &options).expect("build");
            let wirings = topology.take_wirings();
            assert_eq!(wirings.len(), LinkId::CHAIN.len());
            sleep(Duration::from_millis(400));
            for wiring in &wirings {
                let sockets = match &wiring.carrier {
                    Carrier::Veth { capture } => vec![capture.as_ref().expect("asked for")],
                    Carrier::Tap { left, right } | Carrier::Packet { left, right } => vec![left, right],
                };
                for socket in sockets {
                    let mut frame = [0; 2048];
                    let got =
                        nix::sys::socket::recv(socket.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::empty());
                    assert_eq!(got, Err(Errno::EAGAIN), "on {}: {:x?}", wiring.id, &frame[..64]);
                }
            }
        }
    });
}

#[test]
fn a_capture_sees_both_directions_of_a_connection() {
    as_agent(|| {
        let mut topology = build(&Case::default(), &Options { capture: true, ..Options::default() }).expect("build");
        connect(&topology, Host::Ns2, Host::Ns1, v4(LinkId::Ns1Ns2, Side::Left).into(), Protocol::TCP);
        let Some(Carrier::Veth { capture: Some(socket) }) =
            topology.take_wirings().into_iter().map(|w| w.carrier).next()
        else {
            panic!("the first link has no capture");
        };
        let mut senders = Vec::new();
        let mut frame = [0; 2048];
        while let Ok(length) = nix::unistd::read(&socket, &mut frame) {
            senders.push((frame[26..30].to_vec(), length));
        }
        let count = |host: u8| senders.iter().filter(|(from, _)| *from == [10, 0, 1, host]).count();
        assert!(count(1) >= 1 && count(2) >= 2, "{senders:?}");
    });
}

#[test]
fn mtu_and_offloads_are_as_the_case_says() {
    as_agent(|| {
        let left = Offloads { tso: false, gso: true, gro: true };
        let right = Offloads { tso: true, gso: false, gro: false };
        let link = Link { mtu: 1400, left, right, ..Link::default() };
        let case = Case { links: [(LinkId::Ns2Ns3, link)].into(), ..Case::default() };
        let topology = build(&case, &Options::default()).expect("build");
        let look = |link: LinkId, side: Side| {
            let name = device_name(link, side);
            let seen = topology.namespace(side.host(link)).run(|| {
                let mtu = sysctl::get(&format!("net.ipv6.conf.{name}.mtu")).expect("MTU");
                let switches = Switches::open().expect("switches");
                let features = [Feature::Tso, Feature::Gso, Feature::Gro];
                (mtu, features.map(|feature| switches.get(&name, feature).expect("feature")))
            });
            seen.expect("enter")
        };
        // The kernel takes TSO and GSO for two things: the one does not switch the other.
        assert_eq!(look(LinkId::Ns2Ns3, Side::Left), ("1400".into(), [false, true, false]));
        assert_eq!(look(LinkId::Ns2Ns3, Side::Right), ("1400".into(), [true, false, false]));
        assert_eq!(look(LinkId::Ns1Ns2, Side::Left), ("1500".into(), [true, true, false]));
    });
}

#[test]
fn knobs_are_turned_on_their_host_alone() {
    as_agent(|| {
        let knobs = Knobs {
            tcp_rmem: Some([4096, 8192, 65536]),
            sack: false,
            syncookies: Syncookies::Always,
            mptcp_checksum: true,
            ..Knobs::default()
        };
        let case = Case { hosts: [(Host::Ns2, knobs)].into(), ..Case::default() };
        let topology = build(&case, &Options::default()).expect("build");
        let get = |host: Host, key: &str| {
            let value = topology.namespace(host).run(|| sysctl::get(key)).expect("enter").expect(key);
            value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(get(Host::Ns2, "net.ipv4.tcp_rmem"), "4096 8192 65536");
        assert_ne!(get(Host::Ns3, "net.ipv4.tcp_rmem"), "4096 8192 65536");
        for (key, turned, default) in [
            ("net.ipv4.tcp_sack", "0", "1"),
            ("net.ipv4.tcp_syncookies", "2", "1"),
            ("net.mptcp.checksum_enabled", "1", "0"),
        ] {
            assert_eq!((get(Host::Ns2, key).as_str(), get(Host::Ns1, key).as_str()), (turned, default), "{key}");
        }
    });
}

#[test]
fn a_topology_leaves_nothing_behind() {
    as_agent(|| {
        let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
        // A thread that was elsewhere once keeps the way back.
        apart(|| Ok(())).expect("come back");
        let before = descriptors();
        let topology = build(&impaired(1), &Options { capture: true, ..Options::default() }).expect("build");
        // A pair with one end in the topology and one that stays: its end there takes ours along.
        let (witness, mut netlink) =
            in_thread(|| Ok((Namespace::unshare("witness")?, Netlink::open("witness")?))).expect("witness");
        let [near, far] = [("near", 90), ("far", 91)].map(|(name, index)| Device {
            name: name.into(),
            index,
            mac: [2, 0, 0, 9, 0, index as u8],
            mtu: 1500,
        });
        let pair = device::veth(&near, &far, std::os::fd::AsFd::as_fd(topology.namespace(Host::Ns3)));
        netlink.carry_out(vec![pair]).expect("veth");
        let is_there =
            |netlink: &mut Netlink| device::statistics(netlink).expect("dump").iter().any(|(name, _)| name == "near");
        assert!(is_there(&mut netlink));
        drop(topology);
        let deadline = Instant::now() + PATIENCE;
        while is_there(&mut netlink) {
            assert!(Instant::now() < deadline, "ns3 outlives its topology");
            sleep(Duration::from_millis(5));
        }
        drop((witness, netlink));
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn an_error_names_the_host_and_the_device() {
    as_agent(|| {
        let case = Case { links: [(LinkId::Ns2Ns3, Link { mtu: 1, ..Link::default() })].into(), ..Case::default() };
        let error = build(&case, &Options::default()).expect_err("an MTU of 1").to_string();
        assert!(error.starts_with("ns2: ns2eth3: make a veth pair with ns3eth2 (MTU 1): EINVAL"), "{error}");
    });
}

#[test]
fn a_machine_without_user_namespaces_is_told_which_setting_forbids_them() {
    as_agent(|| {
        // The limit is one of each user namespace: this one's own.
        sysctl::set("user.max_user_namespaces", "0").expect("sysctl");
        let error = enter_user_namespace(0, 0).expect_err("none is left").to_string();
        assert!(
            error.contains("user.max_user_namespaces is 0: as root, `sysctl -w user.max_user_namespaces="),
            "{error}"
        );
        let tried = crate::net::features::can_user_namespace().expect_err("none is left").to_string();
        assert!(tried.contains("user.max_user_namespaces is 0"), "{tried}");
    });
}
