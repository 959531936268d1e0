//! Draws what endpoints and their hosts do: sizes, chunks, pauses, socket options, knobs.

use std::time::Duration;

use super::cost;
use super::draw::Draw;
use crate::case::{
    Case, Chunks, Congestion, Endpoint, Family, Host, Impairments, Knobs, Pattern, Pause, Protocol, Syncookies,
};
use crate::payload::Sender;

/// Sizes where something changes, whatever the segment size.
const SIZES: [u64; 12] = [0, 1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537];
/// SO_SNDBUF and SO_RCVBUF where something changes: the kernel's minimum, about a segment, its defaults.
const BUFFERS: [u64; 10] = [1, 1152, 2304, 4608, 8192, 16384, 32768, 65536, 131072, 212992];
/// The most bytes of one call.
const WHOLE: u64 = 65_536;
/// How long all pauses of one pattern may take together.
const PAUSES: Duration = Duration::from_millis(600);
/// How many rests a burst pattern makes about at most: each costs both ends some system calls.
const RESTS: u128 = 256;

/// The payload of a full segment over Ethernet with timestamps: 1448 over IPv4, 1428 over IPv6.
pub(super) fn full_segment(family: Family) -> u64 {
    if family == Family::V6 { 1428 } else { 1448 }
}

/// Draws the payload of both directions, up to `most` bytes and what the case lets through. `stall`: whose reader is
/// to close the window, for which the other has to send enough.
pub(super) fn sizes(case: &mut Case, most: u64, stall: Option<Sender>) {
    let mut draw = Draw::new(case.seed, "sizes");
    let client_limit = cost::payload_limit(case, Sender::Client).min(most);
    let server_limit = cost::payload_limit(case, Sender::Server).min(most);
    let segment = full_segment(case.family);
    let mut boundaries = SIZES.to_vec();
    boundaries.extend([segment - 1, segment, segment + 1, 2 * segment, 10 * segment, 10 * segment + 1]);
    let one = |draw: &mut Draw, limit: u64| draw.bounded(&boundaries, 0, limit).min(limit);

    let (client, server) = match draw.even(0, 9) {
        0 => (0, one(&mut draw, server_limit)),
        1 => (one(&mut draw, client_limit), 0),
        2 | 3 => {
            let small = one(&mut draw, client_limit.min(server_limit / 20));
            (small, small * 20)
        }
        4 | 5 => {
            let small = one(&mut draw, server_limit.min(client_limit / 20));
            (small * 20, small)
        }
        6 => {
            let both = one(&mut draw, client_limit.min(server_limit));
            (both, both)
        }
        _ => (one(&mut draw, client_limit), one(&mut draw, server_limit)),
    };
    (case.client.payload, case.server.payload) = (client, server);
    match stall {
        Some(Sender::Client) => case.server.payload = filling(&mut draw, &case.client, server, server_limit),
        Some(Sender::Server) => case.client.payload = filling(&mut draw, &case.server, client, client_limit),
        None => {}
    }
}

/// A payload that more than fills the receive buffer of `reader`.
fn filling(draw: &mut Draw, reader: &Endpoint, drawn: u64, limit: u64) -> u64 {
    let buffer = u64::from(reader.options.rcvbuf.unwrap_or(131_072));
    drawn.max(draw.even(2 * buffer, 6 * buffer)).min(limit)
}

/// Decides, where pauses are on, whether a reader is to rest until its window is closed, and which one's; gives it a
/// small receive buffer then.
pub(super) fn plan_stall(case: &mut Case, buffers_drawn: bool) -> Option<Sender> {
    let mut draw = Draw::new(case.seed, "stall");
    if !draw.chance(0.6) {
        return None;
    }
    let who = draw.pick(&[Sender::Client, Sender::Server]);
    let reader = endpoint(case, who);
    if reader.options.rcvbuf.is_none() && (buffers_drawn || draw.chance(0.6)) {
        let buffer = draw.bounded(&[8192, 16384, 65536], 4608, 65536) as u32;
        reader.options.rcvbuf = Some(buffer);
        reader.options.rcvlowat = reader.options.rcvlowat.map(|lowat| lowat.min(buffer / 2));
    }
    Some(who)
}

/// Draws the pauses of writers and readers.
pub(super) fn pauses(case: &mut Case, stall: Option<Sender>) {
    let mut draw = Draw::new(case.seed, "pauses");
    for who in [Sender::Client, Sender::Server] {
        let own = endpoint(case, who).payload;
        let peers = endpoint(case, other(who)).payload;
        if draw.chance(0.35) {
            endpoint(case, who).write.pauses = some_pauses(&mut draw, own);
        }
        if stall == Some(who) {
            let at = if draw.chance(0.5) { 0 } else { draw.even(0, peers / 4) };
            endpoint(case, who).read.pauses = vec![Pause { at, lasts: draw.millis(100, 400) }];
        } else if draw.chance(0.35) {
            endpoint(case, who).read.pauses = some_pauses(&mut draw, peers);
        }
    }
}

/// One to three pauses within `bytes`, in order, the longest most likely the first.
fn some_pauses(draw: &mut Draw, bytes: u64) -> Vec<Pause> {
    let mut offsets: Vec<u64> = (0..draw.pick(&[1, 1, 2, 3]))
        .map(|_| {
            let edge = draw.pick(&[0, 1, bytes / 2, bytes.saturating_sub(1), bytes]);
            if draw.chance(0.5) { edge.min(bytes) } else { draw.even(0, bytes) }
        })
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    let mut left = 250;
    offsets
        .into_iter()
        .map(|at| {
            let lasts = draw.log(1, left);
            left = (left - lasts).max(1);
            Pause { at, lasts: Duration::from_millis(lasts) }
        })
        .collect()
}

/// Draws the chunk patterns of writers and readers.
pub(super) fn chunks(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "chunks");
    let segment = full_segment(case.family) as u32;
    let (client, server) = (case.client.payload, case.server.payload);
    let which = draw.even(1, 15);
    let mut nth = 0;
    for (who, writes, reads) in [(Sender::Client, client, server), (Sender::Server, server, client)] {
        for (bytes, write) in [(writes, true), (reads, false)] {
            if which >> nth & 1 == 1 {
                // A call below the low-water mark may have to wait for the acknowledgement of the one before it.
                let waits =
                    write && endpoint(case, who).options.notsent_lowat.is_some_and(|bytes| bytes < WHOLE as u32);
                let calls = cost::calls_limit(case);
                let calls = if waits { calls.min(cost::rounds(case)) } else { calls };
                let chunks = Chunks { pattern: pattern(&mut draw, bytes, calls, segment), pauses: Vec::new() };
                *(if write { &mut endpoint(case, who).write } else { &mut endpoint(case, who).read }) = chunks;
            }
            nth += 1;
        }
    }
}

/// A pattern that needs about `calls` calls at most for `bytes` bytes.
fn pattern(draw: &mut Draw, bytes: u64, calls: u64, segment: u32) -> Pattern {
    let least = (bytes / calls).clamp(1, WHOLE) as u32;
    let segment64 = u64::from(segment);
    let sizes = [1, 2, 7, 100, segment64 - 1, segment64, segment64 + 1, 4096, 8191, 8192, 8193, 65_535, 65_536];
    let size = |draw: &mut Draw| draw.bounded(&sizes, u64::from(least), WHOLE) as u32;
    match draw.even(0, 9) {
        0 | 1 if least == 1 && draw.chance(0.2) => Pattern::Fixed(1),
        0 | 1 => Pattern::Fixed(size(draw)),
        2 | 3 => {
            let most = size(draw).max(2 * least).min(WHOLE as u32);
            Pattern::Uniform { min: draw.log(1, u64::from(most)) as u32, max: most }
        }
        // The mean of the powers of two up to N is about 2 N / log2 N.
        4 | 5 => Pattern::PowersOfTwo {
            max: (least * 16).max(draw.pick(&[2, 64, 1024, 4096, 8192, 65_536])).next_power_of_two().min(65_536),
        },
        6 | 7 => Pattern::Dribble { bytes: draw.bounded(&[1, 2, 100, 1448, 4096], 1, calls.min(4096)) as u32 },
        8 => {
            let rest = draw.micros_log(100, 50_000);
            let most_rests = (PAUSES.as_micros() / 2 / rest.as_micros().max(1)).clamp(1, RESTS) as u64;
            let every = draw.log((bytes / most_rests).max(1), (bytes / 2).max(4096)).min(u64::from(u32::MAX));
            Pattern::Bursts { chunk: size(draw), every: every as u32, rest }
        }
        _ => Pattern::Around { unit: draw.pick(&[segment, 4096, 8192]).max(least) },
    }
}

/// Draws SO_SNDBUF and SO_RCVBUF.
pub(super) fn buffers(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "buffers");
    let which = draw.even(1, 3);
    for (bit, who) in [(1, Sender::Client), (2, Sender::Server)] {
        if which & bit == 0 {
            continue;
        }
        let options = &mut endpoint(case, who).options;
        let sure = draw.even(0, 3);
        let fields = [&mut options.sndbuf, &mut options.rcvbuf, &mut options.sndbuf_late, &mut options.rcvbuf_late];
        for (nth, field) in fields.into_iter().enumerate() {
            if nth as u64 == sure || draw.chance(0.25) {
                *field = Some(draw.bounded(&BUFFERS, 1152, 1 << 20) as u32);
            }
        }
    }
}

/// Draws the other socket options: one to three of them, at one end or both.
pub(super) fn options(case: &mut Case, congestions: &[Congestion]) {
    let mut draw = Draw::new(case.seed, "options");
    let which = draw.even(1, 3);
    for (bit, who) in [(1, Sender::Client), (2, Sender::Server)] {
        if which & bit == 0 {
            continue;
        }
        // MPTCP sockets refuse TCP_MAXSEG on many kernels, which says little.
        let mptcp = endpoint(case, who).protocol == Protocol::Mptcp;
        for _ in 0..draw.even(1, 3) {
            let options = &mut endpoint(case, who).options;
            match draw.even(0, 6) {
                0 => options.nodelay = true,
                1 => options.cork = true,
                2 => options.notsent_lowat = Some(draw.bounded(&[1, 2, 1448, 4096, 16384], 1, 1 << 17) as u32),
                3 => {
                    let buffer = [options.rcvbuf, options.rcvbuf_late].into_iter().flatten().min();
                    let most = buffer.map_or(16384, |buffer| (buffer / 2).clamp(1, 16384));
                    options.rcvlowat = Some(draw.bounded(&[1, 2, 1024, 1448, 4096, 16384], 1, u64::from(most)) as u32);
                }
                4 if !congestions.is_empty() => options.congestion = Some(draw.pick(congestions)),
                _ if mptcp && draw.chance(0.8) => options.nodelay = true,
                _ => options.maxseg = Some(draw.bounded(&[88, 89, 536, 1220, 1400, 1460, 32767], 88, 9000) as u16),
            }
        }
    }
}

/// Draws kernel knobs of the hosts of client and server.
pub(super) fn knobs(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "knobs");
    let mut hosts = vec![case.client.host, case.server.host];
    hosts.dedup();
    if hosts.len() == 2 && draw.chance(0.5) {
        hosts.remove(draw.even(0, 1) as usize);
    }
    for host in hosts {
        let drawn = some_knobs(&mut draw, host, case);
        if drawn != Knobs::default() {
            case.hosts.insert(host, drawn);
        }
    }
}

fn some_knobs(draw: &mut Draw, host: Host, case: &Case) -> Knobs {
    let mut knobs = Knobs::default();
    let listens = host == case.server.host;
    let mptcp = [&case.client, &case.server].into_iter().any(|end| end.host == host && end.protocol == Protocol::Mptcp);
    for _ in 0..draw.even(1, 3) {
        match draw.even(0, 7) {
            0 => knobs.tcp_rmem = Some(triple(draw, 6 << 20)),
            1 => knobs.tcp_wmem = Some(triple(draw, 4 << 20)),
            2 => knobs.sack = false,
            3 => knobs.timestamps = false,
            4 => knobs.window_scaling = false,
            5 | 6 if mptcp => knobs.mptcp_checksum = true,
            _ if listens => knobs.syncookies = draw.pick(&[Syncookies::Off, Syncookies::Always, Syncookies::Always]),
            _ => knobs.sack = false,
        }
    }
    knobs
}

/// Takes SYN cookies on every connect back where packets may overtake or vanish: a listener that keeps no state takes
/// the first segment it sees after the SYN for the one that begins the stream, and answers any other with a reset. Or has links do
/// nothing that harms. What a cookie remembers of the client is its segment size, its window's scale and its
/// options: now and then the client has a small window, and is returned as the one whose window is to be filled.
pub(super) fn spare_cookies(case: &mut Case) -> Option<Sender> {
    let mut draw = Draw::new(case.seed, "cookies");
    if !case.hosts.values().any(|knobs| knobs.syncookies == Syncookies::Always) {
        return None;
    }
    // Each copy of a join's SYN is answered with a number of its own, of which the last one alone is kept.
    let several = case.topology.paths() > 1;
    let calm = |impairments: &Impairments| {
        let rate = impairments.rate.filter(|rate| rate.queue >= 64);
        let duplicate = if several { 0.0 } else { impairments.duplicate };
        Impairments { delay: impairments.delay, rate, duplicate, ..Impairments::default() }
    };
    let in_order = case.is_loopback() || case.cpus == 1;
    if in_order && draw.chance(0.5) {
        for link in case.links.values_mut().filter(|link| link.is_impaired()) {
            (link.forward, link.backward) = (calm(&link.forward), calm(&link.backward));
            // A link that does nothing is not one that is looked at.
            link.forward.delay = link.forward.delay.max(Duration::from_micros(100));
        }
    }
    let mut ways = case.links.values().flat_map(|link| [&link.forward, &link.backward]);
    if !in_order || ways.any(|way| *way != calm(way)) {
        for knobs in case.hosts.values_mut().filter(|knobs| knobs.syncookies == Syncookies::Always) {
            knobs.syncookies = Syncookies::OnOverflow;
        }
        case.hosts.retain(|_, knobs| *knobs != Knobs::default());
        return None;
    }
    let small = draw.chance(0.5) && case.client.options == crate::case::SocketOptions::default();
    small.then(|| {
        case.client.options.rcvbuf = Some(draw.pick(&[4608, 8192, 16_384]));
        Sender::Client
    })
}

/// Minimum, default and maximum of a buffer, up to `most`.
fn triple(draw: &mut Draw, most: u64) -> [u32; 3] {
    let least = draw.pick(&[4096, 4096, 8192]);
    let default = draw.bounded(&[4096, 8192, 16384, 65536, 131072], least, 1 << 20);
    [least as u32, default as u32, draw.bounded(&[default, 2 * default, most], default, most) as u32]
}

/// The endpoint that sends as `who`.
fn endpoint(case: &mut Case, who: Sender) -> &mut Endpoint {
    match who {
        Sender::Client => &mut case.client,
        Sender::Server => &mut case.server,
    }
}

fn other(who: Sender) -> Sender {
    match who {
        Sender::Client => Sender::Server,
        Sender::Server => Sender::Client,
    }
}
