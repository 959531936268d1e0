//! Draws damage to the packets that a connection depends on: its handshake, the ends of both streams, their
//! acknowledgements, and window updates. Random loss hits each of these once in a while; this hits them on purpose, as a
//! single fault if the packet has a name, or as a rule if it is recognised by what it carries.

use std::time::Duration;

use super::draw::Draw;
use crate::case::{Action, Case, Direction, Fault, LinkId, Packet, Pick, Rule, Syncookies};
use crate::payload::Sender;

/// The bytes of a cell, the grid by which packets are named.
const CELL: u64 = 1448;
/// The most carriages of one packet that are lost in a row.
const IN_A_ROW: u64 = 3;

/// The share of cases between two hosts that have such damage.
const SHARE: f64 = 0.2;

/// The same where a reader is to close its window: only then what opens it again can be lost.
const STALLED_SHARE: f64 = 0.5;

/// Damages one to three packets, or the packets of one kind, on a link of the path, in a share of the cases (`sure`: in
/// all). `stall`: whose reader is to close its window. Not where a listener keeps no state of a handshake, which cannot
/// tell a lost packet from a forged one; nor beside a middlebox, which picks packets on purpose itself.
pub(super) fn faults(case: &mut Case, stall: Option<Sender>, sure: bool) {
    let mut draw = Draw::new(case.seed, "critical faults");
    let cookies = case.knobs(case.server.host).syncookies == Syncookies::Always;
    let boxed = case.links.values().any(|link| !(link.forward.rules.is_empty() && link.backward.rules.is_empty()));
    let share = if stall.is_some() { STALLED_SHARE } else { SHARE };
    if case.is_loopback() || cookies || boxed || !(draw.chance(share) || sure) {
        return;
    }
    let path = case.path();
    let id = draw.pick(&path);
    if draw.chance(if stall.is_some() { 0.7 } else { 0.4 }) {
        let (to_server, rule) = rule(&mut draw, case, stall);
        let way = if to_server { case.client_direction() } else { case.client_direction().reverse() };
        case.links.entry(id).or_default().impairments_mut(way).rules.push(rule);
        return;
    }
    if draw.chance(0.2) {
        end_of_stream(&mut draw, case, id);
        return;
    }
    for _ in 0..draw.pick(&[1, 1, 2, 3]) {
        let to_server = draw.chance(0.5);
        let way = if to_server { case.client_direction() } else { case.client_direction().reverse() };
        let packet = packet(&mut draw, case, to_server);
        let faults = some(&mut draw, packet);
        place(case, id, way, faults);
    }
}

/// Loses the last segment of a stream and its FIN, as often as each other: what is sent again may then be both in one.
fn end_of_stream(draw: &mut Draw, case: &mut Case, id: LinkId) {
    let to_server = draw.chance(0.5);
    let (way, sent) = match to_server {
        true => (case.client_direction(), case.client.payload),
        false => (case.client_direction().reverse(), case.server.payload),
    };
    let times = draw.pick(&[1, 2, 2, IN_A_ROW]) as u32;
    for packet in [Packet::Cell(sent.saturating_sub(1) / CELL), Packet::Fin] {
        place(
            case,
            id,
            way,
            (0..times).map(|carriage| Fault { flow: 0, packet, carriage, action: Action::Drop }).collect(),
        );
    }
}

/// A rule that loses packets of one kind, and whether it is about what the client sends.
fn rule(draw: &mut Draw, case: &Case, stall: Option<Sender>) -> (bool, Rule) {
    let to_server = stall.map_or_else(|| draw.chance(0.5), |reader| reader == Sender::Client);
    let sent = if to_server { case.client.payload } else { case.server.payload };
    // The last flight: what is lost there has no packets behind it that would tell.
    let tail = Pick::Data(sent.saturating_sub(draw.log(1, 4 * CELL)));
    let on = match stall {
        Some(_) => draw.pick(&[Pick::AckAgain, Pick::AckAgain, Pick::Ack]),
        None if case.is_mptcp() => draw.pick(&[Pick::DataFin, Pick::DataFin, tail, Pick::AckAgain, Pick::Fin]),
        None => draw.pick(&[tail, tail, Pick::AckAgain, Pick::Fin]),
    };
    let times = draw.pick(&[1, 1, 2, 3, 4]);
    let skip = if draw.chance(0.6) { 0 } else { draw.log(1, 12) as u32 };
    (to_server, Rule { skip, times: Some(times), ..Rule::always(on, Action::Drop) })
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
