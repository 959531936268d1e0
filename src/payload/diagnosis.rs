//! What a mismatch looks like.

use super::arrival::{Arrival, Run};
use super::{Damage, Location, Mismatch, Payload, hex};

/// The most wrong bytes in a row among which blocks too short to tell where they belong are looked for.
const SHORT: usize = 64;

/// The fewest bytes that a block must show to count as one.
const PART: usize = 2;

/// How many bytes at an edge of the damage may happen to be right.
const CHANCE: usize = 3;

/// A kind of damage and its length.
type Finding = (Damage, u64);

/// Names the damage.
pub(super) fn diagnose(arrival: &Arrival<'_>) -> Mismatch {
    let (kind, length) = name(arrival);
    Mismatch {
        kind,
        offset: arrival.offset,
        length,
        expected: arrival.expected,
        received: arrival.received,
        hex: hex::around(&arrival.payload, arrival.expected, arrival.offset, arrival.window),
    }
}

fn name(arrival: &Arrival<'_>) -> Finding {
    if arrival.window.is_empty() {
        return (Damage::Truncated, arrival.expected - arrival.received);
    }
    if arrival.offset >= arrival.expected {
        return (Damage::Extra, arrival.received - arrival.expected);
    }
    let runs = arrival.runs();
    if let Some(swapped) = swap(arrival, &runs) {
        return swapped;
    }
    match runs.split_first() {
        Some((first, later)) if first.start == 0 => name_run(arrival, first, later),
        Some((next, _)) => name_gap(arrival, next.start, Some(next)),
        None => name_gap(arrival, arrival.window.len(), None),
    }
}

/// Names damage that begins with bytes of which it is known where they belong.
fn name_run(arrival: &Arrival<'_>, first: &Run, later: &[Run]) -> Finding {
    let Some(lag) = arrival.lag_of(first) else {
        return (of_other_stream(&arrival.payload, first.origin), extent(arrival, first.end, later.first()));
    };
    // The first run of the stream that does not lag in the same way, whatever other damage lies in between.
    let turn = later.iter().find(|run| arrival.lag_of(run).is_some_and(|later| later != lag));
    let Some(turn) = turn else {
        let all = first.end == arrival.window.len() && arrival.is_whole();
        return if all && arrival.has_right_length() {
            (Damage::Elsewhere, wrong_among(arrival, first.end) as u64)
        } else {
            (if lag < 0 { Damage::Hole } else { Damage::Repeat }, lag.unsigned_abs())
        };
    };
    match arrival.lag_of(turn) {
        // Back in place.
        Some(0) => (Damage::Elsewhere, extent(arrival, first.end, Some(turn))),
        // The block stands in between, and the stream goes on after it where it had stopped.
        Some(late) if is_between(late, turn.start) => {
            (if lag > 0 { Damage::Repeat } else { Damage::Elsewhere }, late as u64)
        }
        _ => (if lag < 0 { Damage::Hole } else { Damage::Repeat }, lag.unsigned_abs()),
    }
}

/// Names damage that begins with `length` bytes that belong nowhere, or are too few to tell, before the run `next`.
fn name_gap(arrival: &Arrival<'_>, length: usize, next: Option<&Run>) -> Finding {
    let lag = next.map_or(Some(0), |run| arrival.lag_of(run)).unwrap_or(0);
    let wrong = &arrival.window[..length];
    if lag == 0 && is_bit_flips(wrong, &arrival.right(0, length)) {
        return (Damage::BitFlip, length as u64);
    }
    let zeros = wrong.iter().take_while(|byte| **byte == 0).count();
    if zeros > 0 {
        return (Damage::Zeros, zeros as u64);
    }
    let length = extent(arrival, length, next);
    let piece = &wrong[..wrong.len().min(length as usize)];
    if let Some(found) = arrival.find(piece) {
        return name_piece(arrival, found, length, lag, next.is_none());
    }
    match lag {
        0 => (Damage::Garbage, length),
        1.. => (Damage::Shift, lag as u64),
        _ => (Damage::Hole, lag.unsigned_abs()),
    }
}

/// Names a short piece that was found at `origin`, before bytes that lag by `lag`, or at the end.
fn name_piece(arrival: &Arrival<'_>, origin: Location, length: u64, lag: i64, is_last: bool) -> Finding {
    if origin.stream != arrival.payload.stream() {
        return (of_other_stream(&arrival.payload, origin), length);
    }
    let own_lag = arrival.lag(0, origin.offset);
    if is_last && !arrival.has_right_length() {
        return (if own_lag < 0 { Damage::Hole } else { Damage::Repeat }, own_lag.unsigned_abs());
    }
    (if lag > 0 && own_lag > 0 { Damage::Repeat } else { Damage::Elsewhere }, length)
}

fn of_other_stream(expected: &Payload, origin: Location) -> Damage {
    if origin.stream.connection == expected.stream().connection {
        Damage::OtherDirection
    } else {
        Damage::OtherConnection
    }
}

/// How many bytes are wrong, where `end` bytes belong elsewhere or nowhere and `next` comes after them: where bytes at
/// the border agree with both sides, as many as must be wrong.
fn extent(arrival: &Arrival<'_>, end: usize, next: Option<&Run>) -> u64 {
    let in_place_at_end = next.is_none() && arrival.is_whole() && arrival.has_right_length();
    let lag = if in_place_at_end { Some(0) } else { next.and_then(|run| arrival.lag_of(run)) };
    match lag {
        // They stand in between.
        Some(lag) if is_between(lag, end) => lag as u64,
        // They stand instead.
        Some(0) => wrong_among(arrival, end) as u64,
        _ => end as u64,
    }
}

/// Whether `lag` says that the first `end` bytes stand between bytes of the stream: it then goes on where it had stopped.
/// The first few of those in between may happen to be right, and so not count among the `end`.
fn is_between(lag: i64, end: usize) -> bool {
    lag > 0 && lag <= (end + CHANCE) as i64
}

/// The place after the last byte before `end` that is not as it should be.
fn wrong_among(arrival: &Arrival<'_>, end: usize) -> usize {
    let right = arrival.right(0, end);
    end - right.iter().zip(arrival.window).rev().take_while(|(a, b)| a == b).count()
}

/// Whether each byte differs in one bit at most.
fn is_bit_flips(got: &[u8], right: &[u8]) -> bool {
    got.iter().zip(right).all(|(got, right)| (got ^ right).count_ones() <= 1)
}

/// Two blocks that changed places: neighbours, or with bytes in place between them.
fn swap(arrival: &Arrival<'_>, runs: &[Run]) -> Option<Finding> {
    let length = apart(arrival, runs).or_else(|| near(arrival, runs)).or_else(|| adjacent(arrival, runs))?;
    Some((Damage::Swap, length as u64))
}

/// Blocks of one length with bytes in place between them: the next wrong bytes are those that are missing here.
fn apart(arrival: &Arrival<'_>, runs: &[Run]) -> Option<usize> {
    let is_in_place = |run: &Run| arrival.lag_of(run) == Some(0);
    let between = runs.iter().find(|run| is_in_place(run))?;
    let length = wrong_among(arrival, between.start);
    let second = between.end;
    let got = arrival.window.get(second..second + length)?;
    let is_swap = got == arrival.right(0, length) && arrival.window[..length] == arrival.right(second, length);
    is_swap.then_some(length)
}

/// Blocks of one length with so few bytes in place between them that these do not show as such.
fn near(arrival: &Arrival<'_>, runs: &[Run]) -> Option<usize> {
    let (end, lag) = wrong_region(arrival, runs)?;
    let lengths = match lag {
        Some(lag) => {
            let length = end.checked_sub(usize::try_from(lag.unsigned_abs()).ok()?)?;
            length..length + 1
        }
        None if end <= SHORT => PART..end,
        None => return None,
    };
    let (right, got) = (arrival.right(0, end), &arrival.window[..end]);
    lengths.into_iter().find(|length| {
        let (first, second) = (*length, end.saturating_sub(*length));
        let fits = first >= PART && first <= second;
        fits && got[..first] == right[second..]
            && got[second..] == right[..first]
            && got[first..second] == right[first..second]
    })
}

/// Up to where bytes are wrong, if they are in place after that, or the stream has ended and has its right length; and
/// how far those lag of which it is known where they belong.
fn wrong_region(arrival: &Arrival<'_>, runs: &[Run]) -> Option<(usize, Option<i64>)> {
    let end = match runs.iter().find(|run| arrival.lag_of(run) == Some(0)) {
        Some(in_place) => wrong_among(arrival, in_place.start),
        None if arrival.is_whole() && arrival.has_right_length() => arrival.window.len(),
        None => return None,
    };
    let lag = runs.iter().find_map(|run| (run.start < end).then(|| arrival.lag_of(run)).flatten());
    Some((end, lag))
}

/// Blocks that touch: first the one from further on, then the one that should have come first. The length is that of the
/// one from further on.
///
/// A few bytes at both edges may happen to be right, so that the blocks look shorter than they are.
fn adjacent(arrival: &Arrival<'_>, runs: &[Run]) -> Option<usize> {
    // One block comes late by the length of the other, which comes early by the length of the one. What is known of one
    // of them says how long the first to arrive can be.
    let (end, lag) = wrong_region(arrival, runs)?;
    let lengths = match lag {
        Some(late) if late > 0 => usize::try_from(late).map(|length| length..length + 1).ok()?,
        Some(early) => {
            let shortest = end.checked_sub(usize::try_from(-early).ok()?)?;
            shortest..shortest + 2 * CHANCE + 1
        }
        None if (2 * PART..=SHORT).contains(&end) => PART..end,
        None => return None,
    };
    lengths.into_iter().find(|first| {
        (0..=CHANCE).any(|hidden| (0..=CHANCE).any(|more| is_swap(arrival, end, *first, hidden, end + hidden + more)))
    })
}

/// Whether the bytes before `end` are two blocks of `both` bytes that changed places, of which the first to arrive has
/// `first` bytes; `hidden` of those are right by chance, and came before the window.
fn is_swap(arrival: &Arrival<'_>, end: usize, first: usize, hidden: usize, both: usize) -> bool {
    let (Some(border), Some(second)) = (first.checked_sub(hidden), both.checked_sub(first)) else { return false };
    if border < PART || border + PART > end || arrival.offset < hidden as u64 {
        return false;
    }
    let belongs = |bytes: &[u8], origin: u64| arrival.payload.agreement(origin, bytes) == bytes.len();
    belongs(&arrival.window[..border], arrival.offset + second as u64)
        && belongs(&arrival.window[border..end], arrival.offset - hidden as u64)
}
