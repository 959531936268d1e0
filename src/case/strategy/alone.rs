//! Draws long transfers over several paths that do nothing but take their time, and have one thing happen to one of them:
//! what has to come of it is certain then.

use std::time::Duration;

use super::cost;
use super::draw::Draw;
use super::paths::{impairments, knobs};
use crate::case::{
    Action, Case, Direction, Event, First, Happening, Host, LinkId, Moment, PathManager, Pause, Pick, PmEndpoint, Rule,
    TcpOption, Topology,
};
use crate::payload::Sender;

/// The share of cases with several impaired paths that become such a transfer.
const SHARE: f64 = 0.45;
/// The share of these in which a path stops working for good, as far as the transfer is concerned.
const STRANDS_SHARE: f64 = 0.35;
/// The share of the others in which an announcement is not heard.
const UNHEARD_SHARE: f64 = 0.2;
/// The least that it carries, and up to where in it the event happens. The rest is more than any window holds by then.
const PAYLOAD: (u64, u64) = (1 << 20, 256 << 10);
/// How long a path rests on which data is stranded: by far longer than the others need for all of it.
const STRANDED: (u64, u64) = (8_000, 20_000);
/// How long the writer rests after an announcement that was not heard, in milliseconds: longer than the timers last by which it is made
/// again.
const RESTS: (u64, u64) = (2_500, 5_000);

/// Makes a share of the cases such a transfer. `waits`: it may wait for many seconds.
pub(super) fn draw(case: &mut Case, most: u64, waits: bool) {
    let mut draw = Draw::new(case.seed, "retires");
    let managed = [case.client.host, case.server.host].iter().any(|host| case.knobs(*host).pm.userspace);
    if case.topology == Topology::Diamond || managed || !draw.chance(SHARE) {
        return;
    }
    let strands = draw.chance(STRANDS_SHARE) && waits;
    let unheard = !strands && draw.chance(UNHEARD_SHARE) && waits;
    let announced = unheard || draw.chance(0.4);
    let owner = if announced { case.server.host } else { case.client.host };
    let backups = strands && draw.chance(0.5);
    places(case, &mut draw, owner, backups);
    let (side, at) = carries(case, &mut draw, most);
    case.events.clear();
    if unheard {
        lose_an_announcement(case, &mut draw, side);
        return;
    }
    let when = match side {
        Sender::Client => Moment::Client(at),
        Sender::Server => Moment::Server(at),
    };
    let what = if strands { strand(case, &mut draw) } else { retire(case, &mut draw, owner) };
    case.events.push(Event { when, what });
}

/// Makes the paths smooth, and has `owner` make a subflow over each, or announce it where it is the server.
fn places(case: &mut Case, draw: &mut Draw, owner: Host, backups: bool) {
    let ways = case.topology.ways();
    case.links.clear();
    let slow = draw.micros_log(1_000, 10_000);
    for way in ways {
        for direction in Direction::BOTH {
            impairments(case, *way, direction).delay = slow * draw.pick(&[1, 1, 2]);
        }
    }
    let (client, server) = (case.client.host, case.server.host);
    let announced = owner == server;
    for host in [client, server] {
        let knobs = knobs(case, host);
        // Who hears of no address needs no leave to use one: what it then makes of one that goes is another matter.
        let accepted = if announced { 8 } else { draw.pick(&[0, 8]) };
        knobs.pm = PathManager { subflows: Some(8), accepted: Some(accepted), ..PathManager::default() };
        knobs.join_initial = true;
        if host == owner {
            let endpoint = |way: &LinkId| PmEndpoint {
                signal: announced,
                subflow: !announced,
                backup: backups,
                ..PmEndpoint::on(*way)
            };
            knobs.pm.endpoints = ways[1..].iter().map(endpoint).collect();
        }
    }
}

/// Makes the transfer long in one direction. Returns who sends most, and after how many of its bytes something may happen.
fn carries(case: &mut Case, draw: &mut Draw, most: u64) -> (Sender, u64) {
    let side = draw.pick(&[Sender::Client, Sender::Server]);
    let (least, until) = PAYLOAD;
    let bytes = draw.log(least, 4 << 20).min(cost::payload_limit(case, side)).min(most);
    let at = draw.even(until / 4, until).min(bytes);
    let (endpoint, first) = match side {
        Sender::Client => (&mut case.client, First::Client),
        Sender::Server => (&mut case.server, First::Server),
    };
    endpoint.payload = endpoint.payload.max(bytes);
    case.ending.first = first;
    (side, at)
}

/// A path lets nothing through any more: what was given to it has to go by the others. Mostly the first one, beside which
/// all others may be backups.
fn strand(case: &Case, draw: &mut Draw) -> Happening {
    let ways = case.topology.ways();
    let link = if draw.chance(0.6) { ways[0] } else { draw.pick(ways) };
    let (least, most) = STRANDED;
    Happening::Block { link, lasts: Duration::from_millis(draw.even(least, most)) }
}

/// The server's announcement is lost, or the answer to it, and the transfer lasts until it is made again.
fn lose_an_announcement(case: &mut Case, draw: &mut Draw, side: Sender) {
    let to_server = draw.chance(0.5);
    let (way, option) = match to_server {
        true => (case.client_direction(), TcpOption::AddAddrEcho),
        false => (case.client_direction().reverse(), TcpOption::AddAddr),
    };
    let rule = Rule { times: Some(draw.pick(&[1, 1, 2])), ..Rule::always(Pick::Carries(option), Action::Drop) };
    for link in case.topology.ways() {
        impairments(case, *link, way).rules.push(rule.clone());
    }
    let (least, most) = RESTS;
    let lasts = Duration::from_millis(draw.even(least, most));
    let endpoint = if side == Sender::Client { &mut case.client } else { &mut case.server };
    endpoint.write.pauses = vec![Pause { at: endpoint.payload / 2, lasts }];
}

/// A further path is taken back, or made a backup.
fn retire(case: &Case, draw: &mut Draw, owner: Host) -> Happening {
    let link = draw.pick(&case.topology.ways()[1..]);
    // A backup is one for both ends, whoever says so.
    let host = draw.pick(&[case.client.host, case.server.host]);
    match draw.even(0, 1) {
        0 if host == owner => Happening::Backup { host, link, on: true },
        _ => Happening::Remove { host: owner, link },
    }
}
