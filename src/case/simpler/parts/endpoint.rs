//! Steps within endpoints.

use super::{MICROSECOND, nanos};
use crate::case::simpler::steps::{Phase, Steps};
use crate::case::simpler::weight::{PLAIN_BUFFER, PLAIN_MAXSEG};
use crate::case::{Case, Change, Chunks, Endpoint, Io, Pattern, SocketOptions};

/// Finds one of the two endpoints.
type Which = fn(&mut Case) -> &mut Endpoint;
/// Finds one of the two chunkings of an endpoint.
type Side = fn(&mut Endpoint) -> &mut Chunks;

/// Payloads worth a try on the way down: a full segment, the largest call.
const SIZES: [u64; 2] = [1448, 65_536];

/// Collects them.
pub(super) fn steps(case: &Case, steps: &mut Steps) {
    let ends: [(&str, &Endpoint, Which); 2] =
        [("client", &case.client, |case| &mut case.client), ("server", &case.server, |case| &mut case.server)];
    steps.add(Phase::Part, "0 payload", |case| (case.client.payload, case.server.payload) = (0, 0));
    for (name, endpoint, which) in ends {
        payload(name, endpoint.payload, which, steps);
        chunks(&format!("{name}.write"), &endpoint.write, which, |end| &mut end.write, steps);
        chunks(&format!("{name}.read"), &endpoint.read, which, |end| &mut end.read, steps);
        io(&format!("{name}.io"), endpoint.io, which, steps);
        changes(&format!("{name}.changes"), &endpoint.changes, which, steps);
        options(&format!("{name}.options"), &endpoint.options, which, steps);
    }
}

fn payload(name: &str, bytes: u64, which: Which, steps: &mut Steps) {
    let field = format!("{name}.payload");
    let set = move |case: &mut Case, value| which(case).payload = value;
    steps.add(Phase::Part, &field, move |case| set(case, 0));
    let below: Vec<u64> = SIZES.into_iter().filter(|size| *size < bytes).collect();
    steps.targets(Phase::Size, &field, bytes, &below, set);
    steps.number(Phase::Size, &field, (bytes, 0, 1), set);
}

fn chunks(name: &str, chunks: &Chunks, which: Which, side: Side, steps: &mut Steps) {
    if *chunks == Chunks::default() {
        return;
    }
    steps.add(Phase::Part, name, move |case| *side(which(case)) = Chunks::default());
    steps.add(Phase::Field, &format!("{name}.pattern"), move |case| side(which(case)).pattern = Pattern::Whole);
    pattern(&format!("{name}.pattern"), chunks.pattern, which, side, steps);
    let field = format!("{name}.pauses");
    steps.list(&field, chunks.pauses.len(), move |case, chunk| {
        side(which(case)).pauses.drain(chunk);
    });
    for (nth, pause) in chunks.pauses.iter().enumerate() {
        steps.rounder(&format!("{field}.{nth}.at"), pause.at, 0, move |case, value| {
            side(which(case)).pauses[nth].at = value;
        });
        steps.rounder(&format!("{field}.{nth}.for"), pause.lasts.as_nanos() as u64, MICROSECOND, move |case, value| {
            side(which(case)).pauses[nth].lasts = nanos(value);
        });
    }
}

fn pattern(field: &str, pattern: Pattern, which: Which, side: Side, steps: &mut Steps) {
    let fixed: &[u32] = match pattern {
        Pattern::Whole | Pattern::Fixed(_) => &[],
        Pattern::Dribble { .. } => &[1],
        Pattern::PowersOfTwo { max } => &[max, 1],
        Pattern::Around { unit } => &[unit, unit.saturating_add(1), unit.saturating_sub(1)],
        Pattern::Uniform { min, max } => &[max, min],
        Pattern::Bursts { chunk, .. } => &[chunk],
    };
    for size in fixed.iter().copied() {
        steps.add(Phase::Kind, &format!("{field} {size}"), move |case| {
            side(which(case)).pattern = Pattern::Fixed(size);
        });
    }
    let mut rounder = |value: u32, make: fn(Pattern, u32) -> Pattern| {
        steps.rounder(field, value.into(), 1, move |case, value| {
            let pattern = &mut side(which(case)).pattern;
            *pattern = make(*pattern, value as u32);
        });
    };
    match pattern {
        Pattern::Whole | Pattern::Around { .. } => {}
        Pattern::Fixed(size) => rounder(size, |_, value| Pattern::Fixed(value)),
        Pattern::Dribble { bytes } => rounder(bytes, |_, bytes| Pattern::Dribble { bytes }),
        Pattern::PowersOfTwo { max } => {
            steps.targets(Phase::Number, field, max.into(), &[u64::from(max / 2).max(1)], move |case, value| {
                side(which(case)).pattern = Pattern::PowersOfTwo { max: value as u32 };
            });
        }
        Pattern::Uniform { max, .. } => rounder(max, |pattern, max| match pattern {
            Pattern::Uniform { min, .. } => Pattern::Uniform { min: min.min(max), max },
            other => other,
        }),
        Pattern::Bursts { chunk, rest, .. } => {
            rounder(chunk, |pattern, chunk| match pattern {
                Pattern::Bursts { every, rest, .. } => Pattern::Bursts { chunk, every, rest },
                other => other,
            });
            steps.rounder(&format!("{field}.rest"), rest.as_nanos() as u64, MICROSECOND, move |case, value| {
                if let Pattern::Bursts { rest, .. } = &mut side(which(case)).pattern {
                    *rest = nanos(value);
                }
            });
        }
    }
}

fn io(name: &str, io: Io, which: Which, steps: &mut Steps) {
    if io == Io::default() {
        return;
    }
    steps.add(Phase::Part, name, move |case| which(case).io = Io::default());
    let mut off = |field: &str, edit: fn(&mut Io)| {
        steps.add(Phase::Field, &format!("{name}.{field}"), move |case| edit(&mut which(case).io));
    };
    off("send", |io| io.send = Default::default());
    off("receive", |io| io.receive = Default::default());
    off("timestamps", |io| io.timestamps = false);
    off("inq", |io| io.inq = false);
}

fn changes(field: &str, changes: &[Change], which: Which, steps: &mut Steps) {
    steps.list(field, changes.len(), move |case, chunk| {
        which(case).changes.drain(chunk);
    });
    for (nth, change) in changes.iter().enumerate() {
        steps.rounder(&format!("{field}.{nth}.at"), change.at, 0, move |case, value| {
            which(case).changes[nth].at = value;
        });
    }
}

fn options(name: &str, options: &SocketOptions, which: Which, steps: &mut Steps) {
    if *options == SocketOptions::default() {
        return;
    }
    steps.add(Phase::Part, name, move |case| which(case).options = SocketOptions::default());
    let mut off = |field: &str, edit: fn(&mut SocketOptions)| {
        steps.add(Phase::Field, &format!("{name}.{field}"), move |case| edit(&mut which(case).options));
    };
    off("nodelay", |options| options.nodelay = false);
    off("cork", |options| options.cork = false);
    off("rcvlowat", |options| options.rcvlowat = None);
    off("maxseg", |options| options.maxseg = None);
    off("congestion", |options| options.congestion = None);
    off("fastopen", |options| options.fastopen = false);
    for &option in options.extra.keys() {
        steps.add(Phase::Field, &format!("{name}.extra.{option}"), move |case| {
            which(case).options.extra.remove(&option);
        });
    }

    type Setting = fn(&mut SocketOptions) -> &mut Option<u32>;
    let buffers: [(&str, Option<u32>, Setting); 5] = [
        ("sndbuf", options.sndbuf, |options| &mut options.sndbuf),
        ("rcvbuf", options.rcvbuf, |options| &mut options.rcvbuf),
        ("sndbuf_late", options.sndbuf_late, |options| &mut options.sndbuf_late),
        ("rcvbuf_late", options.rcvbuf_late, |options| &mut options.rcvbuf_late),
        ("notsent_lowat", options.notsent_lowat, |options| &mut options.notsent_lowat),
    ];
    for (field, value, setting) in buffers {
        let Some(value) = value else { continue };
        let field = format!("{name}.{field}");
        steps.add(Phase::Field, &field, move |case| *setting(&mut which(case).options) = None);
        steps.targets(Phase::Number, &field, value.into(), &towards_buffer(value.into()), move |case, value| {
            *setting(&mut which(case).options) = Some(value as u32);
        });
    }
    if let Some(value) = options.rcvlowat {
        steps.rounder(&format!("{name}.rcvlowat"), value.into(), 1, move |case, value| {
            which(case).options.rcvlowat = Some(value as u32);
        });
    }
    if let Some(value) = options.maxseg {
        let field = format!("{name}.maxseg");
        steps.number(Phase::Number, &field, (value.into(), PLAIN_MAXSEG, 64), move |case, value| {
            which(case).options.maxseg = Some(value as u16);
        });
    }
}

/// The powers of two between `value` and the plain buffer size, and that size.
fn towards_buffer(value: u64) -> Vec<u64> {
    let range = value.min(PLAIN_BUFFER)..=value.max(PLAIN_BUFFER);
    (0..31).map(|bit| 1 << bit).filter(|size| *size != value && range.contains(size)).collect()
}
