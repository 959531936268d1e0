//! How long a whole transfer may take before a run is given up undecided. Never a verdict: only a Skip.

use std::time::Duration;

use super::{losses, silence};
use crate::case::{Case, Chunks, Endpoint, Knobs, Loss, Pattern, Rate, SocketOption};

/// What every transfer is given, whatever it is.
const BASE: Duration = Duration::from_secs(20);

/// The most that any transfer is given: a case that needs longer is undecided.
pub const MAX: Duration = Duration::from_secs(180);

/// How much slower than estimated a transfer may be.
const SLACK: u32 = 4;

/// How long the whole transfer of `case` may take.
pub fn of(case: &Case, patience: Duration) -> Duration {
    let each = 2 * patience + unhindered(case);
    (BASE + each * u32::from(case.rounds.count)).min(MAX)
}

/// How long each connection of `case` may take where it always goes on.
pub fn unhindered(case: &Case) -> Duration {
    rests(case) + SLACK * (calls(case) + rates(case) + windows(case) + repairs(case))
}

/// The endpoints of `case`, each with the other one.
fn pairs(case: &Case) -> [(&Endpoint, &Endpoint); 2] {
    [(&case.client, &case.server), (&case.server, &case.client)]
}

/// All planned rests, one after the other.
fn rests(case: &Case) -> Duration {
    let sum = |chunks: &Chunks, bytes: u64| {
        let pauses: Duration = chunks.pauses.iter().map(|pause| pause.lasts).sum();
        let bursts = match chunks.pattern {
            Pattern::Bursts { every, rest, .. } => times(rest, bytes / u64::from(every.max(1))),
            _ => Duration::ZERO,
        };
        pauses + bursts
    };
    let each = pairs(case).map(|(from, to)| sum(&from.write, from.payload) + sum(&to.read, from.payload));
    each[0] + each[1] + 2 * case.ending.pause
}

/// The time that the reads and writes themselves take.
fn calls(case: &Case) -> Duration {
    const EACH: Duration = Duration::from_micros(10);
    let count = |chunks: &Chunks, bytes: u64| match chunks.pattern {
        Pattern::Whole => bytes / 65536,
        Pattern::Fixed(size) => bytes / u64::from(size.max(1)),
        Pattern::Uniform { min, max } => bytes / (u64::from(min) + u64::from(max)).div_ceil(2).max(1),
        Pattern::PowersOfTwo { max } => bytes / (2 * u64::from(max.max(1))) * (u64::from(max.max(1).ilog2()) + 1),
        Pattern::Dribble { bytes: dribble } => bytes.min(u64::from(dribble)) + bytes / 65536,
        Pattern::Bursts { chunk, .. } => bytes / u64::from(chunk.max(1)),
        Pattern::Around { unit } => bytes / u64::from(unit.max(1)),
    };
    pairs(case)
        .map(|(from, to)| times(EACH, count(&from.write, from.payload) + count(&to.read, from.payload)))
        .into_iter()
        .sum()
}

/// The time that limited rates take for everything, headers included.
fn rates(case: &Case) -> Duration {
    let bits = 1.3 * 8.0 * case.client.payload.saturating_add(case.server.payload) as f64;
    let slowest =
        losses::directions(case).filter_map(|impairments| impairments.rate).map(|Rate { kbit, .. }| kbit).min();
    slowest.map_or(Duration::ZERO, |kbit| silence::seconds(bits / (f64::from(kbit.max(1)) * 1000.0)))
}

/// The time that round trips take, each with as much on its way as the smallest buffer holds. With buffers of a few
/// segments the sender waits for a delayed acknowledgement or a probe each time.
fn windows(case: &Case) -> Duration {
    const SMALL: u64 = 16 << 10;
    const WAIT: Duration = silence::RTO_MIN;
    let each = pairs(case).map(|(from, to)| {
        let window = send_buffer(from, &case.knobs(from.host)).min(receive_buffer(to, &case.knobs(to.host)));
        let wait = if window < SMALL { WAIT } else { Duration::ZERO };
        times(silence::round_trip(case) + wait, 1 + from.payload / (window / 2).max(512))
    });
    each[0] + each[1]
}

/// The smallest send buffer that `endpoint` asks for, or the kernel's initial one.
fn send_buffer(endpoint: &Endpoint, knobs: &Knobs) -> u64 {
    let options = &endpoint.options;
    let changed = endpoint.smallest(SocketOption::SoSndbuf);
    smallest(&[options.sndbuf, options.sndbuf_late, changed, knobs.tcp_wmem.map(|[_, first, _]| first)], 16 << 10)
}

/// The smallest receive buffer that `endpoint` asks for, or the kernel's initial one.
pub fn receive_buffer(endpoint: &Endpoint, knobs: &Knobs) -> u64 {
    let options = &endpoint.options;
    let changed = [SocketOption::SoRcvbuf, SocketOption::TcpWindowClamp].map(|option| endpoint.smallest(option));
    let first = knobs.tcp_rmem.map(|[_, first, _]| first);
    smallest(&[options.rcvbuf, options.rcvbuf_late, changed[0], changed[1], first], 128 << 10)
}

fn smallest(options: &[Option<u32>], default: u64) -> u64 {
    options.iter().copied().flatten().min().map_or(default, u64::from)
}

/// The time that lost packets take until they are sent again, each on its own.
fn repairs(case: &Case) -> Duration {
    let packets = case.client.payload.saturating_add(case.server.payload) / 1024 + 10;
    let chance: f64 = losses::directions(case)
        .map(|impairments| {
            let lost = match impairments.loss {
                None => 0.0,
                Some(Loss::Independent(chance)) => chance,
                Some(Loss::GilbertElliott { to_bad, to_good, good, bad }) => {
                    let share = if to_bad > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 };
                    share * bad + (1.0 - share) * good
                }
                Some(Loss::Cells { probability, carriages }) => probability * f64::from(carriages),
            };
            lost + impairments.corrupt
        })
        .sum();
    silence::seconds(packets as f64 * chance * (silence::RTO_MIN + silence::round_trip(case)).as_secs_f64())
}

/// So many times `each`, without overflow.
fn times(each: Duration, count: u64) -> Duration {
    silence::seconds(each.as_secs_f64() * count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Host, LinkId};

    fn budget(case: &Case) -> Duration {
        of(case, silence::patience(case))
    }

    #[test]
    fn a_plain_case_is_given_the_base_and_twice_its_patience() {
        let given = budget(&Case::default());
        assert!((BASE + 2 * silence::CLEAN..BASE + 3 * silence::CLEAN).contains(&given), "{given:?}");
    }

    #[test]
    fn slow_links_small_buffers_and_rests_need_more_time() {
        let plain = Case::default();
        let mut slow = plain.clone();
        slow.server.host = Host::Ns2;
        slow.client.payload = 1_000_000;
        slow.links.entry(LinkId::Ns1Ns2).or_default().forward.rate = Some(Rate { kbit: 1000, queue: 10 });
        let mut small = plain.clone();
        small.client.payload = 100_000;
        small.server.options.rcvbuf = Some(2304);
        let mut resting = plain.clone();
        resting.client.payload = 100;
        resting.client.write.pattern = Pattern::Bursts { chunk: 1, every: 10, rest: Duration::from_millis(500) };
        for case in [slow, small, resting] {
            assert!(budget(&case) > budget(&plain) + Duration::from_secs(4), "{case:?}");
        }
    }

    #[test]
    fn no_case_is_given_more_than_the_most() {
        let mut case = Case::default();
        case.client.payload = u64::MAX / 4;
        case.client.write.pattern = Pattern::Fixed(0);
        assert_eq!(budget(&case), MAX);
    }
}
