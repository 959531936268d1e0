//! The packet log of a link: what came, what it was, what was decided, when it left. Bounded in memory; written as text
//! and as pcapng.

mod pcapng;
pub mod read;
mod text;

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::case::{Direction, Fault, LinkId, Packet};
use crate::observation::LinkStory;

use super::engine::Remains;
use super::identity::Identity;
use super::packet::{Flags, View};
use super::stage::{Fate, Nanos};

/// How many of the first packets of a link are kept.
pub const HEAD: usize = 1 << 13;

/// How many of the last packets of a link are kept. What lies between the first and the last is left out.
pub const TAIL: usize = 1 << 13;

/// How many bytes of a frame are kept: all headers with all options, and some payload.
pub const SNAP: usize = 256;

/// One packet of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it came, since the start of the relay.
    pub at: Nanos,
    /// Which way it went.
    pub direction: Direction,
    /// Its flow; 0 for what is not TCP.
    pub flow: u32,
    /// The first of its names.
    pub packet: Packet,
    /// Which carriage of that name.
    pub carriage: u32,
    /// The offset of its payload in the stream.
    pub sequence: u64,
    /// The offset that it acknowledges.
    pub acknowledgement: Option<u64>,
    /// How many bytes of payload it has.
    pub payload: u32,
    /// Its control bits; none for what is not TCP.
    pub flags: Flags,
    /// Its window, not scaled.
    pub window: u16,
    /// The length of its frame.
    pub length: u32,
    /// What was decided.
    pub fate: Fate,
    /// When it was due to leave, since the start of the relay.
    pub due: Nanos,
    /// How late it left, once it has; `None` for what is still under way or lost.
    pub lateness: Option<Nanos>,
    /// Whether it was lost because too many packets were under way.
    pub overflowed: bool,
    start: [u8; SNAP],
    kept: u16,
}

impl Record {
    /// A packet that came at `now`, before anything is done to its bytes.
    pub fn new(
        now: Nanos,
        direction: Direction,
        identity: &Identity,
        view: &View<'_>,
        frame: &[u8],
        fate: Fate,
        due: Nanos,
    ) -> Record {
        let unit = identity.units[0];
        let (payload, flags, window) = view
            .segment
            .as_ref()
            .map_or_else(Default::default, |segment| (segment.payload, segment.flags, segment.window));
        let kept = frame.len().min(SNAP);
        let mut start = [0; SNAP];
        start[..kept].copy_from_slice(&frame[..kept]);
        Record {
            at: now,
            direction,
            flow: unit.flow,
            packet: unit.packet,
            carriage: unit.carriage,
            sequence: identity.sequence,
            acknowledgement: identity.acknowledgement,
            payload,
            flags,
            window,
            length: frame.len() as u32,
            fate,
            due,
            lateness: (fate.lost.is_none() && due <= now).then_some(0),
            overflowed: false,
            start,
            kept: kept as u16,
        }
    }

    /// The frame as it came, as far as it is kept.
    pub fn frame(&self) -> &[u8] {
        &self.start[..usize::from(self.kept)]
    }
}

/// The packets of a link: the first [`HEAD`] and the last [`TAIL`].
#[derive(Debug, Default)]
pub struct Log {
    head: Vec<Record>,
    tail: VecDeque<Record>,
    packets: u64,
    lost: u64,
    touched: u64,
    lateness: Nanos,
}

impl Log {
    /// Adds a packet. The number returned stands for it from then on.
    pub fn push(&mut self, record: Record) -> u64 {
        if record.fate.lost.is_some() {
            self.lost += 1;
        } else if record.fate.actions().next().is_some() {
            self.touched += 1;
        }
        if self.head.len() < HEAD {
            self.head.push(record);
        } else {
            if self.tail.len() >= TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(record);
        }
        self.packets += 1;
        self.packets - 1
    }

    /// Notes that the packet left this late.
    pub fn left(&mut self, number: u64, lateness: Nanos) {
        self.lateness = self.lateness.max(lateness);
        if let Some(record) = self.record(number) {
            record.lateness = Some(record.lateness.unwrap_or(0).max(lateness));
        }
    }

    /// Notes that the packet, or its copy, was lost here, and that no stage wanted it.
    pub fn lost_here(&mut self, number: u64) {
        if let Some(record) = self.record(number) {
            record.overflowed = true;
        }
    }

    /// How many packets came.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// How many packets came between the first and the last that are kept.
    pub fn left_out(&self) -> u64 {
        self.packets - (self.head.len() + self.tail.len()) as u64
    }

    /// Of all packets that are kept, in hexadecimal digits: empty if there is none.
    fn digest(&self) -> String {
        if self.head.is_empty() {
            return String::new();
        }
        let mut hash = Sha256::new();
        for record in self.head.iter().chain(&self.tail) {
            hash.update(record.at.to_le_bytes());
            hash.update([record.direction as u8]);
            hash.update(record.length.to_le_bytes());
            hash.update(record.frame());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn record(&mut self, number: u64) -> Option<&mut Record> {
        if number < HEAD as u64 {
            return self.head.get_mut(number as usize);
        }
        let first = self.packets - self.tail.len() as u64;
        self.tail.get_mut(number.checked_sub(first)? as usize)
    }
}

/// What a link leaves behind.
#[derive(Debug)]
pub struct LinkLog {
    /// Which link.
    pub id: LinkId,
    /// What it did, in figures.
    pub story: LinkStory,
    /// Packets lost, or failures met, that no stage decided: each makes the run worthless as evidence.
    pub trouble: Vec<String>,
    log: Log,
    flows: Vec<[SocketAddr; 2]>,
    faults: [(Vec<Fault>, u64); 2],
    /// When the relay started.
    began: SystemTime,
    /// How many packets a capture has missed.
    missed: u64,
}

/// What [`LinkLog::new`] is made of.
pub(super) struct Parts {
    pub id: LinkId,
    pub carrier: &'static str,
    pub remains: Remains,
    pub began: SystemTime,
    pub missed: u64,
    pub trouble: Vec<String>,
}

impl LinkLog {
    pub(super) fn new(parts: Parts) -> LinkLog {
        let Parts { id, carrier, remains: Remains { log, faults, flows }, began, missed, trouble } = parts;
        let story = LinkStory {
            carrier: carrier.to_owned(),
            packets: log.packets,
            lost: log.lost,
            touched: log.touched,
            lateness: Duration::from_nanos(log.lateness),
            digest: log.digest(),
            // Told by the devices, not by the log.
            ..LinkStory::default()
        };
        LinkLog { id, story, trouble, log, flows, faults, began, missed }
    }

    /// Everything that stages decided in `direction` by name, as explicit faults, in the order in which it happened: a
    /// link with these faults in place of its random impairments and outages, and with the same rate and delay, does the
    /// same damage to the same packets. Drops by a full queue are not among them: they follow from the rate.
    pub fn faults(&self, direction: Direction) -> Vec<Fault> {
        self.faults[direction as usize].0.clone()
    }

    /// How many faults [`LinkLog::faults`] leaves out because there were more than
    /// [`MAX_FAULTS`](super::pipeline::MAX_FAULTS).
    pub fn faults_left_out(&self, direction: Direction) -> u64 {
        self.faults[direction as usize].1
    }

    /// The packets that are kept, in the order in which they came.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.log.head.iter().chain(&self.log.tail)
    }

    /// Writes the log as text, one line a packet.
    ///
    /// # Errors
    /// The file cannot be made or written; the error names the path.
    pub fn write_text(&self, path: &Path) -> io::Result<()> {
        write(path, |to| text::write(self, to))
    }

    /// Writes the log as pcapng, with what was decided as the comment of each packet.
    ///
    /// # Errors
    /// The file cannot be made or written; the error names the path.
    pub fn write_pcapng(&self, path: &Path) -> io::Result<()> {
        write(path, |to| pcapng::write(self, to))
    }
}

/// Makes the file `path` and lets `content` fill it.
fn write(path: &Path, content: impl FnOnce(&mut BufWriter<std::fs::File>) -> io::Result<()>) -> io::Result<()> {
    let fill = || {
        let mut to = BufWriter::new(std::fs::File::create(path)?);
        content(&mut to)?;
        to.flush()
    };
    fill().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write the packet log {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::engine::Engine;
    use super::super::sample::{self, Sample};
    use super::*;
    use crate::case::{Action, Impairments, Link};
    use crate::seed::Seed;
    use Direction::{Backward, Forward};

    /// The log of `engine`.
    fn log_of(engine: Engine) -> LinkLog {
        let began = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123);
        let (id, carrier, remains) = (LinkId::Ns2Ns3, "tap", engine.finish());
        LinkLog::new(Parts { id, carrier, remains, began, missed: 0, trouble: Vec::new() })
    }

    /// A handshake, then four segments with some damage.
    pub(super) fn lossy() -> LinkLog {
        let fault = |cell, action| Fault { flow: 0, packet: Packet::Cell(cell), carriage: 0, action };
        let late = Duration::from_millis(3);
        let faults = vec![
            fault(0, Action::Drop),
            fault(1, Action::Duplicate),
            fault(2, Action::Late(late)),
            fault(3, Action::Flip(329)),
        ];
        let forward = Impairments { faults, ..Impairments::default() };
        let mut engine = Engine::new(Seed(1), LinkId::Ns2Ns3, &Link { forward, ..Link::default() });
        let mut offer = |at: Nanos, direction, sample: Sample| {
            engine.offer(direction, at * 1_000_000, &mut sample.frame(direction));
        };
        offer(1, Forward, sample::syn(0));
        offer(2, Backward, sample::syn_ack(0, 1));
        offer(3, Forward, sample::data(1, 1, 0));
        for cell in 0..4 {
            offer(4, Forward, sample::data(1 + 1448 * cell, 1, 1448));
        }
        offer(5, Forward, sample::data(1, 1, 1448).fin());
        while engine.due(Forward, 7_250_000).is_some() {}
        log_of(engine)
    }

    #[test]
    fn the_first_and_the_last_packets_are_kept() {
        let mut log = Log::default();
        let more = 1000;
        let (identity, view) = (identity(), View { segment: None, flippable: 0..0 });
        for at in 0..(HEAD + TAIL + more) as Nanos {
            log.push(Record::new(at, Forward, &identity, &view, &[0; 60], Fate::default(), at));
        }
        assert_eq!(log.left_out(), more as u64);
        assert_eq!(log.tail[0].at, (HEAD + more) as Nanos);
        log.left(5, 100);
        log.left(HEAD as u64 + 5, 200);
        log.left((HEAD + more) as u64, 300);
        assert_eq!((log.head[5].lateness, log.tail[0].lateness, log.lateness), (Some(100), Some(300), 300));
    }

    fn identity() -> Identity {
        let unit = super::super::identity::Unit { flow: 0, packet: Packet::Other, carriage: 0 };
        Identity { units: vec![unit], sequence: 0, acknowledgement: None }
    }

    #[test]
    fn figures_say_what_stages_did() {
        let story = lossy().story;
        assert_eq!((story.packets, story.lost, story.touched), (8, 1, 3));
        assert_eq!(story.lateness, Duration::from_micros(250));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = lossy().write_text(Path::new("/nowhere/at/all.log")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write the packet log /nowhere/at/all.log: "), "{error}");
    }
}
