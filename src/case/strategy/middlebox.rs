//! Draws middleboxes.

use std::time::Duration;

use super::draw::Draw;
use crate::case::{
    Action, Backend, Case, Direction, Impairments, Kept, LinkId, Merge, Pick, Protocol, Removal, Rule, Strip,
    TcpOption, Towards,
};

/// The share of impaired cases with a middlebox.
const SHARE: f64 = 0.18;

/// The share of these in which nothing else impairs a link.
const ALONE: f64 = 0.5;

/// The share of impaired cases in which one moves sequence numbers.
const RENUMBERS: f64 = 0.04;

/// What a middlebox may be about.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Takes options of MPTCP out.
    StripMptcp,
    /// Takes options of TCP out.
    StripTcp,
    /// Splits segments.
    Split,
    /// Merges segments.
    Merge,
    /// Lowers the MSS.
    Clamp,
    /// Marks congestion.
    Mark,
    /// Loses certain packets.
    Drop,
    /// Holds certain packets back.
    Hold,
    /// Sends a RST.
    Reset,
    /// Changes payload.
    Alter,
}

/// Puts a middlebox on a link of an impaired case, now and then, or surely.
pub(super) fn middlebox(case: &mut Case, sure: bool) {
    let mut draw = Draw::new(case.seed, "middlebox");
    if !(sure || draw.chance(SHARE)) {
        return;
    }
    let alone = draw.chance(ALONE);
    let kind = kind(case, &mut draw);
    // A RST, or a change that only a mapping tells, must not meet what else may break a connection.
    if alone || matches!(kind, Kind::Reset | Kind::Alter) {
        for link in case.links.values_mut() {
            (link.forward, link.backward) = Default::default();
        }
    }
    let (client, rules) = rules(kind, &mut draw);
    let direction = if client { case.client_direction() } else { case.client_direction().reverse() };
    let path = case.path();
    let place = draw.pick(&path);
    impairments(case, place, direction).rules = rules;
    if kind == Kind::Merge {
        impairments(case, place, direction.reverse()).rules.extend(small(&mut draw, client));
    }
}

/// Segments that are merged, of which two at least have a place in one where [`small`] makes them so.
pub(super) fn merge(draw: &mut Draw, on: Pick) -> Rule {
    let within = Duration::from_micros(draw.pick(&[20, 100, 1000, 1000, 10_000]));
    let options = draw.pick(&[Kept::Same, Kept::Same, Kept::Same, Kept::First, Kept::Second]);
    Rule { chance: draw.pick(&[1.0, 0.5, 0.1]), ..Rule::always(on, Action::Merge(Merge { within, options })) }
}

/// What has the client, or the server, send small segments: a lower MSS on the way back. Now and then nothing does, and only what
/// programs write in small pieces is merged.
pub(super) fn small(draw: &mut Draw, client: bool) -> Option<Rule> {
    let mss = draw.pick(&[200, 456, 536, 700]);
    let on = if client { Pick::SynAck } else { Pick::Syn };
    draw.chance(0.8).then(|| Rule::always(on, Action::Clamp(mss)))
}

/// Has a link of an impaired case move sequence numbers, now and then, or both ways.
pub(super) fn renumber(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "renumber");
    let place = draw.pick(&case.path());
    if !draw.chance(RENUMBERS) || !case.has_one_mtu() || case.link(place).backend != Backend::UserSpace {
        return;
    }
    for way in draw.pick(&[&[Direction::Forward][..], &[Direction::Backward], &Direction::BOTH]) {
        let least = draw.pick(&[1, 1 << 16, 0x7fff_ff00, 0xffff_0000]);
        impairments(case, place, *way).renumber = draw.even(least, u64::from(u32::MAX)) as u32;
    }
}

fn impairments(case: &mut Case, id: LinkId, direction: Direction) -> &mut Impairments {
    case.links.entry(id).or_default().impairments_mut(direction)
}

fn kind(case: &Case, draw: &mut Draw) -> Kind {
    let mut kinds = vec![
        Kind::StripTcp,
        Kind::Split,
        Kind::Split,
        Kind::Clamp,
        Kind::Mark,
        Kind::Drop,
        Kind::Drop,
        Kind::Hold,
        Kind::Reset,
    ];
    if case.client.protocol == Protocol::Mptcp {
        kinds.extend([Kind::StripMptcp; 6]);
    }
    // Several paths get their MTUs later, and rules of their own.
    if case.has_one_mtu() && case.topology.paths() == 1 {
        kinds.extend([Kind::Merge; 2]);
    }
    let checksum = |host| case.knobs(host).mptcp_checksum;
    if case.is_mptcp() && (checksum(case.client.host) || checksum(case.server.host)) {
        kinds.extend([Kind::Alter; 4]);
    }
    draw.pick(&kinds)
}

/// Whether the rules are about what the client sends, and the rules.
fn rules(kind: Kind, draw: &mut Draw) -> (bool, Vec<Rule>) {
    let client = draw.chance(0.5);
    match kind {
        Kind::StripMptcp => strip_mptcp(draw),
        Kind::StripTcp => strip_tcp(draw),
        Kind::Split => {
            let at = draw.bounded(&[0, 1, 7, 535, 1447], 1, 1500) as u32;
            let chance = draw.pick(&[1.0, 1.0, 0.5, 0.1, 0.02]);
            (client, vec![Rule { chance, ..Rule::always(Pick::Data(from(draw)), Action::Split(at)) }])
        }
        Kind::Merge => {
            let on = Pick::Data(from(draw));
            (client, vec![merge(draw, on)])
        }
        Kind::Clamp => {
            let mss = draw.bounded(&[88, 216, 536, 1220, 1400], 100, 1459) as u16;
            (client, vec![Rule::always(if client { Pick::Syn } else { Pick::SynAck }, Action::Clamp(mss))])
        }
        Kind::Mark => {
            let chance = draw.pick(&[1.0, 0.5, 0.1, 0.02]);
            (client, vec![Rule { chance, ..Rule::always(Pick::Any, Action::Mark) }])
        }
        Kind::Drop => {
            let (on, times) = (selected(client, draw), draw.pick(&[1, 1, 1, 2, 3]));
            (
                client,
                vec![Rule { skip: draw.pick(&[0, 0, 0, 1, 2]), times: Some(times), ..Rule::always(on, Action::Drop) }],
            )
        }
        Kind::Hold => {
            let late = Duration::from_millis(draw.bounded(&[1, 10, 50, 210, 1000], 1, 1000));
            let on = selected(client, draw);
            (client, vec![Rule { skip: draw.pick(&[0, 0, 0, 1, 2]), ..Rule::once(on, Action::Late(late)) }])
        }
        Kind::Reset => {
            let towards = draw.pick(&[Towards::Both, Towards::Both, Towards::Receiver, Towards::Sender]);
            let data = Pick::Data(from(draw));
            let on = draw.pick(&[data, Pick::Data(0), Pick::Ack, Pick::Fin]);
            (client, vec![Rule { skip: draw.pick(&[0, 0, 1, 3]), ..Rule::once(on, Action::Reset(towards)) }])
        }
        Kind::Alter => {
            let at = draw.even(0, 1500) as u32;
            (client, vec![Rule::once(Pick::Data(from(draw)), Action::Alter(at))])
        }
    }
}

/// Packets that a transfer may miss for a while.
fn selected(client: bool, draw: &mut Draw) -> Pick {
    let opening = if client { Pick::ThirdAck } else { Pick::SynAck };
    let data = from(draw);
    draw.pick(&[opening, Pick::Data(0), Pick::Data(data), Pick::Data(data), Pick::Ack, Pick::Fin, Pick::DataFin])
}

/// An offset from which on something happens to the data.
fn from(draw: &mut Draw) -> u64 {
    if draw.chance(0.3) { 0 } else { draw.log(1, 128 << 10) }
}

fn by(draw: &mut Draw) -> Removal {
    if draw.chance(0.3) { Removal::Nothing } else { Removal::Nops }
}

/// At each step at which MPTCP may fall back, and later.
fn strip_mptcp(draw: &mut Draw) -> (bool, Vec<Rule>) {
    use TcpOption::{Dss, MpCapable, Mptcp};
    let (client, on, option) = match draw.even(0, 9) {
        0 => (true, Pick::Syn, MpCapable),
        1 | 2 => (false, Pick::SynAck, MpCapable),
        3 => (true, Pick::ThirdAck, Mptcp),
        4 => (true, Pick::Data(0), MpCapable),
        5 => (true, Pick::Ack, MpCapable),
        6 | 7 => (draw.chance(0.5), Pick::Data(from(draw)), Dss),
        8 => (draw.chance(0.5), Pick::Ack, Dss),
        _ => (draw.chance(0.5), Pick::Any, Mptcp),
    };
    let action = Action::Strip(Strip { option, by: by(draw) });
    let rule = match draw.even(0, 5) {
        0 => Rule::once(on, action),
        1 => Rule { skip: draw.log(1, 20) as u32, ..Rule::always(on, action) },
        2 => Rule { chance: draw.pick(&[0.5, 0.1, 0.02]), ..Rule::always(on, action) },
        _ => Rule::always(on, action),
    };
    (client, vec![rule])
}

/// What both ends then do without, or only one of them does.
fn strip_tcp(draw: &mut Draw) -> (bool, Vec<Rule>) {
    use TcpOption::{Mss, Sack, SackPermitted, Timestamps, WindowScale};
    let (client, on, option) = draw.pick(&[
        (true, Pick::Syn, Timestamps),
        (true, Pick::Syn, SackPermitted),
        (true, Pick::Syn, WindowScale),
        (true, Pick::Syn, Mss),
        (false, Pick::SynAck, Timestamps),
        (false, Pick::SynAck, SackPermitted),
        (false, Pick::SynAck, Mss),
        (true, Pick::Ack, Sack),
        (false, Pick::Ack, Sack),
    ]);
    (client, vec![Rule::always(on, Action::Strip(Strip { option, by: by(draw) }))])
}
