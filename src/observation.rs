//! What was seen while a case ran: plain data, judged elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::case::{Host, LinkId};
use crate::payload::{Mismatch, Sender};

/// Everything that was seen of one run of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// How the run came to its end.
    pub end: End,
    /// What the client went through.
    pub client: Story,
    /// What the server went through.
    pub server: Story,
    /// What each host showed.
    pub hosts: BTreeMap<Host, HostStory>,
    /// What each link did.
    pub links: BTreeMap<LinkId, LinkStory>,
    /// What the case's events found, in the order in which they happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Happened>,
    /// Trouble of our own: each entry makes the run worthless as evidence.
    pub trouble: Vec<String>,
    /// What the kernel complained about: panics, warnings, the reports of its own checks, line by line. Only the
    /// deterministic world has a kernel to itself, and can tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_log: Vec<String>,
    /// The kernel: release and version, as `uname -rv` shows them.
    pub kernel: String,
    /// How long the parts took.
    pub timings: Timings,
}

/// How a run came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Both endpoints finished, well or not.
    Finished,
    /// No byte moved for longer than the case's patience; the endpoints were then stopped.
    Stalled {
        /// How long nothing had moved.
        idle: Duration,
    },
    /// Bytes still moved when the time for the whole case was over.
    OutOfTime,
    /// The kernel went down during the run: [`Observation::kernel_log`] is all that was seen of it.
    KernelDied,
    /// The kernel itself hung, so that nothing else was seen of the run. Only the deterministic world can tell.
    KernelHung(Hang),
}

/// How a kernel hung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hang {
    /// It computed for so much CPU time without letting virtual time pass, or any program run.
    Computes {
        /// Until it was killed.
        cpu: Duration,
    },
    /// A call of one of the agent's threads did not come back.
    Holds {
        /// The thread's name: `client`, ...
        thread: String,
        /// The kernel's function that it waits in.
        place: String,
    },
}

impl Observation {
    /// What is seen of a run whose kernel went down with its agent, on a kernel of that version: nothing.
    pub fn of_a_crash(kernel: String) -> Observation {
        Observation::of_nothing(End::KernelDied, kernel)
    }

    /// What is seen of a run that ended so before its agent could tell anything, on a kernel of that version.
    pub fn of_nothing(end: End, kernel: String) -> Observation {
        Observation {
            end,
            client: Story::default(),
            server: Story::default(),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            events: Vec::new(),
            trouble: Vec::new(),
            kernel_log: Vec::new(),
            kernel,
            timings: Timings::default(),
        }
    }
}

/// An event as it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Its place in the case's list of events, from 0.
    pub event: usize,
    /// When: so long after the endpoints were started.
    pub after: Duration,
    /// How many bytes the client and the server had read by then.
    pub received: [u64; 2],
    /// How many bytes had gone into each link by then, headers included: forward, backward.
    pub bytes: BTreeMap<LinkId, [u64; 2]>,
}

/// What one endpoint went through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// How many connects were refused before the one that counts.
    pub refused: u8,
    /// Whether it has been connected.
    pub connected: bool,
    /// How many bytes the kernel took from it.
    pub sent: u64,
    /// How many bytes it read.
    pub received: u64,
    /// How what it read differs from what was sent.
    pub mismatch: Option<Mismatch>,
    /// Whether it left before its time, as the case says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub left: bool,
    /// Whether bytes lay unread when it left.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unread: bool,
    /// How many connections it has brought to their end. The other figures are those of the last one it began.
    #[serde(default)]
    pub rounds: u8,
    /// Whether it has shut down its sending side.
    pub shut_down: bool,
    /// Whether it has seen the end of the peer's stream.
    pub end_of_stream: bool,
    /// The call that failed, where one did.
    pub error: Option<CallError>,
    /// Where it was when the run ended: `reading`, `writing`, `pausing`, ...
    pub state: String,
    /// The MPTCP state just before it closed; `None` for a TCP socket.
    pub mptcp: Option<MptcpState>,
    /// All sockets of its host just before it closed its own, where its story is not a good one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketState>,
    /// Socket options that this kernel refused, with their errno.
    pub refused_options: Vec<String>,
    /// Where the kernel contradicted itself: what it said of the stream against what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<Contradiction>,
    /// How often calls other than send(2) and recv(2) went through, by their name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, u64>,
}

/// What the kernel said of a stream and did not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// What it looks like, without numbers.
    pub looks: String,
    /// The same with numbers.
    pub what: String,
}

impl Contradiction {
    /// A peek went on behind bytes that it should have shown.
    pub const LEFT_OUT: &'static str = "a peek left out bytes that a read got";
}

/// A system call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// Its name: `connect`, `recv`, ...
    pub call: String,
    /// The name of the errno: `ECONNRESET`, ...
    pub errno: String,
    /// How many bytes had been sent before.
    pub sent: u64,
    /// How many bytes had been received before.
    pub received: u64,
}

/// What `MPTCP_INFO` said of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MptcpState {
    /// Whether the connection has fallen back to TCP.
    pub fallback: bool,
    /// Whether the peer's key was received: MPTCP was negotiated.
    pub remote_key: bool,
    /// Whether DSS checksums are on.
    pub checksum: bool,
    /// How many subflows there are beside the first.
    #[serde(default, skip_serializing_if = "crate::case::is_default")]
    pub subflows: u8,
}

/// What one host showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStory {
    /// How much each counter of `/proc/net/snmp`, `snmp6` and `netstat` grew, where it did: `TcpExt.TCPTimeouts`, ...
    pub counters: BTreeMap<String, i64>,
    /// Sockets at the moment of a stall.
    pub stalled_sockets: Vec<SocketState>,
    /// Sockets still there after both endpoints closed and the network had time to settle; TIME-WAIT does not count.
    pub left_sockets: Vec<SocketState>,
    /// How many sockets more were in use at the end than before the endpoints opened theirs: where `left_sockets` is empty,
    /// what nobody will ever free.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_sockets: i64,
    /// How many packets of its devices were captured, where somebody asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<CaptureStory>,
    /// The path manager events of its MPTCP connections, if there are several paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pm_events: Vec<PmEvent>,
    /// Whether some of that is missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pm_events_lost: bool,
}

/// What a capture has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureStory {
    /// How many packets there were.
    pub packets: u64,
    /// How many of them it has not kept.
    pub missed: u64,
}

/// What the kernel told a path manager in user space of an MPTCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmEvent {
    /// What happened.
    pub kind: PmEventKind,
    /// The connection's token on its host.
    pub token: u32,
    /// The subflow's own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The peer's end of the subflow, or the address that the peer announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// The identifier of the own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_id: Option<u8>,
    /// The identifier of the peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<u8>,
    /// Whether the subflow is a backup.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backup: bool,
    /// The errno that the subflow ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u8>,
}

/// Kinds of them (include/uapi/linux/mptcp.h, enum mptcp_event_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PmEventKind {
    /// A connection begins.
    Created,
    /// It can have further subflows from now on.
    Established,
    /// It is over.
    Closed,
    /// The peer has announced an address.
    Announced,
    /// The peer has taken an address back.
    Removed,
    /// A further subflow works.
    SubflowEstablished,
    /// A subflow has ended.
    SubflowClosed,
    /// A subflow has become a backup, or none.
    SubflowPriority,
    /// The path manager listens on the port of an endpoint.
    ListenerCreated,
    /// It does so no more.
    ListenerClosed,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// One socket as `sock_diag` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketState {
    /// `tcp` or `mptcp`.
    pub protocol: String,
    /// `ESTAB`, `CLOSE-WAIT`, ... as `ss` writes them.
    pub state: String,
    /// Its own address and port.
    pub local: String,
    /// The peer's.
    pub remote: String,
    /// Bytes not yet read.
    pub receive_queue: u32,
    /// Bytes not yet acknowledged.
    pub send_queue: u32,
    /// The pending timer (`retransmit`, `keepalive`, `time-wait`, `probe`), if there is one.
    pub timer: Option<String>,
    /// More of its state: `tcp_info` and the like, as `name=value` pairs.
    pub details: BTreeMap<String, u64>,
}

/// What one link did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkStory {
    /// How its packets are carried: `veth`, `tap` or `packet`.
    pub carrier: String,
    /// How many bytes its devices sent into it, headers included: forward, backward.
    #[serde(default)]
    pub bytes: [u64; 2],
    /// Packets seen, both directions.
    pub packets: u64,
    /// Packets that a stage lost.
    pub lost: u64,
    /// Packets that a stage did anything else to.
    pub touched: u64,
    /// How late the latest packet left, against its due time.
    pub lateness: Duration,
    /// What stands for the packets that are kept: SHA-256 of when each came, which way it went, and its bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where an endpoint's host did not keep to the protocols, by the packets that it put into this link: the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaches: Vec<Breach>,
}

/// A packet by which a host did not keep to the protocols, as far as packets tell.
///
/// The constants are the looks that an oracle may explain by what the host counted or heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// When it came, since the links were put to work.
    pub at: Duration,
    /// Whose host sent it.
    pub by: Sender,
    /// From which address to which.
    pub flow: String,
    /// What it looks like, without numbers.
    pub looks: String,
    /// The numbers.
    pub what: String,
}

impl Breach {
    /// Not all that came long ago is acknowledged.
    pub const LEAVES_OUT: &'static str = "an acknowledgement that leaves out what came";
    /// Nothing is said about what came long ago.
    pub const OWES: &'static str = "no acknowledgement of what came";
    /// Not all that subflows acknowledged long ago is acknowledged to the connection.
    pub const LEAVES_OUT_DATA: &'static str = "a DATA_ACK that leaves out what came";
    /// A subflow that is a backup from its beginning carries new data beside another one that works.
    pub const PREFERS: &'static str = "new data on a backup while another subflow works";
    /// A subflow that became a backup carries on beside another one that works.
    pub const STAYS: &'static str = "new data on what has become a backup while another subflow works";
    /// An address that nobody heard of is not announced again.
    pub const UNHEARD: &'static str = "no further announcement of an address that was not heard";
    /// The peer has taken an address back to which there is a subflow.
    pub const KEEPS: &'static str = "no end of a subflow whose address was taken back";
}

/// How long the parts of a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Building hosts and links.
    pub setup: Duration,
    /// From the first connect to the last endpoint's end.
    pub transfer: Duration,
    /// Until sockets and links had settled.
    pub settle: Duration,
    /// The longest time on end in which no byte moved, planned rests apart, in looks of 50 ms.
    #[serde(default)]
    pub silence: Duration,
    /// Whether time was virtual, so that the machine's speed is in none of these figures.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exact: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}
