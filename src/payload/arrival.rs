//! What arrived from the first wrong byte on, taken apart into runs that belong somewhere.

use super::formula::WORD;
use super::{Location, Payload, Sender, StreamId};

/// How many runs are looked at: the first few say what happened.
const RUNS: usize = 64;

/// How many bytes must agree with a place for a run to belong there, wherever it is.
const SURE: usize = 12;

/// Up to which offset a single word of this connection counts by itself, without neighbours that agree: larger ones are
/// more likely to be other bytes that happen to look like a word.
const LIKELY: u64 = 1 << 29;

/// A piece of this many bytes has a whole word in it, wherever it is from: no need to search for it.
const TELLING: usize = 2 * WORD - 1;

/// How much of a stream is searched for a piece that is too short to tell where it belongs.
const SEARCH: u64 = 8 << 20;

/// What arrived, from the first wrong byte on. A place in the window is a number of bytes from there.
pub(super) struct Arrival<'a> {
    /// The stream that was expected.
    pub payload: Payload,
    /// How many bytes were expected.
    pub expected: u64,
    /// How many arrived.
    pub received: u64,
    /// Whether the peer ended its stream.
    pub ended: bool,
    /// The offset of the first wrong byte.
    pub offset: u64,
    /// What arrived from there on, up to a limit.
    pub window: &'a [u8],
}

/// A part of the window that is a part of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Where its first byte belongs.
    pub origin: Location,
}

impl Arrival<'_> {
    /// Whether the window holds all that arrived from the first wrong byte on.
    pub fn is_whole(&self) -> bool {
        self.offset + self.window.len() as u64 == self.received
    }

    /// Whether as many bytes arrived as were sent, and no more will.
    pub fn has_right_length(&self) -> bool {
        self.ended && self.received == self.expected
    }

    /// The stream of the other direction.
    pub fn opposite(&self) -> Payload {
        let StreamId { sender, connection } = self.payload.stream();
        let sender = if sender == Sender::Client { Sender::Server } else { Sender::Client };
        self.payload.of(StreamId { sender, connection })
    }

    /// The bytes that should have stood at `place`.
    pub fn right(&self, place: usize, length: usize) -> Vec<u8> {
        self.payload.bytes(self.offset + place as u64, length)
    }

    /// How far what arrives at `place` lags behind if it belongs to offset `origin` of the expected stream: positive
    /// where it comes late, negative where it comes early.
    pub fn lag(&self, place: usize, origin: u64) -> i64 {
        (self.offset + place as u64) as i64 - origin as i64
    }

    /// The lag of a run of the expected stream, 0 where it is in place; `None` if it is of another stream.
    pub fn lag_of(&self, run: &Run) -> Option<i64> {
        (run.origin.stream == self.payload.stream()).then(|| self.lag(run.start, run.origin.offset))
    }

    /// The runs of the window, in order. What lies between them belongs nowhere, or is too short to tell.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut from = 0;
        while runs.len() < RUNS
            && let Some(run) = (from..self.window.len()).find_map(|place| self.run_at(place, from))
        {
            from = run.end;
            runs.push(run);
        }
        if runs.len() < RUNS {
            runs.extend(self.tail(from));
        }
        runs
    }

    /// The run around the word at `place`, if there is one. It starts at `from` at the earliest.
    fn run_at(&self, place: usize, from: usize) -> Option<Run> {
        let word = self.window[place..].first_chunk::<WORD>()?;
        let found = self.payload.locate_word(word)?;
        let payload = self.payload.of(found.stream);
        let back = payload.agreement_before(found.offset, &self.window[from..place]);
        let likely = found.stream.connection == self.payload.stream().connection && found.offset < LIKELY;
        let rest = &self.window[place..];
        let near = payload.agreement(found.offset, &rest[..rest.len().min(2 * WORD)]);
        if back + near < SURE && !likely {
            return None;
        }
        let end = place + payload.agreement(found.offset, rest);
        let origin = Location { stream: found.stream, offset: found.offset - back as u64 };
        Some(Run { start: place - back, end, origin })
    }

    /// The last bytes, from `from` on at the earliest, are too few to tell where they belong, but they may be where they
    /// should be, counted from the start of the stream or from its end.
    fn tail(&self, from: usize) -> Option<Run> {
        let rest = &self.window[from..];
        let end_offset = self.offset + self.window.len() as u64;
        let from_end = (self.ended && self.is_whole()).then_some(self.expected);
        let (length, origin_end) = [Some(end_offset), from_end]
            .into_iter()
            .flatten()
            .map(|origin_end| (self.payload.agreement_before(origin_end, rest), origin_end))
            .max_by_key(|(length, _)| *length)?;
        let start = self.window.len() - length;
        let origin = Location { stream: self.payload.stream(), offset: origin_end - length as u64 };
        (length > 0).then_some(Run { start, end: self.window.len(), origin })
    }

    /// Looks for a piece that is too short to tell where it belongs: the shorter it is, the nearer it must be to be more
    /// than chance. In the other direction first, then in this one.
    pub fn find(&self, piece: &[u8]) -> Option<Location> {
        let reach = match piece.len() {
            0 | 1 => return None,
            2 => 0,
            3 => 1 << 10,
            4 => 1 << 16,
            5..TELLING => SEARCH,
            _ => return None,
        };
        let near = self.offset.saturating_sub(reach)..self.offset + reach;
        [self.opposite(), self.payload].into_iter().find_map(|payload| {
            let offset = payload.find(near.clone(), self.offset, piece)?;
            Some(Location { stream: payload.stream(), offset })
        })
    }
}
