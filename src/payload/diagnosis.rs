//! What a mismatch looks like.

use super::{Damage, Mismatch, Payload, hex};

/// What arrived, from the first wrong byte on.
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

/// Names the damage.
pub(super) fn diagnose(arrival: &Arrival<'_>) -> Mismatch {
    let (kind, length) = if arrival.window.is_empty() {
        (Damage::Truncated, arrival.expected - arrival.received)
    } else if arrival.offset >= arrival.expected {
        (Damage::Extra, arrival.received - arrival.expected)
    } else {
        (Damage::Garbage, arrival.window.len() as u64)
    };
    Mismatch {
        kind,
        offset: arrival.offset,
        length,
        expected: arrival.expected,
        received: arrival.received,
        hex: hex::around(&arrival.payload, arrival.expected, arrival.offset, arrival.window),
    }
}
