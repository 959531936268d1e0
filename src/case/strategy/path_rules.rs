//! Draws middleboxes on one of several paths: what they do to joins, to mappings and to what path managers tell each other,
//! and what breaks a subflow while another one goes on.

use std::time::Duration;

use super::draw::Draw;
use super::middlebox::{merge, small};
use crate::case::{Action, Case, LinkId, Pick, Removal, Rule, Strip, TcpOption, Towards};

/// The share of cases with several impaired paths that have one.
const SHARE: f64 = 0.3;

/// Puts one on a path other than the first, whose subflow has to carry the connection meanwhile; or splits
/// and merges segments.
pub(super) fn draw(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "path rules");
    let others = case.topology.ways().get(1..).unwrap_or_default();
    if others.is_empty() || !draw.chance(SHARE) {
        return;
    }
    let to_server = draw.chance(0.5);
    let way = draw.pick(others);
    let rule = match draw.even(0, 15) {
        0..=2 => told(&mut draw),
        3..=5 => against_joins(&mut draw, to_server),
        6 | 7 => reset(&mut draw),
        8 | 9 => split(&mut draw),
        10 | 11 => stripped(&mut draw),
        12 | 13 if case.has_one_mtu() => {
            let rule = merge(&mut draw, Pick::Data(0));
            if let Some(rule) = small(&mut draw, to_server) {
                place(case, way, !to_server, rule);
            }
            rule
        }
        12 | 13 => split(&mut draw),
        _ => return altered(case, &mut draw, way, to_server),
    };
    place(case, way, to_server, rule);
}

/// What path managers tell each other is lost or late.
fn told(draw: &mut Draw) -> Rule {
    use TcpOption::{AddAddr, AddAddrEcho, MpPrio, RemoveAddr};
    let on = Pick::Carries(draw.pick(&[AddAddr, AddAddrEcho, RemoveAddr, MpPrio]));
    if draw.chance(0.6) {
        return Rule { times: Some(draw.pick(&[1, 1, 2, 3])), ..Rule::always(on, Action::Drop) };
    }
    let late = Duration::from_millis(draw.bounded(&[1, 10, 100, 1_000], 1, 1_000));
    Rule::once(on, Action::Late(late))
}

/// A firewall that refuses joins, or lets them go nowhere.
fn against_joins(draw: &mut Draw, to_server: bool) -> Rule {
    let on = Pick::Carries(TcpOption::MpJoin);
    match draw.even(0, 2) {
        0 if to_server => Rule::once(Pick::Syn, Action::Refuse),
        0 | 1 => Rule::always(on, Action::Drop),
        _ => Rule { times: Some(draw.pick(&[1, 2])), ..Rule::always(on, Action::Drop) },
    }
}

/// A subflow is reset in the middle of the transfer.
fn reset(draw: &mut Draw) -> Rule {
    let towards = draw.pick(&[Towards::Both, Towards::Both, Towards::Receiver, Towards::Sender]);
    let from = draw.log(1, 512 << 10);
    Rule::once(draw.pick(&[Pick::Data(from), Pick::Data(from), Pick::Ack]), Action::Reset(towards))
}

/// Segments are cut where no mapping ends.
fn split(draw: &mut Draw) -> Rule {
    let at = draw.bounded(&[0, 1, 7, 535, 1447], 1, 1500) as u32;
    Rule { chance: draw.pick(&[1.0, 0.5, 0.1]), ..Rule::always(Pick::Data(0), Action::Split(at)) }
}

/// A path that does without joins, or without mappings from some moment on.
fn stripped(draw: &mut Draw) -> Rule {
    use TcpOption::{Dss, MpJoin, Mptcp};
    let from = draw.log(1, 256 << 10);
    let (on, option) = draw.pick(&[
        (Pick::Syn, MpJoin),
        (Pick::SynAck, MpJoin),
        (Pick::ThirdAck, MpJoin),
        (Pick::Data(from), Dss),
        (Pick::Data(from), Dss),
        (Pick::Ack, Dss),
        (Pick::Any, Mptcp),
    ]);
    let by = if draw.chance(0.3) { Removal::Nothing } else { Removal::Nops };
    let action = Action::Strip(Strip { option, by });
    if draw.chance(0.4) { Rule::once(on, action) } else { Rule::always(on, action) }
}

/// A byte is changed under a right checksum of TCP, and MPTCP has checksums of its own: what it brought is thrown away, and
/// the subflow with it (RFC 8684 section 3.7). Now and then on the first path, whose subflow may be the only one yet.
fn altered(case: &mut Case, draw: &mut Draw, further: LinkId, to_server: bool) {
    let host = draw.pick(&[case.client.host, case.server.host]);
    case.hosts.entry(host).or_default().mptcp_checksum = true;
    let way = if draw.chance(0.25) { LinkId::PATHS[0] } else { further };
    let on = Pick::Data(if draw.chance(0.2) { 0 } else { draw.log(1, 256 << 10) });
    let at = draw.even(0, 1500) as u32;
    place(case, way, to_server, Rule::once(on, Action::Alter(at)));
}

fn place(case: &mut Case, way: LinkId, to_server: bool, rule: Rule) {
    let direction = if to_server { case.client_direction() } else { case.client_direction().reverse() };
    case.links.entry(way).or_default().impairments_mut(direction).rules.push(rule);
}
