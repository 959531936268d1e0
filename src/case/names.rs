//! The names of things, as case files, the command line and reports write them.

use std::fmt;
use std::str::FromStr;

use super::strategy::{Group, LinkFilter};
use super::{
    Address, Backend, Congestion, Direction, Family, First, Host, Kept, LinkId, Manner, Pairing, Protocol, Receiving,
    Second, Sending, SocketOption, Syncookies, Sysctl, TcpOption, Towards, Way,
};

/// A text that names nothing of its kind.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no {kind}: expected one of {known}")]
pub struct ParseNameError {
    text: String,
    kind: &'static str,
    known: String,
}

fn unknown(text: &str, kind: &'static str, known: &[&str]) -> ParseNameError {
    ParseNameError { text: text.to_owned(), kind, known: known.join(", ") }
}

/// Gives an enum its names, both ways.
macro_rules! named {
    ($type:ident, $kind:literal: $($variant:ident = $name:literal),+ $(,)?) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($type::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<$type, ParseNameError> {
                match text {
                    $($name => Ok($type::$variant),)+
                    _ => Err(unknown(text, $kind, &[$($name),+])),
                }
            }
        }
    };
}

named!(Protocol, "protocol": Tcp = "tcp", Mptcp = "mptcp");
named!(Family, "family": V4 = "v4", V6 = "v6", V4Mapped = "v4mapped");
named!(Address, "address": Near = "near", Far = "far", Beyond = "beyond");
named!(Host, "host": Ns1 = "ns1", Ns2 = "ns2", Ns3 = "ns3", Ns4 = "ns4");
named!(LinkId, "link":
    Ns1Ns2 = "ns1-ns2",
    Ns2Ns3 = "ns2-ns3",
    Ns3Ns4 = "ns3-ns4",
    Path1 = "path1",
    Path2 = "path2",
    Path3 = "path3",
    Path4 = "path4",
    Path5 = "path5",
    Path6 = "path6",
    Path7 = "path7",
    Path8 = "path8",
);
named!(Direction, "direction": Forward = "forward", Backward = "backward");
named!(First, "end that shuts down first": Both = "both", Client = "client", Server = "server");
named!(Second, "way to end": AtOnce = "at-once", AfterEnd = "after-end");
named!(Congestion, "congestion control": Reno = "reno", Cubic = "cubic", Bbr = "bbr");
named!(Sending, "way to send":
    Send = "send",
    Gather = "gather",
    Sendfile = "sendfile",
    Splice = "splice",
    Mmap = "mmap",
    Zerocopy = "zerocopy",
);
named!(Receiving, "way to receive":
    Recv = "recv",
    Scatter = "scatter",
    WaitAll = "wait-all",
    SaveWithPeek = "save-with-peek",
    SaveAfterPeek = "save-after-peek",
    Splice = "splice",
);
named!(Manner, "way to leave": Close = "close", Unread = "unread", Linger = "linger");
named!(SocketOption, "socket option":
    SoSndbuf = "SO_SNDBUF",
    SoRcvbuf = "SO_RCVBUF",
    SoMark = "SO_MARK",
    SoPriority = "SO_PRIORITY",
    SoKeepalive = "SO_KEEPALIVE",
    IpTos = "IP_TOS",
    TcpNodelay = "TCP_NODELAY",
    TcpCork = "TCP_CORK",
    TcpQuickack = "TCP_QUICKACK",
    TcpWindowClamp = "TCP_WINDOW_CLAMP",
);
named!(Sysctl, "kernel setting":
    TcpAutocorking = "tcp_autocorking",
    TcpDsack = "tcp_dsack",
    TcpEarlyRetrans = "tcp_early_retrans",
    TcpEcn = "tcp_ecn",
    TcpFastopen = "tcp_fastopen",
    TcpFrto = "tcp_frto",
    TcpLimitOutputBytes = "tcp_limit_output_bytes",
    TcpMinTsoSegs = "tcp_min_tso_segs",
    TcpModerateRcvbuf = "tcp_moderate_rcvbuf",
    TcpNotsentLowat = "tcp_notsent_lowat",
    TcpRecovery = "tcp_recovery",
    TcpReordering = "tcp_reordering",
    TcpShrinkWindow = "tcp_shrink_window",
    TcpSlowStartAfterIdle = "tcp_slow_start_after_idle",
    MptcpEnabled = "mptcp_enabled",
    MptcpBlackholeTimeout = "mptcp_blackhole_timeout",
    MptcpCloseTimeout = "mptcp_close_timeout",
    MptcpSynRetransBeforeTcpFallback = "mptcp_syn_retrans_before_tcp_fallback",
);
named!(Way, "stream": Sent = "sent", Received = "received");
named!(Syncookies, "setting of SYN cookies": Off = "off", OnOverflow = "on-overflow", Always = "always");
named!(Kept, "options of a merged segment": Same = "same", First = "first", Second = "second");
named!(Towards, "end of a connection": Receiver = "receiver", Sender = "sender", Both = "both");
named!(TcpOption, "TCP option":
    Mss = "mss",
    WindowScale = "window-scale",
    SackPermitted = "sack-permitted",
    Sack = "sack",
    Timestamps = "timestamps",
    Mptcp = "mptcp",
    MpCapable = "mp-capable",
    MpJoin = "mp-join",
    Dss = "dss",
    AddAddr = "add-addr",
    AddAddrEcho = "add-addr-echo",
    RemoveAddr = "remove-addr",
    MpPrio = "mp-prio",
    MpFail = "mp-fail",
    MpFastclose = "mp-fastclose",
    MpTcprst = "mp-tcprst",
);
named!(Backend, "backend": UserSpace = "user-space", Netem = "netem");
named!(LinkFilter, "choice of links": Any = "any", Plain = "plain", Impaired = "impaired");
named!(Group, "group":
    Chunks = "chunks",
    Pauses = "pauses",
    Buffers = "buffers",
    Options = "options",
    Knobs = "knobs",
    Ending = "ending",
    Refusals = "refusals",
    Mtu = "mtu",
    Offloads = "offloads",
    Cpus = "cpus",
    Io = "io",
    Leave = "leave",
    Rounds = "rounds",
    Fastopen = "fastopen",
    Tuning = "tuning",
    Paths = "paths",
    Netem = "netem",
    Loss = "loss",
    Corrupt = "corrupt",
    Duplicate = "duplicate",
    Delay = "delay",
    Reorder = "reorder",
    Rate = "rate",
    Outages = "outages",
    Middlebox = "middlebox",
    Faults = "faults",
);

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}>{}", self.client, self.server))
    }
}

impl FromStr for Pairing {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Pairing, ParseNameError> {
        let found = Pairing::ALL.into_iter().find(|pairing| pairing.to_string() == text);
        found.ok_or_else(|| {
            unknown(text, "pairing", &Pairing::ALL.map(|pairing| pairing.to_string()).each_ref().map(String::as_str))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use serde::Serialize;

    use super::*;

    /// Checks that a thing is written as in a case file, and read as it is written.
    fn as_in_the_file<T: Display + FromStr<Err: Debug> + Serialize + PartialEq + Debug + Copy>(all: &[T]) {
        for thing in all {
            assert_eq!(toml::Value::try_from(thing).unwrap().as_str(), Some(thing.to_string().as_str()));
            assert_eq!(thing.to_string().parse::<T>().unwrap(), *thing);
        }
    }

    #[test]
    fn names_are_those_of_the_file() {
        as_in_the_file(&[Protocol::Tcp, Protocol::Mptcp]);
        as_in_the_file(&Family::ALL);
        as_in_the_file(&[Address::Near, Address::Far, Address::Beyond]);
        as_in_the_file(&Host::ALL);
        as_in_the_file(&LinkId::CHAIN);
        as_in_the_file(&LinkId::PATHS);
        as_in_the_file(&Direction::BOTH);
        as_in_the_file(&[Backend::UserSpace, Backend::Netem]);
        as_in_the_file(&TcpOption::ALL);
        as_in_the_file(&[Kept::Same, Kept::First, Kept::Second]);
        as_in_the_file(&[Towards::Receiver, Towards::Sender, Towards::Both]);
        as_in_the_file(&[First::Both, First::Client, First::Server]);
        as_in_the_file(&[Second::AtOnce, Second::AfterEnd]);
        as_in_the_file(&[Congestion::Reno, Congestion::Cubic, Congestion::Bbr]);
        as_in_the_file(&Sending::ALL);
        as_in_the_file(&Receiving::ALL);
        as_in_the_file(&[Manner::Close, Manner::Unread, Manner::Linger]);
        as_in_the_file(&SocketOption::ALL);
        as_in_the_file(&Sysctl::ALL);
        as_in_the_file(&[Way::Sent, Way::Received]);
        as_in_the_file(&[Syncookies::Off, Syncookies::OnOverflow, Syncookies::Always]);
    }

    #[test]
    fn pairings_and_groups_are_read_as_they_are_written() {
        for pairing in Pairing::ALL {
            assert_eq!(pairing.to_string().parse(), Ok(pairing));
        }
        for group in Group::ALL {
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        assert_eq!("mptcp>tcp".parse(), Ok(Pairing { client: Protocol::Mptcp, server: Protocol::Tcp }));
    }

    #[test]
    fn a_wrong_name_is_refused_with_those_known() {
        assert_eq!(
            "sctp>tcp".parse::<Pairing>().unwrap_err().to_string(),
            "\"sctp>tcp\" is no pairing: expected one of tcp>tcp, tcp>mptcp, mptcp>tcp, mptcp>mptcp"
        );
        assert_eq!(
            "v5".parse::<Family>().unwrap_err().to_string(),
            "\"v5\" is no family: expected one of v4, v6, v4mapped"
        );
    }
}
