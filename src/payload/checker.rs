//! Comparing what arrives with the formula, as it arrives.

use super::{Mismatch, Payload, StreamId, arrival::Arrival, diagnosis};
use crate::seed::Seed;

/// How many bytes are kept from the first wrong byte on: what a diagnosis can look at. Damage that is longer than this,
/// or that can only be told from bytes further on, is named by what it looks like so far.
pub const WINDOW: usize = 256 * 1024;

/// Compares what arrives with what was sent, as it arrives, in bounded memory.
///
/// Up to the first wrong byte nothing is kept: what arrived is what the formula says. From there on [`WINDOW`] bytes are
/// kept and the rest is counted. What comes out does not depend on the pieces in which the bytes were fed.
#[derive(Debug)]
pub struct Checker {
    payload: Payload,
    expected: u64,
    received: u64,
    wrong: Option<Wrong>,
}

/// What is kept from the first wrong byte on.
#[derive(Debug)]
struct Wrong {
    offset: u64,
    window: Vec<u8>,
}

impl Checker {
    /// Expects the `length` bytes of `stream`.
    pub fn new(seed: Seed, stream: StreamId, length: u64) -> Checker {
        Checker { payload: Payload::new(seed, stream), expected: length, received: 0, wrong: None }
    }

    /// Takes the next bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if self.wrong.is_none() {
            let room = self.expected.saturating_sub(self.received);
            let inside = &bytes[..usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()))];
            let right = self.payload.agreement(self.received, inside);
            rest = &bytes[right..];
            if !rest.is_empty() {
                self.wrong = Some(Wrong { offset: self.received + right as u64, window: Vec::new() });
            }
        }
        if let Some(wrong) = &mut self.wrong {
            let space = WINDOW - wrong.window.len();
            wrong.window.extend_from_slice(&rest[..space.min(rest.len())]);
        }
        self.received += bytes.len() as u64;
    }

    /// How many bytes have arrived.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether a wrong byte, or one too many, has arrived.
    pub fn is_wrong(&self) -> bool {
        self.wrong.is_some()
    }

    /// Ends the comparison. `end_of_stream`: whether the peer ended its stream, so that missing bytes are truncation;
    /// without it (a stall, an error) a clean prefix is no mismatch.
    pub fn finish(self, end_of_stream: bool) -> Option<Mismatch> {
        let (offset, window) = match self.wrong {
            Some(wrong) => (wrong.offset, wrong.window),
            None if end_of_stream && self.received < self.expected => (self.received, Vec::new()),
            None => return None,
        };
        let arrival = Arrival {
            payload: self.payload,
            expected: self.expected,
            received: self.received,
            ended: end_of_stream,
            offset,
            window: &window,
        };
        Some(diagnosis::diagnose(&arrival))
    }
}
