//! A packet log read back from its pcapng: what a ladder is drawn from.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::{Block, PcapNgReader};

use super::pcapng::OUTBOUND;
use crate::case::Direction;

/// The most packets that are read of one file: more than a log keeps.
const PACKETS_MAX: usize = 1 << 16;

/// The most bytes that are read of one file.
const BYTES_MAX: u64 = 64 << 20;

/// The packets of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The link's name.
    pub name: String,
    /// The hosts at its left and right end.
    pub ends: [String; 2],
    /// How many packets passed that the file does not have.
    pub unseen: u64,
    /// The packets, in the order in which they came.
    pub packets: Vec<Carried>,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// When it came to the link, since 1970 on the clock of its world.
    pub at: Duration,
    /// Which way it went.
    pub direction: Direction,
    /// Its frame as it came, as far as it was kept.
    pub frame: Vec<u8>,
    /// What was decided about it, in words.
    pub decision: String,
}

impl Carried {
    /// Whether it left as it came, and not later than everything else.
    pub fn is_untouched(&self) -> bool {
        self.deeds().next().is_none()
    }

    /// What was done to it, piece by piece: all of the decision but what every packet has.
    pub fn deeds(&self) -> impl Iterator<Item = &str> {
        self.decision.split(", ").filter(|part| {
            !(part.is_empty() || *part == "passed" || part.starts_with("due after ") || part.starts_with("left "))
        })
    }
}

/// Reads the file `path`, which a packet log was written to.
///
/// # Errors
/// It cannot be read, or is no such file; the error names the path.
pub fn read(path: &Path) -> io::Result<Captured> {
    let failed =
        |error: String| io::Error::new(io::ErrorKind::InvalidData, format!("cannot use {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    parse(file.take(BYTES_MAX)).map_err(failed)
}

fn parse(from: impl Read) -> Result<Captured, String> {
    let mut captured = Captured::default();
    let mut reader = PcapNgReader::new(from).map_err(|error| error.to_string())?;
    while let Some(block) = reader.next_block() {
        match block.map_err(|error| error.to_string())? {
            Block::InterfaceDescription(interface) => name(&mut captured, &interface),
            Block::EnhancedPacket(packet) => captured.packets.push(carried(&packet)),
            _ => {}
        }
        if captured.packets.len() > PACKETS_MAX {
            return Err(format!("it has more than {PACKETS_MAX} packets"));
        }
    }
    if captured.ends.iter().any(String::is_empty) {
        return Err("it does not say which hosts its link joins: no packet log of whitewater".to_owned());
    }
    Ok(captured)
}

fn name(captured: &mut Captured, interface: &InterfaceDescriptionBlock<'_>) {
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfName(name) => captured.name = name.to_string(),
            // "inbound: ns1 > ns2, outbound: ns2 > ns1"
            InterfaceDescriptionOption::IfDescription(text) => {
                let way = text.strip_prefix("inbound: ").and_then(|rest| rest.split(',').next());
                if let Some((left, right)) = way.and_then(|way| way.split_once(" > ")) {
                    captured.ends = [left.to_owned(), right.to_owned()];
                }
            }
            // "38 packets passed, 0 of them are not in this file"
            InterfaceDescriptionOption::Comment(text) => {
                let unseen = text.split(", ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                captured.unseen = unseen.unwrap_or(0);
            }
            _ => {}
        }
    }
}

fn carried(packet: &EnhancedPacketBlock<'_>) -> Carried {
    let mut direction = Direction::Forward;
    let mut decision = String::new();
    for option in &packet.options {
        match option {
            EnhancedPacketOption::Flags(way) if way & OUTBOUND != 0 => direction = Direction::Backward,
            EnhancedPacketOption::Comment(text) => decision = text.to_string(),
            _ => {}
        }
    }
    Carried { at: packet.timestamp, direction, frame: packet.data.to_vec(), decision }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lossy;
    use super::*;

    #[test]
    fn a_log_is_read_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ns2-ns3.pcapng");
        let log = lossy();
        log.write_pcapng(&path).unwrap();
        let captured = read(&path).unwrap();
        assert_eq!((captured.name.as_str(), captured.unseen), ("ns2-ns3", 0));
        assert_eq!(captured.ends, ["ns2", "ns3"]);
        assert_eq!(captured.packets.len() as u64, log.story.packets);
        for (packet, record) in captured.packets.iter().zip(log.records()) {
            assert_eq!((packet.direction, &packet.frame[..]), (record.direction, record.frame()));
            assert_eq!(packet.decision, super::super::text::decision(record));
        }
    }

    #[test]
    fn what_is_no_log_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.pcapng");
        std::fs::write(&path, "no pcapng at all, but long enough to be one").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with("cannot use ") && error.contains("no.pcapng"), "{error}");
    }
}
