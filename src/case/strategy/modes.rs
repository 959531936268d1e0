//! Draws by which calls endpoints send and receive, how one leaves before its time, and how often they connect.

use super::draw::Draw;
use crate::case::{Case, Io, Leave, Manner, Receiving, Rounds, Sending, Sysctl};
use crate::payload::Sender;

/// The most bytes of all rounds together, both directions.
const ALL_ROUNDS: u64 = 8 << 20;

/// Draws the calls of one end or both.
pub(super) fn io(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "io");
    let which = draw.even(1, 3);
    for (bit, end) in [(1, &mut case.client), (2, &mut case.server)] {
        if which & bit != 0 {
            end.io = some_io(&mut draw);
        }
    }
}

/// Calls of which at least one is not the plain one.
fn some_io(draw: &mut Draw) -> Io {
    let mut io = Io::default();
    let what = draw.even(0, 4);
    if matches!(what, 0 | 1 | 4) {
        io.send = draw.pick(&Sending::ALL[1..]);
    }
    if matches!(what, 0 | 2) {
        io.receive = draw.pick(&Receiving::ALL[1..]);
    }
    if what == 3 {
        io.receive = draw.pick(&[Receiving::Recv, Receiving::Recv, Receiving::Scatter, Receiving::SaveAfterPeek]);
        (io.timestamps, io.inq) = draw.pick(&[(false, true), (true, false), (true, true)]);
    }
    io
}

/// Draws who leaves before its time, when and how.
pub(super) fn leave(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "leave");
    let by = draw.pick(&[Sender::Client, Sender::Server]);
    let (own, peers) = match by {
        Sender::Client => (case.client.payload, case.server.payload),
        Sender::Server => (case.server.payload, case.client.payload),
    };
    let how = draw.pick(&[Manner::Close, Manner::Unread, Manner::Unread, Manner::Linger]);
    let mut at = |bytes: u64| match draw.even(0, 3) {
        0 => 0,
        1 => bytes,
        _ => draw.bounded(&[1, bytes / 2, bytes.saturating_sub(1)], 0, bytes).min(bytes),
    };
    case.ending.leave = Some(Leave { by, how, sent: at(own), received: at(peers) });
}

/// Draws how many connections there are; the payloads become smaller for it.
pub(super) fn rounds(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "rounds");
    again(case, draw.pick(&[2, 2, 3, 3, 4, 8]), draw.chance(0.6));
}

/// Draws TCP Fast Open at the client, mostly at the server, and mostly a second connection, which has a cookie.
pub(super) fn fastopen(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "fastopen");
    case.client.options.fastopen = true;
    case.server.options.fastopen = draw.chance(0.85);
    let without_cookie = draw.chance(0.2);
    let (client, server) = if without_cookie { (0x5, 0x202) } else { (1, 2) };
    let mut set =
        |host, bits: u32| *case.hosts.entry(host).or_default().sysctls.entry(Sysctl::TcpFastopen).or_default() |= bits;
    set(case.server.host, server | 1);
    if without_cookie {
        set(case.client.host, client);
    }
    if case.rounds.count == 1 && draw.chance(0.8) {
        again(case, draw.pick(&[2, 2, 3]), draw.chance(0.3));
    }
}

/// Has this many connections; the payloads become smaller for it.
fn again(case: &mut Case, count: u8, reuse: bool) {
    case.rounds = Rounds { count, reuse };
    let most = ALL_ROUNDS / u64::from(count) / 2;
    for end in [&mut case.client, &mut case.server] {
        end.payload = end.payload.min(most) / u64::from(if end.payload > 65_536 { count } else { 1 });
    }
}
