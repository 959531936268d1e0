//! What a case says about middleboxes: rules that pick packets, and what is done to those.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, is_default};

/// What a middlebox in one direction of a link does to the packets that it picks. Packets that came damaged are left to
/// their receiver's checksum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which packets.
    pub on: Pick,
    /// How many of them pass first. Counted for each connection in the order in which they come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip: u32,
    /// To how many of them it is done; `None`: to all that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// With which probability it is done to each of these, in `[0, 1]`.
    #[serde(default = "certain", skip_serializing_if = "is_certain")]
    pub chance: f64,
    /// What is done.
    pub action: Action,
}

fn certain() -> f64 {
    1.0
}

fn is_certain(chance: &f64) -> bool {
    *chance == certain()
}

impl Rule {
    /// This, done to every packet that `on` picks.
    pub fn always(on: Pick, action: Action) -> Rule {
        Rule { on, skip: 0, times: None, chance: certain(), action }
    }

    /// This, done to the first packet that `on` picks.
    pub fn once(on: Pick, action: Action) -> Rule {
        Rule { times: Some(1), ..Rule::always(on, action) }
    }

    /// Whether a transfer can do without all the packets that it picks: they carry what MPTCP tells beside the data.
    pub fn spares_the_stream(&self) -> bool {
        use TcpOption::{AddAddr, AddAddrEcho, MpJoin};
        matches!(self.on, Pick::Carries(AddAddr | AddAddrEcho | MpJoin))
    }

    /// Whether it is done to each and every packet that it picks.
    pub fn is_certain(&self) -> bool {
        self.skip == 0 && self.times.is_none() && is_certain(&self.chance)
    }
}

/// Which packets a rule is about. All of them are TCP segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// Every one.
    Any,
    /// SYNs.
    Syn,
    /// SYN/ACKs.
    SynAck,
    /// The third packet of a handshake: no payload, and nothing acknowledged but the SYN/ACK.
    ThirdAck,
    /// Those with payload, some of it at this offset of the stream or beyond.
    Data(u64),
    /// Those without payload and without SYN, FIN or RST.
    Ack,
    /// Those of them that acknowledge no more than one before them did: windows that open again, DATA_FINs without data,
    /// duplicates.
    AckAgain,
    /// FINs.
    Fin,
    /// RSTs.
    Rst,
    /// Those whose DSS option says that the data ends (RFC 8684, section 3.3.3).
    DataFin,
    /// Those that carry this option.
    Carries(TcpOption),
}

/// A TCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpOption {
    /// Maximum segment size (RFC 9293).
    Mss,
    /// Window scale (RFC 7323).
    WindowScale,
    /// SACK permitted (RFC 2018).
    SackPermitted,
    /// SACK blocks (RFC 2018).
    Sack,
    /// Timestamps (RFC 7323).
    Timestamps,
    /// Any option of MPTCP (RFC 8684): all that follow.
    Mptcp,
    /// MP_CAPABLE.
    MpCapable,
    /// MP_JOIN.
    MpJoin,
    /// The data sequence signal.
    Dss,
    /// ADD_ADDR, but not the echo of one.
    AddAddr,
    /// The echo of an ADD_ADDR.
    AddAddrEcho,
    /// REMOVE_ADDR.
    RemoveAddr,
    /// MP_PRIO.
    MpPrio,
    /// MP_FAIL.
    MpFail,
    /// MP_FASTCLOSE.
    MpFastclose,
    /// MP_TCPRST.
    MpTcprst,
}

impl TcpOption {
    /// Every option.
    pub const ALL: [TcpOption; 16] = [
        TcpOption::Mss,
        TcpOption::WindowScale,
        TcpOption::SackPermitted,
        TcpOption::Sack,
        TcpOption::Timestamps,
        TcpOption::Mptcp,
        TcpOption::MpCapable,
        TcpOption::MpJoin,
        TcpOption::Dss,
        TcpOption::AddAddr,
        TcpOption::AddAddrEcho,
        TcpOption::RemoveAddr,
        TcpOption::MpPrio,
        TcpOption::MpFail,
        TcpOption::MpFastclose,
        TcpOption::MpTcprst,
    ];

    /// Whether it is one of MPTCP's.
    pub fn is_mptcp(self) -> bool {
        self >= TcpOption::Mptcp
    }
}

/// Which option is taken out of a header, and what stays in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strip {
    /// The option; every occurrence of it.
    pub option: TcpOption,
    /// What stays in its place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by: Removal,
}

/// What stays in place of an option that is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Removal {
    /// NOPs: the header keeps its length. What most middleboxes do.
    #[default]
    Nops,
    /// Nothing: the header gets shorter.
    Nothing,
}

/// A segment is held back until the next one of its flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// For how long at most.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
    /// Whose options the merged segment has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: Kept,
}

/// Whose options a segment has that two were merged into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// Those of either: only segments are merged that have the same ones, but for timestamps, as network cards and GRO
    /// do it. MPTCP must not notice.
    #[default]
    Same,
    /// Those of the first one, as many a proxy does it. Of MPTCP's mappings one may be lost.
    First,
    /// Those of the second one.
    Second,
}

impl Kept {
    /// Whether options may be lost.
    pub fn loses(self) -> bool {
        self != Kept::Same
    }
}

/// To whom a RST is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Towards {
    /// The receiver of the packet.
    Receiver,
    /// Its sender.
    Sender,
    /// Both.
    Both,
}

impl Towards {
    /// Whether the receiver of the packet gets one.
    pub fn receiver(self) -> bool {
        self != Towards::Sender
    }

    /// Whether its sender gets one.
    pub fn sender(self) -> bool {
        self != Towards::Receiver
    }
}
