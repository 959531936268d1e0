//! Features that only some endpoints of some cases use: a way to send, an option, an ending. A fault planted in one of them
//! shows that campaigns reach it, and that shrinking keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::case::{Address, Case, Endpoint, Manner, Receiving, Sending};
use crate::payload::Sender;

/// Something that an endpoint may do, and a plain one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Sends in this way.
    Send(Sending),
    /// Receives in this way.
    Receive(Receiving),
    /// Asks when its bytes came.
    Timestamps,
    /// Asks how many more there are.
    Inq,
    /// Sets TCP_NODELAY.
    Nodelay,
    /// Sets TCP_CORK.
    Cork,
    /// Sets TCP_NOTSENT_LOWAT.
    NotsentLowat,
    /// Sets SO_RCVLOWAT.
    Rcvlowat,
    /// Sets TCP_MAXSEG.
    Maxseg,
    /// Sets an option that has no field of its own, such as SO_MARK.
    Extra,
    /// Changes an option on the way.
    Change,
    /// Connects with TCP Fast Open.
    Fastopen,
    /// Makes a second connection, on a socket of its own.
    Round,
    /// Makes a second connection on the socket of the first.
    Reuse,
    /// Leaves before its time, or by a close in place of a shutdown.
    Leave(Manner),
    /// Talks to a host that another stands in for.
    StandIn,
}

impl Feature {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Feature> {
        let send = Sending::ALL.into_iter().filter(|way| *way != Sending::default()).map(Feature::Send);
        let receive = Receiving::ALL.into_iter().filter(|way| *way != Receiving::default()).map(Feature::Receive);
        let leave = [Manner::Unread, Manner::Linger, Manner::Close].map(Feature::Leave);
        let others = [
            Feature::Timestamps,
            Feature::Inq,
            Feature::Nodelay,
            Feature::Cork,
            Feature::NotsentLowat,
            Feature::Rcvlowat,
            Feature::Maxseg,
            Feature::Extra,
            Feature::Change,
            Feature::Fastopen,
            Feature::Round,
            Feature::Reuse,
            Feature::StandIn,
        ];
        send.chain(receive).chain(leave).chain(others)
    }

    /// Whether the endpoint on this side of `case` does it in this round, from 0.
    pub fn is_met(self, case: &Case, side: Sender, round: u8) -> bool {
        let endpoint: &Endpoint = super::endpoint_of(case, side);
        let options = &endpoint.options;
        match self {
            Feature::Send(way) => endpoint.io.send == way,
            Feature::Receive(way) => endpoint.io.receive == way,
            Feature::Timestamps => endpoint.io.timestamps,
            Feature::Inq => endpoint.io.inq,
            Feature::Nodelay => options.nodelay,
            Feature::Cork => options.cork,
            Feature::NotsentLowat => options.notsent_lowat.is_some(),
            Feature::Rcvlowat => options.rcvlowat.is_some(),
            Feature::Maxseg => options.maxseg.is_some(),
            Feature::Extra => !options.extra.is_empty(),
            Feature::Change => !endpoint.changes.is_empty(),
            Feature::Fastopen => options.fastopen && side == Sender::Client,
            Feature::Round => round > 0 && !case.rounds.reuse,
            Feature::Reuse => round > 0 && case.rounds.reuse && side == Sender::Client,
            Feature::Leave(how) => case.ending.leave.is_some_and(|leave| leave.by == side && leave.how == how),
            Feature::StandIn => case.address == Address::Beyond && side == Sender::Server,
        }
    }

    /// Whether it is about what the endpoint receives.
    pub(super) fn receives(self) -> bool {
        matches!(self, Feature::Receive(_) | Feature::Timestamps | Feature::Inq | Feature::Rcvlowat)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Feature::Send(way) => return write!(f, "send-{way}"),
            Feature::Receive(way) => return write!(f, "receive-{way}"),
            Feature::Leave(Manner::Unread) => "leave-unread",
            Feature::Leave(Manner::Linger) => "leave-linger",
            Feature::Leave(Manner::Close) => "leave-close",
            Feature::Timestamps => "timestamps",
            Feature::Inq => "inq",
            Feature::Nodelay => "nodelay",
            Feature::Cork => "cork",
            Feature::NotsentLowat => "notsent-lowat",
            Feature::Rcvlowat => "rcvlowat",
            Feature::Maxseg => "maxseg",
            Feature::Extra => "extra",
            Feature::Change => "change",
            Feature::Fastopen => "fastopen",
            Feature::Round => "round",
            Feature::Reuse => "reuse",
            Feature::StandIn => "stand-in",
        };
        f.write_str(plain)
    }
}
