//! Numbers that a case sets on sockets and hosts, each known by the kernel's name.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A socket option that takes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SocketOption {
    /// SO_SNDBUF, in bytes.
    SoSndbuf,
    /// SO_RCVBUF, in bytes.
    SoRcvbuf,
    /// SO_MARK.
    SoMark,
    /// SO_PRIORITY.
    SoPriority,
    /// SO_KEEPALIVE; the first probe after one second of silence, the others one second apart, 120 of them.
    SoKeepalive,
    /// IP_TOS; IPV6_TCLASS on IPv6 sockets.
    IpTos,
    /// TCP_NODELAY.
    TcpNodelay,
    /// TCP_CORK.
    TcpCork,
    /// TCP_QUICKACK.
    TcpQuickack,
    /// TCP_WINDOW_CLAMP, in bytes.
    TcpWindowClamp,
}

impl SocketOption {
    /// Every option.
    pub const ALL: [SocketOption; 10] = [
        SocketOption::SoSndbuf,
        SocketOption::SoRcvbuf,
        SocketOption::SoMark,
        SocketOption::SoPriority,
        SocketOption::SoKeepalive,
        SocketOption::IpTos,
        SocketOption::TcpNodelay,
        SocketOption::TcpCork,
        SocketOption::TcpQuickack,
        SocketOption::TcpWindowClamp,
    ];

    /// The values that it takes.
    pub fn range(self) -> RangeInclusive<u32> {
        match self {
            SocketOption::SoSndbuf | SocketOption::SoRcvbuf | SocketOption::TcpWindowClamp => 1..=64 << 20,
            SocketOption::SoMark => 0..=i32::MAX as u32,
            // Above that it takes a privilege that counts in the first user namespace alone.
            SocketOption::SoPriority => 0..=6,
            // The low two bits are ECN's.
            SocketOption::IpTos => 0..=252,
            SocketOption::SoKeepalive
            | SocketOption::TcpNodelay
            | SocketOption::TcpCork
            | SocketOption::TcpQuickack => 0..=1,
        }
    }
}

/// A socket option that is changed in the middle of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// It is set before the first call for which this many bytes have gone through.
    pub at: u64,
    /// Of which stream.
    pub of: Way,
    /// The option.
    pub option: SocketOption,
    /// Its new value.
    pub value: u32,
}

/// One of the two streams of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// What it sends.
    Sent,
    /// What it receives.
    Received,
}

/// A kernel setting of a host that takes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sysctl {
    /// `net.ipv4.tcp_autocorking`.
    TcpAutocorking,
    /// `net.ipv4.tcp_dsack`.
    TcpDsack,
    /// `net.ipv4.tcp_early_retrans`: 0 without tail loss probes, 3 with them.
    TcpEarlyRetrans,
    /// `net.ipv4.tcp_ecn`.
    TcpEcn,
    /// `net.ipv4.tcp_fastopen`: bit 0 for clients, bit 1 for servers, bits 2 and 9 without cookies.
    TcpFastopen,
    /// `net.ipv4.tcp_frto`.
    TcpFrto,
    /// `net.ipv4.tcp_limit_output_bytes`.
    TcpLimitOutputBytes,
    /// `net.ipv4.tcp_min_tso_segs`.
    TcpMinTsoSegs,
    /// `net.ipv4.tcp_moderate_rcvbuf`.
    TcpModerateRcvbuf,
    /// `net.ipv4.tcp_notsent_lowat`, in bytes.
    TcpNotsentLowat,
    /// `net.ipv4.tcp_recovery`.
    TcpRecovery,
    /// `net.ipv4.tcp_reordering`.
    TcpReordering,
    /// `net.ipv4.tcp_shrink_window`.
    TcpShrinkWindow,
    /// `net.ipv4.tcp_slow_start_after_idle`.
    TcpSlowStartAfterIdle,
    /// `net.mptcp.enabled`: at 0 the host gives no MPTCP sockets.
    MptcpEnabled,
    /// `net.mptcp.blackhole_timeout`, in seconds: for how long no MPTCP is asked for after SYNs that asked for it were lost.
    MptcpBlackholeTimeout,
    /// `net.mptcp.close_timeout`, in seconds: for how long a connection without subflows waits for a new one.
    MptcpCloseTimeout,
    /// `net.mptcp.syn_retrans_before_tcp_fallback`: how many SYNs that ask for MPTCP are sent again.
    MptcpSynRetransBeforeTcpFallback,
}

impl Sysctl {
    /// Every setting.
    pub const ALL: [Sysctl; 18] = [
        Sysctl::TcpAutocorking,
        Sysctl::TcpDsack,
        Sysctl::TcpEarlyRetrans,
        Sysctl::TcpEcn,
        Sysctl::TcpFastopen,
        Sysctl::TcpFrto,
        Sysctl::TcpLimitOutputBytes,
        Sysctl::TcpMinTsoSegs,
        Sysctl::TcpModerateRcvbuf,
        Sysctl::TcpNotsentLowat,
        Sysctl::TcpRecovery,
        Sysctl::TcpReordering,
        Sysctl::TcpShrinkWindow,
        Sysctl::TcpSlowStartAfterIdle,
        Sysctl::MptcpEnabled,
        Sysctl::MptcpBlackholeTimeout,
        Sysctl::MptcpCloseTimeout,
        Sysctl::MptcpSynRetransBeforeTcpFallback,
    ];

    /// Its full name.
    pub fn key(self) -> &'static str {
        match self {
            Sysctl::TcpAutocorking => "net.ipv4.tcp_autocorking",
            Sysctl::TcpDsack => "net.ipv4.tcp_dsack",
            Sysctl::TcpEarlyRetrans => "net.ipv4.tcp_early_retrans",
            Sysctl::TcpEcn => "net.ipv4.tcp_ecn",
            Sysctl::TcpFastopen => "net.ipv4.tcp_fastopen",
            Sysctl::TcpFrto => "net.ipv4.tcp_frto",
            Sysctl::TcpLimitOutputBytes => "net.ipv4.tcp_limit_output_bytes",
            Sysctl::TcpMinTsoSegs => "net.ipv4.tcp_min_tso_segs",
            Sysctl::TcpModerateRcvbuf => "net.ipv4.tcp_moderate_rcvbuf",
            Sysctl::TcpNotsentLowat => "net.ipv4.tcp_notsent_lowat",
            Sysctl::TcpRecovery => "net.ipv4.tcp_recovery",
            Sysctl::TcpReordering => "net.ipv4.tcp_reordering",
            Sysctl::TcpShrinkWindow => "net.ipv4.tcp_shrink_window",
            Sysctl::TcpSlowStartAfterIdle => "net.ipv4.tcp_slow_start_after_idle",
            Sysctl::MptcpEnabled => "net.mptcp.enabled",
            Sysctl::MptcpBlackholeTimeout => "net.mptcp.blackhole_timeout",
            Sysctl::MptcpCloseTimeout => "net.mptcp.close_timeout",
            Sysctl::MptcpSynRetransBeforeTcpFallback => "net.mptcp.syn_retrans_before_tcp_fallback",
        }
    }

    /// The values that it takes here.
    pub fn range(self) -> RangeInclusive<u32> {
        match self {
            Sysctl::TcpEarlyRetrans => 0..=4,
            Sysctl::TcpEcn | Sysctl::TcpFrto => 0..=2,
            Sysctl::TcpFastopen => 0..=0xfff,
            Sysctl::TcpLimitOutputBytes => 4096..=i32::MAX as u32,
            Sysctl::TcpMinTsoSegs => 1..=255,
            Sysctl::TcpNotsentLowat => 1..=u32::MAX,
            Sysctl::TcpRecovery => 0..=7,
            Sysctl::TcpReordering => 1..=300,
            Sysctl::MptcpBlackholeTimeout | Sysctl::MptcpCloseTimeout => 0..=3600,
            // Fewer than the kernel's own two, and a SYN that is late rather than lost would end MPTCP.
            Sysctl::MptcpSynRetransBeforeTcpFallback => 2..=6,
            _ => 0..=1,
        }
    }
}
