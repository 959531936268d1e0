//! Payload by formula: every byte of every stream of a case follows from the seed, so nobody keeps a copy to compare with.
//!
//! [`Payload`] is the formula. It can be inverted: a piece of a stream tells which stream it belongs to, and where in it
//! ([`Payload::locate`]). [`Checker`] compares what arrives with the formula, in bounded memory, and names what went
//! wrong. How wrong bytes are judged is for the oracle to say.

mod arrival;
mod checker;
mod diagnosis;
mod formula;
mod hex;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use checker::{Checker, WINDOW};
pub use formula::{CONNECTIONS, LENGTH, Location, Payload};

/// Which byte stream of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The endpoint that sends it.
    pub sender: Sender,
    /// The connection it belongs to, from 0, below [`CONNECTIONS`].
    pub connection: u16,
}

/// The endpoint that sends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// The endpoint that connects.
    Client,
    /// The endpoint that listens.
    Server,
}

impl Sender {
    /// The other endpoint.
    pub fn peer(self) -> Sender {
        match self {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        }
    }

    /// `client` or `server`.
    pub fn name(self) -> &'static str {
        match self {
            Sender::Client => "client",
            Sender::Server => "server",
        }
    }
}

/// How what arrived differs from what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// What it looks like.
    pub kind: Damage,
    /// The offset of the first wrong byte, in what arrived.
    pub offset: u64,
    /// How many bytes are wrong in a row, missing, or too many.
    pub length: u64,
    /// How many bytes should have arrived, and how many did.
    pub expected: u64,
    /// How many bytes arrived.
    pub received: u64,
    /// The bytes around the offset in hexadecimal: what should have been there, and what was.
    pub hex: String,
}

/// What a mismatch looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// Single bits differ.
    BitFlip,
    /// Bytes are missing in the middle: what follows comes `length` bytes too early.
    Hole,
    /// Bytes come twice: what follows comes `length` bytes too late.
    Repeat,
    /// Foreign bytes stand in between: what follows comes `length` bytes too late.
    Shift,
    /// Two blocks changed places.
    Swap,
    /// Zeros stand where data should.
    Zeros,
    /// Bytes of the other direction.
    OtherDirection,
    /// Bytes of another connection of the case.
    OtherConnection,
    /// Bytes of the right stream, but from elsewhere in it.
    Elsewhere,
    /// Bytes that belong nowhere.
    Garbage,
    /// The stream ends too early.
    Truncated,
    /// The stream goes on after its end.
    Extra,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::BitFlip => "bit flip",
            Damage::Hole => "hole",
            Damage::Repeat => "repeat",
            Damage::Shift => "shift",
            Damage::Swap => "swap",
            Damage::Zeros => "zeros",
            Damage::OtherDirection => "bytes of the other direction",
            Damage::OtherConnection => "bytes of another connection",
            Damage::Elsewhere => "bytes from elsewhere in the stream",
            Damage::Garbage => "garbage",
            Damage::Truncated => "truncated",
            Damage::Extra => "extra bytes",
        })
    }
}
