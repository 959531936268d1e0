//! Draws single faults on the packets that a connection turns on: its handshake, the ends of both streams, and what
//! acknowledges them. Random loss meets each of these once in a while; a list of faults meets them on purpose.

use std::time::Duration;

use super::draw::Draw;
use crate::case::{Action, Case, Direction, Fault, LinkId, Packet, Syncookies};

/// The bytes of a cell, the grid by which packets are named.
const CELL: u64 = 1448;
/// The most carriages of one packet that are lost in a row.
const IN_A_ROW: u64 = 3;

/// The share of cases between two hosts that have such faults.
const SHARE: f64 = 0.12;

/// Puts one to three faults on a link of the path, in a share of the cases (`sure`: in all). Not where a listener keeps no
/// state of a handshake, which cannot tell a lost packet from a forged one; nor beside a middlebox, which picks packets
/// on purpose itself.
pub(super) fn faults(case: &mut Case, sure: bool) {
    let mut draw = Draw::new(case.seed, "critical faults");
    let cookies = case.knobs(case.server.host).syncookies == Syncookies::Always;
    let boxed = case.links.values().any(|link| !(link.forward.rules.is_empty() && link.backward.rules.is_empty()));
    if case.is_loopback() || cookies || boxed || !(draw.chance(SHARE) || sure) {
        return;
    }
    let path = case.path();
    let id = draw.pick(&path);
    for _ in 0..draw.pick(&[1, 1, 2, 3]) {
        let to_server = draw.chance(0.5);
        let way = if to_server { case.client_direction() } else { case.client_direction().reverse() };
        let packet = packet(&mut draw, case, to_server);
        let faults = some(&mut draw, packet);
        place(case, id, way, faults);
    }
}

/// A packet that matters, from the client to the server or back.
fn packet(draw: &mut Draw, case: &Case, to_server: bool) -> Packet {
    let (sent, acknowledged) = match to_server {
        true => (case.client.payload, case.server.payload),
        false => (case.server.payload, case.client.payload),
    };
    let last = sent.saturating_sub(1) / CELL;
    draw.pick(&[
        if to_server { Packet::Syn } else { Packet::SynAck },
        // The third packet of the handshake, or the acknowledgement of the first request.
        Packet::Ack(0),
        Packet::Cell(0),
        Packet::Cell(last),
        Packet::Cell(last / 2),
        Packet::Fin,
        Packet::Fin,
        // What acknowledges the whole stream, and its FIN: MPTCP's DATA_FIN travels on such packets too.
        Packet::Ack(acknowledged),
        Packet::Ack(acknowledged),
        Packet::Ack(acknowledged + 1),
    ])
}

/// What is done to a packet: its first carriages lost, or one of them late or doubled.
fn some(draw: &mut Draw, packet: Packet) -> Vec<Fault> {
    let fault = |carriage: u64, action| Fault { flow: 0, packet, carriage: carriage as u32, action };
    let first = draw.pick(&[0, 0, 0, 1, 2]);
    match draw.even(0, 9) {
        0..=5 => (first..first + draw.pick(&[1, 1, 1, 2, IN_A_ROW])).map(|nth| fault(nth, Action::Drop)).collect(),
        6..=8 => vec![fault(first, Action::Late(Duration::from_micros(draw.log(100, 400_000))))],
        _ => vec![fault(first, Action::Duplicate)],
    }
}

/// Adds faults to one direction of a link; what is done to a carriage already stays.
fn place(case: &mut Case, id: LinkId, way: Direction, faults: Vec<Fault>) {
    let list = &mut case.links.entry(id).or_default().impairments_mut(way).faults;
    for fault in faults {
        let taken = |other: &Fault| (other.packet, other.carriage) == (fault.packet, fault.carriage);
        if !list.iter().any(taken) {
            list.push(fault);
        }
    }
}
