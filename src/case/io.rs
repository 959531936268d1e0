//! What a case says about how bytes go into a socket and come out of it.

use serde::{Deserialize, Serialize};

use super::is_default;

/// The calls by which one endpoint sends and receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Io {
    /// How it sends.
    #[serde(skip_serializing_if = "is_default")]
    pub send: Sending,
    /// How it receives.
    #[serde(skip_serializing_if = "is_default")]
    pub receive: Receiving,
    /// SO_TIMESTAMPNS: asks for the time of arrival beside the bytes. Nothing comes beside what is spliced.
    #[serde(skip_serializing_if = "is_default")]
    pub timestamps: bool,
    /// TCP_INQ: asks how many bytes are left in the queue, and holds the answers against what follows.
    #[serde(skip_serializing_if = "is_default")]
    pub inq: bool,
}

/// How bytes go into a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sending {
    /// send(2).
    #[default]
    Send,
    /// sendmsg(2) with the bytes in three pieces.
    Gather,
    /// sendfile(2) from a file in memory.
    Sendfile,
    /// splice(2) from a file in memory into a pipe, and from there into the socket.
    Splice,
    /// send(2) from the mapping of a file in memory.
    Mmap,
    /// send(2) with MSG_ZEROCOPY from such a mapping. MPTCP sockets refuse it, and send from the mapping as it is.
    Zerocopy,
}

/// How bytes come out of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receiving {
    /// recv(2).
    #[default]
    Recv,
    /// recvmsg(2) into three pieces.
    Scatter,
    /// recv(2) with MSG_WAITALL, on a socket that does not block.
    WaitAll,
    /// A look with MSG_PEEK, whose bytes count; what is read after it is thrown away, but must be the same.
    SaveWithPeek,
    /// A look with MSG_PEEK; what is read after it counts, and must be the same.
    SaveAfterPeek,
    /// splice(2) into a pipe, and read(2) from there.
    Splice,
}

impl Sending {
    /// Every way.
    pub const ALL: [Sending; 6] =
        [Sending::Send, Sending::Gather, Sending::Sendfile, Sending::Splice, Sending::Mmap, Sending::Zerocopy];

    /// Whether it needs the payload as a file.
    pub fn is_from_file(self) -> bool {
        !matches!(self, Sending::Send | Sending::Gather)
    }
}

impl Receiving {
    /// Every way.
    pub const ALL: [Receiving; 6] = [
        Receiving::Recv,
        Receiving::Scatter,
        Receiving::WaitAll,
        Receiving::SaveWithPeek,
        Receiving::SaveAfterPeek,
        Receiving::Splice,
    ];
}
