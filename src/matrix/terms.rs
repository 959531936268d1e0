//! What holds for all transfers of a walk: what the script's options say, and what is drawn where they say nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::case::{
    Case, Chunks, Ending, First, Host, Impairments, Io, LinkId, Loss, Offloads, Pattern, Receiving, Reorder, Second,
    Sending,
};
use crate::seed::Seed;

/// The sizes that are drawn, in bytes: from this many on ...
const SIZE_MIN: u64 = 256 << 10;
/// ... up to less than this many.
const SIZE_MAX: u64 = 8 << 20;

/// A delay that is drawn is less than this many ms.
const DELAY_MAX: u64 = 50;

/// The reads and writes of the original are drawn below this many bytes.
const CALL_MAX: u32 = 0xffff;

/// What an offload of `ethtool -K` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// TCP segmentation.
    Tso,
    /// Generic segmentation.
    Gso,
    /// Generic receive.
    Gro,
}

impl Offload {
    const ALL: [Offload; 3] = [Offload::Tso, Offload::Gso, Offload::Gro];

    fn turn_off(self, offloads: &mut Offloads) {
        match self {
            Offload::Tso => offloads.tso = false,
            Offload::Gso => offloads.gso = false,
            Offload::Gro => offloads.gro = false,
        }
    }
}

impl FromStr for Offload {
    type Err = String;

    fn from_str(text: &str) -> Result<Offload, String> {
        match text {
            "tso" => Ok(Offload::Tso),
            "gso" => Ok(Offload::Gso),
            "gro" => Ok(Offload::Gro),
            _ => Err("expected tso, gso or gro".to_owned()),
        }
    }
}

/// How bytes move, as the script's `-m` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Both ways at once.
    #[default]
    Poll,
    /// First the client, then the server, from a mapping.
    Mmap,
    /// First the client, then the server, by sendfile(2).
    Sendfile,
    /// First the client, then the server, by splice(2), which receives as well.
    Splice,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "poll" => Ok(Mode::Poll),
            "mmap" => Ok(Mode::Mmap),
            "sendfile" => Ok(Mode::Sendfile),
            "splice" => Ok(Mode::Splice),
            _ => Err("expected poll, mmap, sendfile or splice".to_owned()),
        }
    }
}

impl Mode {
    /// The calls of it.
    fn io(self) -> Io {
        let (send, receive) = match self {
            Mode::Poll => (Sending::Send, Receiving::Recv),
            Mode::Mmap => (Sending::Mmap, Receiving::Recv),
            Mode::Sendfile => (Sending::Sendfile, Receiving::Recv),
            Mode::Splice => (Sending::Splice, Receiving::Splice),
        };
        Io { send, receive, ..Io::default() }
    }
}

/// Reordering as netem's command line has it: `25% 50% gap 5`; `0` is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReorderSpec(pub Option<Reorder>);

impl FromStr for ReorderSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<ReorderSpec, String> {
        let wrong = || "expected `PERCENT% [CORRELATION%] [gap N]`, such as `25% 50% gap 5`, or 0".to_owned();
        if text == "0" {
            return Ok(ReorderSpec(None));
        }
        let mut words = text.split_whitespace().peekable();
        let probability = words.next().and_then(|word| percent(word).ok()).ok_or_else(wrong)?;
        let mut reorder = Reorder { probability, correlation: 0.0, gap: 0 };
        if let Some(word) = words.next_if(|word| *word != "gap") {
            reorder.correlation = percent(word).map_err(|_| wrong())?;
        }
        match (words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some("gap"), Some(gap), None) => reorder.gap = gap.parse().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        }
        Ok(ReorderSpec(Some(reorder)))
    }
}

/// A share in percent, with or without its sign, as a probability.
///
/// # Errors
/// A text that says what was expected.
pub fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| "expected a percentage".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("expected a percentage from 0 to 100".to_owned())
    }
}

/// What all transfers of a walk have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Where everything random comes from.
    pub seed: Seed,
    /// IPv4 alone.
    pub v4_only: bool,
    /// Over the wire, too: pairings with TCP at one end (1), and at both (2).
    pub tcp: u8,
    /// How many bytes the client and the server send.
    pub sizes: [u64; 2],
    /// The probability of a loss from ns2 to ns3.
    pub loss: f64,
    /// The delay from ns2 to ns3.
    pub delay: Duration,
    /// The delay from ns3 to ns4: a quarter of that, in the script of today.
    pub far_delay: Duration,
    /// The reordering from ns3 to ns4, which takes some delay.
    pub reorder: Option<Reorder>,
    /// The offloads of ns3eth2 and ns4eth3.
    pub offloads: [Offloads; 2],
    /// SO_SNDBUF and SO_RCVBUF of both ends, in bytes.
    pub buffers: [Option<u32>; 2],
    /// MPTCP's checksum, on all hosts.
    pub checksum: bool,
    /// How bytes move.
    pub mode: Mode,
}

impl Terms {
    /// What the script draws where no option says otherwise.
    pub fn draw(seed: Seed) -> Terms {
        let mut random = seed.stream("matrix terms");
        let delay = random.below(DELAY_MAX);
        let loss = random.below(101) as f64 / 10_000.0;
        let reorder = Reorder {
            probability: (100 - random.below(10)) as f64 / 100.0,
            correlation: random.below(100) as f64 / 100.0,
            gap: 0,
        };
        let sizes = [0, 1].map(|_| SIZE_MIN + random.below(SIZE_MAX - SIZE_MIN));
        let mut offloads = [Offloads::default(); 2];
        for device in &mut offloads {
            Offload::ALL.into_iter().filter(|_| random.chance(0.5)).for_each(|offload| offload.turn_off(device));
        }
        Terms {
            seed,
            v4_only: false,
            tcp: 0,
            sizes,
            loss,
            delay: Duration::from_millis(delay),
            far_delay: Duration::from_millis(delay) / 4,
            reorder: Some(reorder).filter(|reorder| reorder.probability < 1.0 && reorder.correlation > 0.0),
            offloads,
            buffers: [None; 2],
            checksum: false,
            mode: Mode::default(),
        }
    }

    /// What the script of 2019 had: loss from ns2 to ns3, delay and reordering from ns3 to ns4, no TSO on ns3eth2.
    pub fn classic(seed: Seed) -> Terms {
        Terms {
            loss: 0.01,
            delay: Duration::ZERO,
            far_delay: Duration::from_millis(10),
            reorder: Some(Reorder { probability: 0.25, correlation: 0.5, gap: 5 }),
            offloads: [Offloads { tso: false, ..Offloads::default() }, Offloads::default()],
            ..Terms::draw(seed)
        }
    }

    /// Turns these offloads off, and no others.
    pub fn turn_off(&mut self, offloads: &[Offload]) {
        let mut device = Offloads::default();
        offloads.iter().for_each(|offload| offload.turn_off(&mut device));
        self.offloads = [device; 2];
    }

    /// A case under these terms, the `index`-th of its walk: sizes, links, options, knobs. What it is about is the walk's.
    pub(super) fn case(&self, index: u64) -> Case {
        let mut case = Case { seed: self.seed.child(index), ..Case::default() };
        let [sndbuf, rcvbuf] = self.buffers;
        let calls = Chunks { pattern: Pattern::Uniform { min: 1, max: CALL_MAX }, ..Chunks::default() };
        for (endpoint, size) in [(&mut case.client, self.sizes[0]), (&mut case.server, self.sizes[1])] {
            endpoint.payload = size;
            (endpoint.write, endpoint.read) = (calls.clone(), calls.clone());
            endpoint.io = self.mode.io();
        }
        if self.mode != Mode::Poll {
            case.ending = Ending { first: First::Client, second: Second::AfterEnd, ..Ending::default() };
        }
        // The original's come too late for the SYN: once connected, and once listening.
        (case.client.options.sndbuf_late, case.client.options.rcvbuf_late) = (sndbuf, rcvbuf);
        (case.server.options.sndbuf, case.server.options.rcvbuf) = (sndbuf, rcvbuf);
        if self.checksum {
            Host::ALL.into_iter().for_each(|host| case.hosts.entry(host).or_default().mptcp_checksum = true);
        }
        self.add_links(&mut case);
        case
    }

    /// The links of a case across the chain; none is named that is plain.
    fn add_links(&self, case: &mut Case) {
        let middle = case.links.entry(LinkId::Ns2Ns3).or_default();
        middle.right = self.offloads[0];
        middle.forward = Impairments {
            loss: Some(Loss::Independent(self.loss)).filter(|_| self.loss > 0.0),
            delay: self.delay,
            ..Impairments::default()
        };
        let last = case.links.entry(LinkId::Ns3Ns4).or_default();
        last.right = self.offloads[1];
        let delay = self.far_delay;
        last.forward =
            Impairments { delay, reorder: self.reorder.filter(|_| !delay.is_zero()), ..Impairments::default() };
        case.links.retain(|_, link| *link != Default::default());
    }
}

impl fmt::Display for Terms {
    /// In one line, as the script tells them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off = |offloads: Offloads| {
            let names = [("tso", offloads.tso), ("gso", offloads.gso), ("gro", offloads.gro)];
            let off: Vec<&str> = names.into_iter().filter(|(_, on)| !on).map(|(name, _)| name).collect();
            if off.is_empty() { "none".to_owned() } else { off.join("+") }
        };
        let [client, server] = self.sizes;
        write!(f, "seed {}; {client} bytes from client to server, {server} back; ", self.seed)?;
        write!(f, "ns2>ns3 loss {:.2}% delay {} ms; ", self.loss * 100.0, self.delay.as_millis())?;
        write!(f, "ns3>ns4 delay {} us", self.far_delay.as_micros())?;
        if let Some(reorder) = self.reorder {
            write!(f, " reorder {:.0}% {:.0}%", reorder.probability * 100.0, reorder.correlation * 100.0)?;
            if reorder.gap > 0 {
                write!(f, " gap {}", reorder.gap)?;
            }
        }
        write!(f, "; off on ns3eth2: {}, on ns4eth3: {}", off(self.offloads[0]), off(self.offloads[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reordering_is_read_as_netem_writes_it() {
        let of = |probability, correlation, gap| Ok(ReorderSpec(Some(Reorder { probability, correlation, gap })));
        assert_eq!("25% 50% gap 5".parse(), of(0.25, 0.5, 5));
        assert_eq!("98%".parse(), of(0.98, 0.0, 0));
        assert_eq!("10% gap 3".parse(), of(0.1, 0.0, 3));
        assert_eq!("0".parse(), Ok(ReorderSpec(None)));
        for wrong in ["", "gap 5", "25% 50% gap", "25% 50% 75%", "120%", "25% gap 5 6"] {
            assert!(wrong.parse::<ReorderSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_drawn_keeps_to_the_ranges_of_the_script() {
        for seed in 0..200 {
            let terms = Terms::draw(Seed(seed));
            assert_eq!(terms, Terms::draw(Seed(seed)));
            assert!(terms.loss <= 0.0101 && terms.delay < Duration::from_millis(50), "{terms}");
            assert!(terms.sizes.into_iter().all(|size| (SIZE_MIN..SIZE_MAX).contains(&size)), "{terms}");
            assert!(terms.reorder.is_none_or(|reorder| (0.91..1.0).contains(&reorder.probability)), "{terms}");
        }
    }
}
