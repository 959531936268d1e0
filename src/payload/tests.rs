//! Streams damaged in every way, and the names that the damage gets.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::seed::Seed;

const SEED: Seed = Seed(0x00c0_ffee);
const OWN: StreamId = StreamId { sender: Sender::Client, connection: 0 };
const OPPOSITE: StreamId = StreamId { sender: Sender::Server, connection: 0 };
const FOREIGN: StreamId = StreamId { sender: Sender::Client, connection: 3 };

/// What is done to a stream.
#[derive(Clone, Debug)]
enum Wrong {
    Flip {
        at: usize,
        bit: u8,
    },
    Hole(Range<usize>),
    /// These bytes come once more, right after themselves.
    Repeat(Range<usize>),
    /// These bytes come once more, `gap` bytes later.
    LateRepeat(Range<usize>, usize),
    Swap {
        first: Range<usize>,
        second: Range<usize>,
    },
    Zeros(Range<usize>),
    Instead {
        place: Range<usize>,
        stream: StreamId,
        from: usize,
    },
    Between {
        at: usize,
        length: usize,
        stream: StreamId,
        from: usize,
    },
    Garbage(Range<usize>),
    Shift {
        at: usize,
        length: usize,
    },
    Cut(usize),
    Extra(usize),
}

fn own(length: usize) -> Vec<u8> {
    Payload::new(SEED, OWN).bytes(0, length)
}

/// Bytes that belong nowhere, none of them zero.
fn noise(length: usize) -> Vec<u8> {
    let mut random = Seed(99).stream("noise");
    (0..length).map(|_| 1 + random.below(255) as u8).collect()
}

fn damaged(length: usize, wrong: &Wrong) -> Vec<u8> {
    let mut bytes = own(length);
    let copy = |range: &Range<usize>| own(length)[range.clone()].to_vec();
    let of = |stream, from: usize, length| Payload::new(SEED, stream).bytes(from as u64, length);
    match wrong {
        Wrong::Flip { at, bit } => bytes[*at] ^= 1 << bit,
        Wrong::Hole(range) => drop(bytes.drain(range.clone())),
        Wrong::Repeat(range) => drop(bytes.splice(range.end..range.end, copy(range))),
        Wrong::LateRepeat(range, gap) => drop(bytes.splice(range.end + gap..range.end + gap, copy(range))),
        Wrong::Swap { first, second } => {
            let (a, b) = (copy(first), copy(second));
            bytes.splice(second.clone(), a);
            bytes.splice(first.clone(), b);
        }
        Wrong::Zeros(range) => bytes[range.clone()].fill(0),
        Wrong::Instead { place, stream, from } => drop(bytes.splice(place.clone(), of(*stream, *from, place.len()))),
        Wrong::Between { at, length, stream, from } => drop(bytes.splice(*at..*at, of(*stream, *from, *length))),
        Wrong::Garbage(range) => bytes[range.clone()].copy_from_slice(&noise(range.len())),
        Wrong::Shift { at, length } => drop(bytes.splice(*at..*at, noise(*length))),
        Wrong::Cut(by) => bytes.truncate(length - by),
        Wrong::Extra(by) => bytes.extend(noise(*by)),
    }
    bytes
}

fn check(length: usize, arrived: &[u8], pieces: &[usize]) -> Option<Mismatch> {
    let mut checker = Checker::new(SEED, OWN, length as u64);
    let mut rest = arrived;
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*piece).clamp(1, rest.len()));
        checker.feed(now);
        rest = later;
    }
    assert_eq!(checker.received(), arrived.len() as u64);
    checker.finish(true)
}

fn found(length: usize, wrong: &Wrong) -> (Damage, u64, u64) {
    let found = check(length, &damaged(length, wrong), &[length]).expect("damage is a mismatch");
    (found.kind, found.offset, found.length)
}

/// The first place where what arrived is not what was sent.
fn first_wrong(length: usize, arrived: &[u8]) -> usize {
    let right = own(length);
    right.iter().zip(arrived).take_while(|(a, b)| a == b).count()
}

/// How many bytes there are from the first wrong one to the last.
fn wrong_length(length: usize, arrived: &[u8]) -> u64 {
    let right = own(length);
    let same_at_end = right.iter().rev().zip(arrived.iter().rev()).take_while(|(a, b)| a == b).count();
    (length - same_at_end - first_wrong(length, arrived)) as u64
}

const LENGTH: usize = 300_000;

fn range(lengths: Range<usize>) -> impl Strategy<Value = Range<usize>> {
    (any::<Index>(), 0..20usize, lengths, 0..4u8).prop_map(|(at, edge, length, where_)| {
        let start = match where_ {
            0 => edge,
            1 => LENGTH - length - edge.min(LENGTH - length),
            _ => at.index(LENGTH - length),
        };
        start..start + length
    })
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![1..20usize, 20..3000usize, 1..100_000usize]
}

fn any_range() -> impl Strategy<Value = Range<usize>> {
    lengths().prop_flat_map(|length| range(length..length + 1))
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..20usize, 1..70_000usize], 1..5)
}

fn same_for_any_pieces(arrived: &[u8], pieces: &[usize]) -> Mismatch {
    let whole = check(LENGTH, arrived, &[LENGTH * 2]).expect("damage is a mismatch");
    let mut pieces = pieces.to_vec();
    pieces.push(4096);
    assert_eq!(check(LENGTH, arrived, &pieces).as_ref(), Some(&whole));
    assert_eq!(whole.offset as usize, first_wrong(LENGTH, arrived).min(LENGTH));
    assert_eq!((whole.expected, whole.received), (LENGTH as u64, arrived.len() as u64));
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_right_stream_is_right_in_any_pieces(length in 0..LENGTH, pieces in pieces()) {
        let mut pieces = pieces;
        pieces.push(4096);
        prop_assert_eq!(check(length, &own(length), &pieces), None);
    }

    #[test]
    fn a_flipped_bit_is_named(at in 0..LENGTH, bit in 0..8u8, pieces in pieces()) {
        let seen = same_for_any_pieces(&damaged(LENGTH, &Wrong::Flip { at, bit }), &pieces);
        prop_assert_eq!((seen.kind, seen.offset, seen.length), (Damage::BitFlip, at as u64, 1));
    }

    #[test]
    fn a_hole_is_named(place in any_range(), pieces in pieces()) {
        let arrived = damaged(LENGTH, &Wrong::Hole(place.clone()));
        let seen = same_for_any_pieces(&arrived, &pieces);
        let kind = if seen.offset == arrived.len() as u64 { Damage::Truncated } else { Damage::Hole };
        prop_assert_eq!((seen.kind, seen.length), (kind, place.len() as u64));
    }

    #[test]
    fn a_repeat_is_named(place in any_range(), pieces in pieces()) {
        let seen = same_for_any_pieces(&damaged(LENGTH, &Wrong::Repeat(place.clone())), &pieces);
        let kind = if seen.offset == LENGTH as u64 { Damage::Extra } else { Damage::Repeat };
        prop_assert_eq!((seen.kind, seen.length), (kind, place.len() as u64));
    }

    #[test]
    fn a_repeat_that_comes_late_is_named(place in range(16..3000), gap in 1..50_000usize, pieces in pieces()) {
        let gap = gap.min(LENGTH.saturating_sub(place.end + 16));
        prop_assume!(gap > 0);
        let arrived = damaged(LENGTH, &Wrong::LateRepeat(place.clone(), gap));
        let seen = same_for_any_pieces(&arrived, &pieces);
        prop_assert_eq!((seen.kind, seen.length), (Damage::Repeat, place.len() as u64));
    }

    #[test]
    fn blocks_that_changed_places_are_named(
        first in range(4..3000), gap in prop_oneof![Just(0usize), 0..20usize, 0..50_000usize], other in 4..3000usize, pieces in pieces(),
    ) {
        // With bytes between them, blocks of different lengths would move those too.
        let other = if gap == 0 { other } else { first.len() };
        let second = first.end + gap..first.end + gap + other;
        prop_assume!(second.end <= LENGTH);
        let arrived = damaged(LENGTH, &Wrong::Swap { first: first.clone(), second: second.clone() });
        let seen = same_for_any_pieces(&arrived, &pieces);
        prop_assert_eq!(seen.kind, Damage::Swap);
        // Bytes at the edges that happen to be the same in both blocks do not count.
        prop_assert!(seen.length <= other as u64 && seen.length + 4 >= other as u64, "length {}", seen.length);
    }

    #[test]
    fn zeros_are_named(place in any_range(), pieces in pieces()) {
        prop_assume!(place.len() > 1);
        let seen = same_for_any_pieces(&damaged(LENGTH, &Wrong::Zeros(place.clone())), &pieces);
        prop_assert_eq!((seen.kind, seen.offset, seen.length), (Damage::Zeros, place.start as u64, place.len() as u64));
    }

    #[test]
    fn bytes_of_another_stream_instead_are_named(
        place in any_range(), from in 0..1_000_000usize, foreign: bool, pieces in pieces(),
    ) {
        // Bytes of another connection are recognised by at least two neighbouring words.
        prop_assume!(place.len() >= if foreign { 24 } else { 8 });
        let stream = if foreign { FOREIGN } else { OPPOSITE };
        let arrived = damaged(LENGTH, &Wrong::Instead { place, stream, from });
        let seen = same_for_any_pieces(&arrived, &pieces);
        let kind = if foreign { Damage::OtherConnection } else { Damage::OtherDirection };
        prop_assert_eq!((seen.kind, seen.length), (kind, wrong_length(LENGTH, &arrived)));
    }

    #[test]
    fn bytes_of_the_other_direction_in_between_are_named(
        at in 0..LENGTH - 32, length in lengths(), from in 0..1_000_000usize, pieces in pieces(),
    ) {
        prop_assume!(length >= 8);
        let arrived = damaged(LENGTH, &Wrong::Between { at, length, stream: OPPOSITE, from });
        let seen = same_for_any_pieces(&arrived, &pieces);
        prop_assert_eq!((seen.kind, seen.length), (Damage::OtherDirection, length as u64));
    }

    #[test]
    fn bytes_from_elsewhere_are_named(place in range(16..100_000), from in 0..1_000_000usize, pieces in pieces()) {
        prop_assume!(place.start.abs_diff(from) > 0);
        let arrived = damaged(LENGTH, &Wrong::Instead { place, stream: OWN, from });
        let seen = same_for_any_pieces(&arrived, &pieces);
        prop_assert_eq!((seen.kind, seen.length), (Damage::Elsewhere, wrong_length(LENGTH, &arrived)));
    }

    #[test]
    fn garbage_is_named(place in range(2..100_000), pieces in pieces()) {
        let arrived = damaged(LENGTH, &Wrong::Garbage(place));
        let seen = same_for_any_pieces(&arrived, &pieces);
        prop_assert_eq!((seen.kind, seen.length), (Damage::Garbage, wrong_length(LENGTH, &arrived)));
    }

    #[test]
    fn foreign_bytes_in_between_are_a_shift(at in 0..LENGTH - 1, length in 5..100_000usize, pieces in pieces()) {
        let seen = same_for_any_pieces(&damaged(LENGTH, &Wrong::Shift { at, length }), &pieces);
        prop_assert_eq!((seen.kind, seen.length), (Damage::Shift, length as u64));
    }

    #[test]
    fn a_cut_and_an_extra_end_are_named(by in 1..100_000usize, pieces in pieces()) {
        let seen = same_for_any_pieces(&damaged(LENGTH, &Wrong::Cut(by)), &pieces);
        prop_assert_eq!((seen.kind, seen.offset, seen.length), (Damage::Truncated, (LENGTH - by) as u64, by as u64));
        let seen = same_for_any_pieces(&damaged(LENGTH, &Wrong::Extra(by)), &pieces);
        prop_assert_eq!((seen.kind, seen.offset, seen.length), (Damage::Extra, LENGTH as u64, by as u64));
    }
}

#[test]
fn two_segments_swapped_at_64_kib_are_named() {
    let wrong = Wrong::Swap { first: 65536..66984, second: 66984..68432 };
    assert_eq!(found(LENGTH, &wrong), (Damage::Swap, 65536, 1448));
    // Also where the second one is the last.
    assert_eq!(found(68432, &wrong), (Damage::Swap, 65536, 1448));
}

#[test]
fn a_single_byte_can_be_repeated_or_lost() {
    for at in [0, 1, 7, 8, 1000, 99_980, 99_990, 99_997] {
        let (kind, offset, length) = found(100_000, &Wrong::Repeat(at..at + 1));
        assert_eq!((kind, length), (Damage::Repeat, 1), "at {at}");
        assert!(offset > at as u64 && offset <= at as u64 + 3);
        let (kind, _, length) = found(100_000, &Wrong::Hole(at..at + 1));
        assert_eq!((kind, length), (Damage::Hole, 1), "at {at}");
    }
}

#[test]
fn a_few_bytes_of_the_other_direction_are_found() {
    for length in 5..16 {
        for from in [0, 3, 70_001, 2_000_003] {
            let place = 50_001..50_001 + length;
            let seen = found(LENGTH, &Wrong::Instead { place, stream: OPPOSITE, from });
            assert_eq!(seen.0, Damage::OtherDirection, "{length} bytes from {from}");
            let seen = found(LENGTH, &Wrong::Between { at: 50_001, length, stream: OPPOSITE, from });
            assert_eq!((seen.0, seen.2), (Damage::OtherDirection, length as u64), "{length} bytes from {from}");
        }
    }
}

#[test]
fn a_clean_prefix_is_no_mismatch_unless_the_stream_ended() {
    let mut checker = Checker::new(SEED, OWN, 100);
    checker.feed(&own(60));
    assert_eq!(checker.finish(false), None);
}

#[test]
fn more_than_the_window_is_only_counted() {
    let mut checker = Checker::new(SEED, OWN, 100);
    for _ in 0..100 {
        checker.feed(&[0; 10_000]);
    }
    let seen = checker.finish(true).unwrap();
    assert_eq!((seen.kind, seen.received, seen.length), (Damage::Zeros, 1_000_000, WINDOW as u64));
}

#[test]
fn the_bytes_around_the_damage_are_shown() {
    let seen = check(40, &damaged(40, &Wrong::Hole(20..24)), &[40]).unwrap();
    insta::assert_snapshot!(seen.hex, @"
             0 expected  b7 c0 de bb 90 e2 be df a2 8d eb ec 8b a2 a8 fd
                    got  b7 c0 de bb 90 e2 be df a2 8d eb ec 8b a2 a8 fd
            16 expected  c0 95 d3 f6 98 95 e9 c0 9c ff b8 d7 86 bc e6 8c
                    got  c0 95 d3 f6 9c ff b8 d7 86 bc e6 8c cd d4 95 bc
                                     ^^ ^^ ^^ ^^ ^^ ^^ ^^ ^^ ^^ ^^ ^^ ^^
            32 expected  cd d4 95 bc 84 b0 cb ff -- -- -- -- -- -- -- --
                    got  84 b0 cb ff -- -- -- -- -- -- -- -- -- -- -- --
                         ^^ ^^ ^^ ^^ ^^ ^^ ^^ ^^
    ");
}
