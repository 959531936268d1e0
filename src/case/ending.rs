//! What a case says about how connections end, and how often they begin.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::payload::Sender;

/// How a transfer ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ending {
    /// Who shuts down its sending side first.
    pub first: First,
    /// When the other one starts to send. Without effect where both shut down at once.
    pub second: Second,
    /// How long an endpoint waits between its last byte and its shutdown.
    #[serde(with = "humantime_serde", skip_serializing_if = "is_default")]
    pub pause: Duration,
    /// Who leaves the connection before its time, if anybody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<Leave>,
}

/// One endpoint leaves early: it closes its socket as soon as it has sent and received this much.
/// Up to there it does what it does in any other case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Who.
    pub by: Sender,
    /// In which manner.
    #[serde(default)]
    pub how: Manner,
    /// It leaves once it has sent this many bytes, or all of its bytes if it has fewer,
    #[serde(default)]
    pub sent: u64,
    /// and once it has received this many bytes, or all of its peer's if there are fewer.
    #[serde(default)]
    pub received: u64,
}

/// How an endpoint leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// close(2) without shutdown(2). If bytes lie unread by chance, the peer gets a RST or MP_FASTCLOSE.
    #[default]
    Close,
    /// close(2) once bytes lie unread, where the peer sends any more: a RST, or MP_FASTCLOSE.
    Unread,
    /// close(2) with SO_LINGER on and no time to linger: a RST, or MP_FASTCLOSE.
    Linger,
}

/// How many connections a case has, one after the other, each with all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rounds {
    /// How many.
    pub count: u8,
    /// Whether the client takes the same socket each time: connect(2) to AF_UNSPEC, and again.
    #[serde(skip_serializing_if = "is_default")]
    pub reuse: bool,
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds { count: 1, reuse: false }
    }
}

/// Who shuts down its sending side first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum First {
    /// Each as soon as it has sent everything.
    #[default]
    Both,
    /// The client as soon as it has sent everything; the server once it has seen the client's end of stream.
    Client,
    /// The server as soon as it has sent everything; the client once it has seen the server's end of stream.
    Server,
}

/// When the endpoint that shuts down second starts to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Second {
    /// At once.
    #[default]
    AtOnce,
    /// After the end of the other's stream: all its data crosses a half-closed connection.
    AfterEnd,
}
