//! The formula: an invertible permutation of (stream, place in it), written as eight bytes.

use std::ops::Range;

use super::{Sender, StreamId};
use crate::seed::Seed;

/// How many connections of one case the formula tells apart.
pub const CONNECTIONS: u16 = 1 << CONNECTION_BITS;

/// The most bytes that a stream can have: 128 TiB.
pub const LENGTH: u64 = 8 << INDEX_BITS;

/// How many bytes stand for one place in a stream.
pub(super) const WORD: usize = 8;

/// A word carries 7 bits in each byte: the top bit is always set, so that no byte is ever zero.
const BITS: u32 = 7 * WORD as u32;
const CONNECTION_BITS: u32 = 11;
const INDEX_BITS: u32 = BITS - CONNECTION_BITS - 1;
const MASK: u64 = (1 << BITS) - 1;
const TOP_BITS: u64 = 0x8080_8080_8080_8080;

/// Odd numbers without a pattern (the first digits of the golden ratio, and of pi): multiplying by them modulo 2^56 can
/// be undone.
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15 & MASK;
const SECOND: u64 = 0x243f_6a88_85a3_08d3 & MASK;
const FIRST_INVERSE: u64 = inverse(FIRST);
const SECOND_INVERSE: u64 = inverse(SECOND);

/// The bytes of one stream, from its offset 0 on without end (up to [`LENGTH`]).
///
/// A stream is a row of 8-byte words. The word at index `i` says, in 56 bits, `i`, the connection and the direction,
/// scrambled by a permutation that the seed keys, 7 bits to a byte below a top bit that is always set.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    keys: [u64; 2],
    stream: StreamId,
}

/// Where bytes belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// In which stream.
    pub stream: StreamId,
    /// At which offset of it.
    pub offset: u64,
}

impl Payload {
    /// The bytes of `stream` in a case with this seed.
    ///
    /// # Panics
    /// Where the number of the connection is not below [`CONNECTIONS`].
    pub fn new(seed: Seed, stream: StreamId) -> Payload {
        assert!(stream.connection < CONNECTIONS, "connection {} is not below {CONNECTIONS}", stream.connection);
        let mut random = seed.stream("payload");
        Payload { keys: [random.next_u64() & MASK, random.next_u64() & MASK], stream }
    }

    /// The stream that these bytes are of.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The bytes of another stream of the same case.
    pub fn of(&self, stream: StreamId) -> Payload {
        Payload { keys: self.keys, stream }
    }

    /// Writes the bytes from `offset` on into `buffer`.
    pub fn fill(&self, offset: u64, buffer: &mut [u8]) {
        debug_assert!(offset <= LENGTH && buffer.len() as u64 <= LENGTH - offset, "no stream is that long");
        let mut index = offset / WORD as u64;
        let skip = (offset % WORD as u64) as usize;
        let head_length = if skip == 0 { 0 } else { buffer.len().min(WORD - skip) };
        let (head, rest) = buffer.split_at_mut(head_length);
        if !head.is_empty() {
            head.copy_from_slice(&self.word(index)[skip..skip + head_length]);
            index += 1;
        }
        let (words, tail) = rest.as_chunks_mut::<WORD>();
        for (place, word) in words.iter_mut().enumerate() {
            *word = self.word(index + place as u64);
        }
        if !tail.is_empty() {
            tail.copy_from_slice(&self.word(index + words.len() as u64)[..tail.len()]);
        }
    }

    /// The `length` bytes from `offset` on.
    pub fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(offset, &mut bytes);
        bytes
    }

    /// Says where `bytes` belong: in which stream of the case and at which offset of it, whichever stream this one is.
    ///
    /// 16 bytes of a stream, at any alignment, are always enough. Fewer may be; fewer than 8 never are. `None` if no
    /// word in `bytes` agrees with all the bytes around it.
    pub fn locate(&self, bytes: &[u8]) -> Option<Location> {
        let alignments = WORD.min((bytes.len() + 1).saturating_sub(WORD));
        (0..alignments).find_map(|skip| {
            let found = self.locate_word(bytes[skip..].first_chunk()?)?;
            let offset = found.offset.checked_sub(skip as u64)?;
            let agrees = self.of(found.stream).agreement(offset, bytes) == bytes.len();
            agrees.then_some(Location { stream: found.stream, offset })
        })
    }

    /// Where these eight bytes belong if they are one word of a stream. Bytes from elsewhere get an answer that is as
    /// good as random: the caller looks at the neighbours.
    pub(super) fn locate_word(&self, word: &[u8; WORD]) -> Option<Location> {
        let word = u64::from_le_bytes(*word);
        if word & TOP_BITS != TOP_BITS {
            return None;
        }
        let place = self.unscramble(gather(word));
        let sender = if place & 1 == 0 { Sender::Client } else { Sender::Server };
        let connection = (place >> 1) as u16 & (CONNECTIONS - 1);
        let offset = (place >> (CONNECTION_BITS + 1)) * WORD as u64;
        Some(Location { stream: StreamId { sender, connection }, offset })
    }

    /// How many bytes at the start of `bytes` are those from `offset` on.
    pub fn agreement(&self, offset: u64, bytes: &[u8]) -> usize {
        let mut agreed = 0;
        // Most questions are answered by the first few bytes.
        if bytes.len() > 2 * WORD {
            let mut expected = [0; 2 * WORD];
            self.fill(offset, &mut expected);
            agreed = expected.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            if agreed < expected.len() {
                return agreed;
            }
        }
        let mut expected = [0; 4096];
        for piece in bytes[agreed..].chunks(expected.len()) {
            let expected = &mut expected[..piece.len()];
            self.fill(offset + agreed as u64, expected);
            if expected != piece {
                return agreed + expected.iter().zip(piece).take_while(|(a, b)| a == b).count();
            }
            agreed += piece.len();
        }
        agreed
    }

    /// How many bytes at the end of `bytes` are those right before `offset`.
    pub(super) fn agreement_before(&self, offset: u64, bytes: &[u8]) -> usize {
        let mut agreed = 0;
        let reach = usize::try_from(offset).map_or(bytes.len(), |offset| bytes.len().min(offset));
        for piece in bytes[bytes.len() - reach..].rchunks(WORD) {
            let mut expected = [0; WORD];
            let expected = &mut expected[..piece.len()];
            self.fill(offset - (agreed + piece.len()) as u64, expected);
            if expected != piece {
                return agreed + expected.iter().rev().zip(piece.iter().rev()).take_while(|(a, b)| a == b).count();
            }
            agreed += piece.len();
        }
        agreed
    }

    /// The offset in `range` nearest to `near` where `piece` starts, looking in turns to both sides of it.
    pub(super) fn find(&self, range: Range<u64>, near: u64, piece: &[u8]) -> Option<u64> {
        const STEP: u64 = 64 * 1024;
        let (mut low, mut high) = (near, near);
        let mut bytes = vec![0; STEP as usize + piece.len() - 1];
        let mut look = |from: u64, to: u64| {
            let bytes = &mut bytes[..(to - from) as usize + piece.len() - 1];
            self.fill(from, bytes);
            // One comparison decides nearly always, and is quick.
            let start: Option<&[u8; 4]> = piece.first_chunk();
            let starts = |window: &[u8]| start.is_none_or(|start| window.first_chunk() == Some(start));
            let found = bytes.windows(piece.len()).position(|window| starts(window) && window == piece)?;
            Some(from + found as u64)
        };
        loop {
            let (above, below) =
                (high..(high + STEP).min(range.end + 1), low.saturating_sub(STEP).max(range.start)..low);
            if above.is_empty() && below.is_empty() {
                return None;
            }
            if !above.is_empty()
                && let Some(found) = look(above.start, above.end)
            {
                return Some(found);
            }
            if !below.is_empty()
                && let Some(found) = look(below.start, below.end)
            {
                return Some(found);
            }
            (low, high) = (below.start, above.end.max(high));
        }
    }

    #[inline]
    fn word(&self, index: u64) -> [u8; WORD] {
        let server = u64::from(self.stream.sender == Sender::Server);
        let place = index << (CONNECTION_BITS + 1) | u64::from(self.stream.connection) << 1 | server;
        (spread(self.scramble(place)) | TOP_BITS).to_le_bytes()
    }

    /// Two rounds of: add a key, multiply, fold the upper half onto the lower. Which stream it is stands in the lowest
    /// bits, from where multiplication carries a difference into all others.
    #[inline]
    fn scramble(&self, place: u64) -> u64 {
        let once = fold(place.wrapping_add(self.keys[0]).wrapping_mul(FIRST) & MASK);
        fold(once.wrapping_add(self.keys[1]).wrapping_mul(SECOND) & MASK)
    }

    fn unscramble(&self, scrambled: u64) -> u64 {
        let once = fold(scrambled).wrapping_mul(SECOND_INVERSE).wrapping_sub(self.keys[1]) & MASK;
        fold(once).wrapping_mul(FIRST_INVERSE).wrapping_sub(self.keys[0]) & MASK
    }
}

/// Its own inverse: the upper half stays as it is.
#[inline]
fn fold(bits: u64) -> u64 {
    bits ^ bits >> (BITS / 2)
}

/// Puts 7 of 56 bits into each byte, by halves.
#[inline]
fn spread(bits: u64) -> u64 {
    let halves = (bits & 0x00ff_ffff_f000_0000) << 4 | bits & 0x0fff_ffff;
    let quarters = (halves & 0x0fff_c000_0fff_c000) << 2 | halves & 0x0000_3fff_0000_3fff;
    (quarters & 0x3f80_3f80_3f80_3f80) << 1 | quarters & 0x007f_007f_007f_007f
}

/// Undoes [`spread`]; the top bit of each byte does not count.
fn gather(word: u64) -> u64 {
    let quarters = (word & 0x7f00_7f00_7f00_7f00) >> 1 | word & 0x007f_007f_007f_007f;
    let halves = (quarters & 0x3fff_0000_3fff_0000) >> 2 | quarters & 0x0000_3fff_0000_3fff;
    (halves & 0x0fff_ffff_0000_0000) >> 4 | halves & 0x0fff_ffff
}

/// The inverse of an odd number modulo 2^56, by Newton's iteration: each round doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse & MASK
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_stream() -> impl Strategy<Value = StreamId> {
        let sender = prop_oneof![Just(Sender::Client), Just(Sender::Server)];
        (sender, 0..CONNECTIONS).prop_map(|(sender, connection)| StreamId { sender, connection })
    }

    proptest! {
        #[test]
        fn any_16_bytes_tell_where_they_belong(
            seed: u64,
            stream in any_stream(),
            offset in prop_oneof![0..100u64, 0..LENGTH - 16],
        ) {
            let payload = Payload::new(Seed(seed), stream);
            let bytes = payload.bytes(offset, 16);
            let asked = Payload::new(Seed(seed), StreamId { sender: Sender::Client, connection: 0 });
            prop_assert_eq!(asked.locate(&bytes), Some(Location { stream, offset }));
        }

        #[test]
        fn a_byte_does_not_depend_on_where_filling_began(
            stream in any_stream(),
            offset in 0..1000u64,
            skip in 0..40usize,
            length in 0..40usize,
        ) {
            let payload = Payload::new(Seed(1), stream);
            let whole = payload.bytes(offset, skip + length);
            prop_assert_eq!(payload.bytes(offset + skip as u64, length), &whole[skip..]);
        }
    }

    const CLIENT: StreamId = StreamId { sender: Sender::Client, connection: 0 };
    const SERVER: StreamId = StreamId { sender: Sender::Server, connection: 0 };

    #[test]
    fn no_byte_is_zero() {
        assert!(Payload::new(Seed(3), CLIENT).bytes(0, 1 << 20).iter().all(|byte| byte & 0x80 != 0));
    }

    #[test]
    fn bytes_that_belong_nowhere_have_no_location() {
        let payload = Payload::new(Seed(3), CLIENT);
        assert_eq!(payload.locate(&[0; 32]), None);
        assert_eq!(payload.locate(&[0xff; 32]), None);
        assert_eq!(payload.locate(&payload.bytes(1000, 7)), None);
        let mut torn = payload.bytes(1000, 32);
        torn[20] ^= 1;
        assert_eq!(payload.locate(&torn), None);
        assert_eq!(Payload::new(Seed(4), CLIENT).locate(&payload.bytes(1000, 32)), None);
    }

    #[test]
    fn neighbours_and_both_directions_look_unrelated() {
        let (client, server) = (Payload::new(Seed(3), CLIENT), Payload::new(Seed(3), SERVER));
        let length = 1 << 20;
        let bytes = client.bytes(0, length);
        // Two independent bytes of 7 bits agree once in 128.
        for (name, other) in [
            ("the other direction", server.bytes(0, length)),
            ("a byte further", client.bytes(1, length)),
            ("a word further", client.bytes(8, length)),
            ("a segment further", client.bytes(1448, length)),
            ("a block further", client.bytes(65536, length)),
        ] {
            let same = bytes.iter().zip(&other).filter(|(a, b)| a == b).count();
            let once_in = length / same.max(1);
            assert!((100..160).contains(&once_in), "{name}: bytes agree once in {once_in}");
        }
    }
}
