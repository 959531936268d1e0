//! Links whose packets go through user space: here, a pump that hands every frame on.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::link::{Carrier, Wiring};
use crate::net::{counters, features};
use crate::topology::{CarrierChoice, Side, v4, v6};

/// How much crosses the links in each direction.
const BYTES: usize = 4 << 20;

/// What a pump saw.
#[derive(Debug, Default)]
struct Seen {
    frames: u64,
    longest: usize,
    /// The first that is no TCP segment with a right checksum.
    odd: Option<Vec<u8>>,
}

/// Hands frames on until `stop`.
fn pump(left: &OwnedFd, right: &OwnedFd, stop: &AtomicBool) -> Seen {
    use std::os::fd::AsFd;
    let mut seen = Seen::default();
    let mut frame = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [left, right].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::from(10u8)).expect("poll");
        for (from, to) in [(left, right), (right, left)] {
            while let Ok(length) = nix::unistd::read(from, &mut frame) {
                seen.frames += 1;
                seen.longest = seen.longest.max(length);
                if seen.odd.is_none() && !has_right_checksum(&frame[..length]) {
                    seen.odd = Some(frame[..length].to_vec());
                }
                while nix::unistd::write(to, &frame[..length]).is_err() {
                    thread::yield_now();
                }
            }
        }
    }
    seen
}

fn has_right_checksum(frame: &[u8]) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return false };
    let expected = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()),
        Some(NetSlice::Ipv6(ip)) => tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()),
        _ => return false,
    };
    // 0 and 0xffff are the same number in ones' complement; the kernel writes the latter.
    expected.is_ok_and(|sum| sum % 0xffff == tcp.checksum() % 0xffff)
}

/// Sends the same bytes both ways at once, and reads them back.
fn transfer(topology: &Topology, address: IpAddr) {
    let (client, server) = connect(topology, Host::Ns1, Host::Ns4, address, Protocol::TCP);
    let bytes: Vec<u8> = (0..BYTES as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    thread::scope(|scope| {
        for socket in [&client, &server] {
            let (bytes, mut to, mut from) = (&bytes, socket, socket);
            scope.spawn(move || {
                to.write_all(bytes).expect("write");
                to.shutdown(std::net::Shutdown::Write).expect("shutdown");
            });
            scope.spawn(move || {
                let mut got = Vec::new();
                from.read_to_end(&mut got).expect("read");
                assert!(got == *bytes, "{} bytes came, and not those that were sent", got.len());
            });
        }
    });
}

/// A case with `count` user-space links carries a transfer, in frames as they are on a wire, and loses nothing.
fn carries(count: usize, carrier: CarrierChoice) {
    let mut topology = build(&impaired(count), &Options { carrier, ..Options::default() }).expect("build");
    let wirings: Vec<Wiring> = topology.take_wirings();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let pumps: Vec<_> = wirings
            .iter()
            .filter_map(|wiring| match &wiring.carrier {
                Carrier::Tap { left, right } if carrier != CarrierChoice::Packet => Some((left, right)),
                Carrier::Packet { left, right } if carrier != CarrierChoice::Tap => Some((left, right)),
                Carrier::Tap { .. } | Carrier::Packet { .. } => {
                    panic!("{:?} is not what was asked for", wiring.carrier)
                }
                Carrier::Veth { .. } => None,
            })
            .map(|(left, right)| scope.spawn(|| pump(left, right, &stop)))
            .collect();
        assert_eq!(pumps.len(), count);
        transfer(&topology, v4(LinkId::Ns3Ns4, Side::Right).into());
        transfer(&topology, v6(LinkId::Ns3Ns4, Side::Right).into());
        stop.store(true, Ordering::Relaxed);
        for pump in pumps {
            let seen = pump.join().expect("pump");
            assert!(seen.frames > 4 * BYTES as u64 / 1500, "{seen:?}");
            assert!(seen.longest == 1514 && seen.odd.is_none(), "{seen:x?}");
        }
    });
    assert_eq!(topology.traffic().expect("traffic").drops, [""; 0]);
}

#[test]
fn tap_devices_carry_links() {
    as_agent(|| match features::can_tun() {
        Ok(()) => {
            carries(1, CarrierChoice::Tap);
            carries(3, CarrierChoice::Auto);
        }
        Err(error) => skip(error),
    });
}

/// The first packet passes as soon as the topology is built, with every link in user space.
fn first_connect_passes(carrier: CarrierChoice) {
    for round in 0..12 {
        let mut topology = build(&impaired(3), &Options { carrier, ..Options::default() }).expect("build");
        let wirings = topology.take_wirings();
        let stop = AtomicBool::new(false);
        let address: IpAddr = match round % 2 {
            0 => v6(LinkId::Ns3Ns4, Side::Right).into(),
            _ => v4(LinkId::Ns3Ns4, Side::Right).into(),
        };
        thread::scope(|scope| {
            for wiring in &wirings {
                let (Carrier::Tap { left, right } | Carrier::Packet { left, right }) = &wiring.carrier else {
                    panic!("{} is a veth pair", wiring.id)
                };
                scope.spawn(|| pump(left, right, &stop));
            }
            connect(&topology, Host::Ns1, Host::Ns4, address, Protocol::TCP);
            stop.store(true, Ordering::Relaxed);
        });
        let seen = counters::read(topology.namespace(Host::Ns1)).expect("counters");
        assert_eq!(seen["Tcp.RetransSegs"], 0, "{carrier:?} round {round} to {address} sent something twice");
    }
}

#[test]
fn the_first_connect_through_user_space_loses_no_packet() {
    as_agent(|| {
        first_connect_passes(CarrierChoice::Packet);
        match features::can_tun() {
            Ok(()) => first_connect_passes(CarrierChoice::Tap),
            Err(error) => skip(error),
        }
    });
}

#[test]
fn packet_sockets_carry_links() {
    as_agent(|| {
        carries(1, CarrierChoice::Packet);
        carries(3, CarrierChoice::Packet);
    });
}

#[test]
fn a_full_device_is_reported() {
    as_agent(|| {
        if let Err(error) = features::can_tun() {
            return skip(error);
        }
        let topology =
            build(&impaired(1), &Options { carrier: CarrierChoice::Tap, ..Options::default() }).expect("build");
        // Nobody reads the frames: the queue of 20000 overflows.
        let sent = topology.namespace(Host::Ns1).run(|| {
            let socket = std::net::UdpSocket::bind("10.0.1.1:0").expect("bind");
            (0..20_100).filter(|_| socket.send_to(b"flood", "10.0.1.2:9").is_ok()).count()
        });
        assert_eq!(sent.expect("enter"), 20_100);
        let drops = topology.traffic().expect("traffic").drops;
        assert!(drops.iter().any(|drop| drop.starts_with("ns1: ns1eth2 tx_dropped ")), "{drops:?}");
    });
}
