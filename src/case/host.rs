//! What a case says about one host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PathManager, Sysctl, is_default};

/// A host: a network namespace. All four make the chain `ns1 - ns2 - ns3 - ns4`; other topologies have fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// The left end.
    #[default]
    Ns1,
    /// The router beside it.
    Ns2,
    /// The router beside the right end.
    Ns3,
    /// The right end.
    Ns4,
}

impl Host {
    /// Every host, from left to right.
    pub const ALL: [Host; 4] = [Host::Ns1, Host::Ns2, Host::Ns3, Host::Ns4];

    /// Its place in the chain, from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Kernel knobs of one host (`/proc/sys/net/...`); the defaults are the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// `net.ipv4.tcp_rmem`: minimum, default and maximum of the receive buffer, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub tcp_rmem: Option<[u32; 3]>,
    /// `net.ipv4.tcp_wmem`: minimum, default and maximum of the send buffer, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub tcp_wmem: Option<[u32; 3]>,
    /// `net.ipv4.tcp_sack`.
    #[serde(skip_serializing_if = "is_true")]
    pub sack: bool,
    /// `net.ipv4.tcp_timestamps`.
    #[serde(skip_serializing_if = "is_true")]
    pub timestamps: bool,
    /// `net.ipv4.tcp_window_scaling`.
    #[serde(skip_serializing_if = "is_true")]
    pub window_scaling: bool,
    /// `net.ipv4.tcp_syncookies`.
    #[serde(skip_serializing_if = "is_default")]
    pub syncookies: Syncookies,
    /// `net.mptcp.checksum_enabled`.
    #[serde(skip_serializing_if = "is_default")]
    pub mptcp_checksum: bool,
    /// `net.mptcp.stale_loss_cnt`: after how many timeouts in a row without an answer a subflow counts as stale; 0: never.
    #[serde(skip_serializing_if = "is_default")]
    pub stale_loss_cnt: Option<u8>,
    /// `net.mptcp.add_addr_timeout`, in seconds: after how long without an echo an ADD_ADDR is sent again; 0: never.
    #[serde(skip_serializing_if = "is_default")]
    pub add_addr_timeout: Option<u8>,
    /// `net.mptcp.allow_join_initial_addr_port`: whether the peer may join at the address of the first subflow.
    #[serde(skip_serializing_if = "is_true")]
    pub join_initial: bool,
    /// `net.mptcp.scheduler`: who decides which subflow sends. A kernel has `default` alone, unless a BPF program brings
    /// another one; where it has none of this name, the case cannot be run.
    #[serde(skip_serializing_if = "is_default")]
    pub scheduler: Option<String>,
    /// How the path manager is configured.
    #[serde(skip_serializing_if = "is_default")]
    pub pm: PathManager,
    /// Others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<Sysctl, u32>,
}

impl Knobs {
    /// Whether this host gives MPTCP sockets.
    pub fn has_mptcp(&self) -> bool {
        self.sysctls.get(&Sysctl::MptcpEnabled) != Some(&0)
    }
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            tcp_rmem: None,
            tcp_wmem: None,
            sack: true,
            timestamps: true,
            window_scaling: true,
            syncookies: Syncookies::default(),
            mptcp_checksum: false,
            stale_loss_cnt: None,
            add_addr_timeout: None,
            join_initial: true,
            scheduler: None,
            pm: PathManager::default(),
            sysctls: BTreeMap::new(),
        }
    }
}

/// When a listener answers with SYN cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syncookies {
    /// Never: 0.
    Off,
    /// When its queue overflows: 1, the kernel's default.
    #[default]
    OnOverflow,
    /// Always: 2.
    Always,
}

/// Segmentation offloads of one device; on by default, as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offloads {
    /// TCP segmentation offload.
    #[serde(skip_serializing_if = "is_true")]
    pub tso: bool,
    /// Generic segmentation offload.
    #[serde(skip_serializing_if = "is_true")]
    pub gso: bool,
    /// Generic receive offload.
    #[serde(skip_serializing_if = "is_true")]
    pub gro: bool,
}

impl Default for Offloads {
    fn default() -> Offloads {
        Offloads { tso: true, gso: true, gro: true }
    }
}

fn is_true(value: &bool) -> bool {
    *value
}
