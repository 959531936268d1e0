//! What a topology can be asked for beyond its case.

use serde::{Deserialize, Serialize};

/// How a topology is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether a packet socket listens on the left device of every link that is not impaired, for the packet log.
    pub capture: bool,
    /// What carries the packets of impaired links.
    pub carrier: CarrierChoice,
}

/// What carries the packets of impaired links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarrierChoice {
    /// TAP devices where `/dev/net/tun` can be opened, else packet sockets.
    #[default]
    Auto,
    /// TAP devices.
    Tap,
    /// Packet sockets: these need no device node, so an ordinary user has them too.
    Packet,
}
