//! What a case says about one link.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Host, Merge, Offloads, Rule, Strip, Towards, is_default};

/// How many carriages of one packet (or cell) the random stages of one direction of a link lose or corrupt at most;
/// every later carriage passes. The links keep to it, and the expectations of the oracles build on it. Explicit
/// [`Fault`]s are not bound by it.
pub const MAX_CARRIAGES: u32 = 4;

/// A link: three of the chain, eight of the topologies with several paths (see [`super::Topology`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkId {
    /// Joins ns1 and ns2.
    #[serde(rename = "ns1-ns2")]
    Ns1Ns2,
    /// Joins ns2 and ns3.
    #[serde(rename = "ns2-ns3")]
    Ns2Ns3,
    /// Joins ns3 and ns4.
    #[serde(rename = "ns3-ns4")]
    Ns3Ns4,
    /// The first of several that join ns1 and ns2.
    #[serde(rename = "path1")]
    Path1,
    /// The second.
    #[serde(rename = "path2")]
    Path2,
    /// The third.
    #[serde(rename = "path3")]
    Path3,
    /// The fourth.
    #[serde(rename = "path4")]
    Path4,
    /// The fifth.
    #[serde(rename = "path5")]
    Path5,
    /// The sixth.
    #[serde(rename = "path6")]
    Path6,
    /// The seventh.
    #[serde(rename = "path7")]
    Path7,
    /// The eighth.
    #[serde(rename = "path8")]
    Path8,
}

impl LinkId {
    /// The links of the chain, from left to right.
    pub const CHAIN: [LinkId; 3] = [LinkId::Ns1Ns2, LinkId::Ns2Ns3, LinkId::Ns3Ns4];

    /// The links side by side, from the first.
    pub const PATHS: [LinkId; 8] = [
        LinkId::Path1,
        LinkId::Path2,
        LinkId::Path3,
        LinkId::Path4,
        LinkId::Path5,
        LinkId::Path6,
        LinkId::Path7,
        LinkId::Path8,
    ];

    /// Its place among all links, from 0: those of the chain first, from left to right.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its place on the way from the left to the right, from 0: links that one packet crosses have different ones.
    pub fn place(self) -> usize {
        if self.is_path() { 0 } else { self.index() }
    }

    /// Whether it is one of several side by side.
    pub fn is_path(self) -> bool {
        self >= LinkId::Path1
    }

    /// The host at its left end.
    pub fn left(self) -> Host {
        Host::ALL[self.place()]
    }

    /// The host at its right end.
    pub fn right(self) -> Host {
        Host::ALL[self.place() + 1]
    }
}

/// A direction on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From left to right: towards ns4.
    Forward,
    /// From right to left: towards ns1.
    Backward,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Direction; 2] = [Direction::Forward, Direction::Backward];

    /// The other direction.
    pub fn reverse(self) -> Direction {
        match self {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        }
    }
}

/// Who carries out the impairments of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// A program of ours, which decides by what a packet is and keeps a log of what it did.
    #[default]
    UserSpace,
    /// The kernel's network emulator (sch_netem), which decides by the order in which packets come. It cannot do all that
    /// [`Impairments`] may say, it knows no bound of its losses, and no log tells what it did.
    Netem,
}

/// One link: its devices and what it does to packets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Who carries its impairments out.
    #[serde(skip_serializing_if = "is_default")]
    pub backend: Backend,
    /// The MTU of both its devices, in bytes (1280 to 9000).
    #[serde(skip_serializing_if = "is_ethernet_mtu")]
    pub mtu: u16,
    /// The offloads of the device at its left end. An impaired link carries frames no larger than the MTU, whatever
    /// these say.
    #[serde(skip_serializing_if = "is_default")]
    pub left: Offloads,
    /// The offloads of the device at its right end.
    #[serde(skip_serializing_if = "is_default")]
    pub right: Offloads,
    /// What happens to packets from left to right.
    #[serde(skip_serializing_if = "is_default")]
    pub forward: Impairments,
    /// What happens to packets from right to left.
    #[serde(skip_serializing_if = "is_default")]
    pub backward: Impairments,
}

/// The MTU of a link that says nothing else, in bytes.
const ETHERNET_MTU: u16 = 1500;

fn is_ethernet_mtu(mtu: &u16) -> bool {
    *mtu == ETHERNET_MTU
}

impl Default for Link {
    fn default() -> Link {
        Link {
            backend: Backend::default(),
            mtu: ETHERNET_MTU,
            left: Offloads::default(),
            right: Offloads::default(),
            forward: Impairments::default(),
            backward: Impairments::default(),
        }
    }
}

impl Link {
    /// The impairments of one direction.
    pub fn impairments(&self, direction: Direction) -> &Impairments {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        }
    }

    /// The impairments of one direction, to change them.
    pub fn impairments_mut(&mut self, direction: Direction) -> &mut Impairments {
        match direction {
            Direction::Forward => &mut self.forward,
            Direction::Backward => &mut self.backward,
        }
    }

    /// Whether anything happens to its packets.
    pub fn is_impaired(&self) -> bool {
        self.forward != Impairments::default() || self.backward != Impairments::default()
    }
}

/// What one direction of a link does to packets. The stages work in the order of the fields; all probabilities are in
/// `[0, 1]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Impairments {
    /// Whether SYN, SYN/ACK and the ACK after it pass unharmed (loss, duplicate, corrupt, reorder).
    #[serde(skip_serializing_if = "is_default")]
    pub spare_handshake: bool,
    /// Loss.
    #[serde(skip_serializing_if = "is_default")]
    pub loss: Option<Loss>,
    /// When nothing passes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// The probability of a bit flip somewhere behind the Ethernet header. The receiver's checksum then drops the packet.
    #[serde(skip_serializing_if = "is_default")]
    pub corrupt: f64,
    /// The probability of a second copy.
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate: f64,
    /// A limited rate.
    #[serde(skip_serializing_if = "is_default")]
    pub rate: Option<Rate>,
    /// The time every packet takes.
    #[serde(with = "humantime_serde", skip_serializing_if = "is_default")]
    pub delay: Duration,
    /// What some packets take longer, or less long.
    #[serde(skip_serializing_if = "is_default")]
    pub jitter: Option<Jitter>,
    /// Packets that overtake those before them: they skip the delay.
    #[serde(skip_serializing_if = "is_default")]
    pub reorder: Option<Reorder>,
    /// What a middlebox adds to the sequence numbers of what goes this way, modulo 2^32, as firewalls do that choose
    /// initial numbers themselves. It takes as much from the acknowledgements that come the other way. A link that is
    /// healed goes on doing so: no connection survives its end.
    #[serde(skip_serializing_if = "is_default")]
    pub renumber: u32,
    /// What a middlebox does to packets it picks. It loses, doubles and rewrites before the rate, and shifts last, as
    /// single faults do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Things done to single packets, one by one. What loses, flips and doubles works before the rate, what shifts works
    /// last: each where the stage of its kind does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// How packets get lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Each with this probability.
    Independent(f64),
    /// In bursts: two states, each with its own loss, and a chance per cell to move to the other.
    GilbertElliott {
        /// The probability to go from the good state to the bad one.
        to_bad: f64,
        /// The probability to come back.
        to_good: f64,
        /// The loss in the good state.
        good: f64,
        /// The loss in the bad state.
        bad: f64,
    },
    /// A cell is chosen with a probability; the first carriages of a chosen cell are lost, all later ones pass.
    Cells {
        /// The probability that a cell is chosen.
        probability: f64,
        /// How many of its carriages are lost: between 1 and this many, evenly, and no more than [`MAX_CARRIAGES`].
        carriages: u32,
    },
}

/// A span of time in which nothing passes, from the first packet on the link on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Its beginning.
    #[serde(with = "humantime_serde")]
    pub from: Duration,
    /// Its end, no longer part of it.
    #[serde(with = "humantime_serde")]
    pub to: Duration,
}

/// A limited rate, with a queue of limited length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In kilobits (1000 bits) a second.
    pub kbit: u32,
    /// How many packets wait at most; one more is dropped.
    pub queue: u32,
}

/// What packets take longer or less long than the delay. The sum is never below 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Jitter {
    /// Evenly between minus and plus this.
    Uniform(#[serde(with = "humantime_serde")] Duration),
    /// Normally distributed with this standard deviation.
    Normal(#[serde(with = "humantime_serde")] Duration),
}

impl Jitter {
    /// The most, or the standard deviation.
    pub fn spread(self) -> Duration {
        let (Jitter::Uniform(spread) | Jitter::Normal(spread)) = self;
        spread
    }
}

/// Which packets skip the delay, as netem's `reorder P CORRELATION gap N` means it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// The probability that a packet skips the delay.
    pub probability: f64,
    /// How much each draw depends on the one before, in `[0, 1]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub correlation: f64,
    /// Only every `gap`-th packet is a candidate; 0 and 1: every packet is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gap: u32,
}

/// One thing done to one packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The connection (or MPTCP subflow): its number in the order in which the link met them, from 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flow: u32,
    /// The packet.
    pub packet: Packet,
    /// Which of its transmissions, from 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub carriage: u32,
    /// What is done to it.
    pub action: Action,
}

/// What a packet is, in a way that stays the same from run to run. Offsets and acknowledgements count from the
/// initial sequence number: 0 is the first byte of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packet {
    /// Carries the first byte of this cell: bytes from `cell` times 1448 on. A packet that carries the first bytes of
    /// several cells is any of them.
    Cell(u64),
    /// Carries payload from this offset on, and the first byte of no cell.
    Inner(u64),
    /// A SYN.
    Syn,
    /// A SYN/ACK.
    SynAck,
    /// A FIN without payload.
    Fin,
    /// A RST.
    Rst,
    /// No payload: the acknowledgement of everything before this offset. 0: also the third packet of the handshake.
    Ack(u64),
    /// Anything but TCP: ICMP, mostly.
    Other,
}

/// What is done to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// It is lost.
    Drop,
    /// This bit is flipped, counted from the first bit behind the Ethernet header, modulo the packet's length. Moved to
    /// the nearest bit that a checksum covers and that no other link flips, so that the damage never goes unnoticed.
    Flip(u32),
    /// It comes twice.
    Duplicate,
    /// It takes this much longer than the delay.
    Late(#[serde(with = "humantime_serde")] Duration),
    /// It takes this much less long than the delay, at least no time.
    Early(#[serde(with = "humantime_serde")] Duration),
    /// Options are taken out of its TCP header.
    Strip(Strip),
    /// The MSS that its SYN offers is lowered to this, in bytes.
    Clamp(u16),
    /// It is cut in two, behind this byte of its payload (modulo what leaves a byte for either part), as TSO does: both
    /// parts carry all its options.
    Split(u32),
    /// It waits for the segment that goes on where it ends, and both go on as one, where that has a place in the MTU.
    Merge(Merge),
    /// A byte of its payload, this one or the next that is not 255, is raised by one; the checksum of TCP is put right.
    Alter(u32),
    /// It is marked as having met congestion (CE, RFC 3168).
    Mark,
    /// A RST in its name, or in the name of its receiver, is sent ahead of it.
    Reset(Towards),
    /// It is lost, and its sender gets a RST in the name of its receiver, as a firewall refuses it.
    Refuse,
}

impl Impairments {
    /// Whether it merges segments.
    pub fn merges(&self) -> bool {
        self.actions().any(|action| matches!(action, Action::Merge(_)))
    }

    /// Whether its rules or faults flip bits of packets, besides chance.
    pub fn flips(&self) -> bool {
        self.actions().any(|action| matches!(action, Action::Flip(_)))
    }

    fn actions(&self) -> impl Iterator<Item = Action> {
        self.rules.iter().map(|rule| rule.action).chain(self.faults.iter().map(|fault| fault.action))
    }
}

impl Action {
    /// Whether it changes when the packet arrives, and nothing else.
    pub fn shifts(self) -> bool {
        matches!(self, Action::Late(_) | Action::Early(_))
    }

    /// Whether it keeps the packet from its receiver, by a wrong checksum too.
    pub fn takes(self) -> bool {
        matches!(self, Action::Drop | Action::Flip(_) | Action::Refuse)
    }

    /// Whether it changes the bytes of the packet under a right checksum, or adds packets to it.
    pub fn rewrites(self) -> bool {
        match self {
            Action::Strip(_) | Action::Clamp(_) | Action::Split(_) | Action::Alter(_) | Action::Mark => true,
            Action::Merge(_) | Action::Reset(_) | Action::Refuse => true,
            Action::Drop | Action::Flip(_) | Action::Duplicate | Action::Late(_) | Action::Early(_) => false,
        }
    }

    /// Whether it sends a RST.
    pub fn resets(self) -> bool {
        matches!(self, Action::Reset(_) | Action::Refuse)
    }
}
