//! What a case says about one endpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Change, Host, Io, SocketOption, is_default};

/// The protocol that an endpoint asks its socket for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP (RFC 9293).
    #[default]
    Tcp,
    /// Multipath TCP (RFC 8684).
    Mptcp,
}

/// The protocols of both endpoints. Written as `mptcp>tcp`: the client's, then the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pairing {
    /// The client's.
    pub client: Protocol,
    /// The server's.
    pub server: Protocol,
}

impl Pairing {
    /// Every pairing, TCP alone first.
    pub const ALL: [Pairing; 4] = [
        Pairing { client: Protocol::Tcp, server: Protocol::Tcp },
        Pairing { client: Protocol::Tcp, server: Protocol::Mptcp },
        Pairing { client: Protocol::Mptcp, server: Protocol::Tcp },
        Pairing { client: Protocol::Mptcp, server: Protocol::Mptcp },
    ];
}

/// One end of the transfer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoint {
    /// The host it runs on.
    pub host: Host,
    /// The protocol of its socket.
    pub protocol: Protocol,
    /// How many bytes it sends.
    pub payload: u64,
    /// How it cuts its writes.
    #[serde(skip_serializing_if = "is_default")]
    pub write: Chunks,
    /// How it cuts its reads.
    #[serde(skip_serializing_if = "is_default")]
    pub read: Chunks,
    /// The calls by which it sends and receives.
    #[serde(skip_serializing_if = "is_default")]
    pub io: Io,
    /// Its socket options. On the server they are set on the listening socket, which hands them on.
    #[serde(skip_serializing_if = "is_default")]
    pub options: SocketOptions,
    /// Options that change in the middle of the transfer, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// How a byte stream is cut into calls, and where the caller rests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chunks {
    /// The size of each call.
    pub pattern: Pattern,
    /// Rests, in order of their offset.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
}

/// The size of each read or write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pattern {
    /// As much as the endpoint's buffer holds: 64 KiB.
    #[default]
    Whole,
    /// This many bytes each.
    Fixed(u32),
    /// Between `min` and `max` bytes, evenly.
    Uniform {
        /// The least, at least 1.
        min: u32,
        /// The most.
        max: u32,
    },
    /// A power of two up to `max`, each as likely.
    PowersOfTwo {
        /// The most: a power of two.
        max: u32,
    },
    /// One byte each for the first `bytes` bytes, then as [`Pattern::Whole`].
    Dribble {
        /// How far the dribble goes.
        bytes: u32,
    },
    /// Chunks of `chunk` bytes; after every `every` bytes a rest of `rest`.
    Bursts {
        /// The size of each call.
        chunk: u32,
        /// How many bytes a burst has.
        every: u32,
        /// How long the rest after it is.
        #[serde(with = "humantime_serde")]
        rest: Duration,
    },
    /// Just below, at, or just above a multiple of `unit`: the unit itself, or up to two bytes beside it.
    Around {
        /// A page or a segment: 4096, 1448.
        unit: u32,
    },
}

/// A rest at an offset of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The rest comes once this many bytes have gone through; calls are cut so that they end here.
    pub at: u64,
    /// How long it is.
    #[serde(rename = "for", with = "humantime_serde")]
    pub lasts: Duration,
}

/// Socket options; `None` and `false` leave the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketOptions {
    /// SO_SNDBUF before connect or listen, in bytes. The kernel doubles it and has a minimum (4608).
    #[serde(skip_serializing_if = "is_default")]
    pub sndbuf: Option<u32>,
    /// SO_RCVBUF before connect or listen, in bytes. The kernel doubles it and has a minimum (2304).
    #[serde(skip_serializing_if = "is_default")]
    pub rcvbuf: Option<u32>,
    /// SO_SNDBUF after connect; on the server, on the accepted socket.
    #[serde(skip_serializing_if = "is_default")]
    pub sndbuf_late: Option<u32>,
    /// SO_RCVBUF after connect; on the server, on the accepted socket.
    #[serde(skip_serializing_if = "is_default")]
    pub rcvbuf_late: Option<u32>,
    /// TCP_NODELAY.
    #[serde(skip_serializing_if = "is_default")]
    pub nodelay: bool,
    /// TCP_CORK, never taken back: the shutdown flushes.
    #[serde(skip_serializing_if = "is_default")]
    pub cork: bool,
    /// TCP_NOTSENT_LOWAT, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub notsent_lowat: Option<u32>,
    /// SO_RCVLOWAT, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub rcvlowat: Option<u32>,
    /// TCP_MAXSEG, in bytes, before connect or listen (88 to 32767).
    #[serde(skip_serializing_if = "is_default")]
    pub maxseg: Option<u16>,
    /// TCP_CONGESTION.
    #[serde(skip_serializing_if = "is_default")]
    pub congestion: Option<Congestion>,
    /// TCP Fast Open. On the client: the first bytes go with the SYN (sendto(2) with MSG_FASTOPEN), if it has a cookie of an
    /// earlier connection. On the server: TCP_FASTOPEN; it takes them where `tcp_fastopen` of its host lets it.
    #[serde(skip_serializing_if = "is_default")]
    pub fastopen: bool,
    /// Others, set before connect or listen.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<SocketOption, u32>,
}

impl Endpoint {
    /// The least value that an option of [`SocketOptions::extra`] or [`Endpoint::changes`] is ever set to.
    pub fn smallest(&self, option: SocketOption) -> Option<u32> {
        let later = self.changes.iter().filter(|change| change.option == option).map(|change| change.value);
        later.chain(self.options.extra.get(&option).copied()).min()
    }
}

/// A congestion control algorithm that mainline kernels carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// New Reno: always built in.
    Reno,
    /// Cubic.
    Cubic,
    /// BBR.
    Bbr,
}

impl Congestion {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Congestion::Reno => "reno",
            Congestion::Cubic => "cubic",
            Congestion::Bbr => "bbr",
        }
    }
}
