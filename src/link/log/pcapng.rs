//! The packet log as pcapng (draft-ietf-opsawg-pcapng): a single interface named after the link, whose inbound packets go
//! forward and whose outbound ones go backward.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::{DataLink, PcapError};

use crate::case::Direction;

use super::{LinkLog, Record, SNAP, text};

/// The resolution of timestamps: 10 to the power of minus 9 seconds.
const NANOSECONDS: u8 = 9;

/// The lowest bits of `epb_flags`: inbound and outbound.
const INBOUND: u32 = 1;
pub(super) const OUTBOUND: u32 = 2;

pub(super) fn write(log: &LinkLog, to: &mut impl Write) -> io::Result<()> {
    blocks(log, to).map_err(|error| match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

fn blocks(log: &LinkLog, to: &mut impl Write) -> Result<(), PcapError> {
    let began = log.began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut writer = PcapNgWriter::new(to)?;
    writer.write_pcapng_block(interface(log))?;
    for record in log.records() {
        writer.write_pcapng_block(packet(record, began))?;
    }
    Ok(())
}

fn interface(log: &LinkLog) -> InterfaceDescriptionBlock<'static> {
    let (left, right) = (log.id.left(), log.id.right());
    let description = format!("inbound: {left} > {right}, outbound: {right} > {left}");
    let unseen = log.log.left_out() + log.missed;
    let comment = format!("{} packets passed, {unseen} of them are not in this file", log.story.packets + log.missed);
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: SNAP as u32,
        options: vec![
            InterfaceDescriptionOption::Comment(comment.into()),
            InterfaceDescriptionOption::IfName(log.id.to_string().into()),
            InterfaceDescriptionOption::IfDescription(description.into()),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    }
}

fn packet(record: &Record, began: Duration) -> EnhancedPacketBlock<'_> {
    let way = match record.direction {
        Direction::Forward => INBOUND,
        Direction::Backward => OUTBOUND,
    };
    EnhancedPacketBlock {
        interface_id: 0,
        timestamp: began + Duration::from_nanos(record.at),
        original_len: record.length,
        data: Cow::Borrowed(record.frame()),
        options: vec![EnhancedPacketOption::Comment(text::decision(record).into()), EnhancedPacketOption::Flags(way)],
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::super::tests::lossy;
    use super::*;

    #[test]
    fn the_file_is_read_back_with_times_lengths_directions_and_comments() {
        let log = lossy();
        let mut bytes = Vec::new();
        write(&log, &mut bytes).unwrap();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(interface) => {
                    let name = InterfaceDescriptionOption::IfName("ns2-ns3".into());
                    assert!(interface.options.contains(&name), "{:?}", interface.options);
                }
                Block::EnhancedPacket(packet) => packets.push(packet.into_owned()),
                other => panic!("an unexpected block: {other:?}"),
            }
        }
        assert_eq!(packets.len() as u64, log.story.packets);
        let began = log.began.duration_since(UNIX_EPOCH).unwrap();
        for (packet, record) in packets.iter().zip(log.records()) {
            assert_eq!(packet.timestamp, began + Duration::from_nanos(record.at));
            assert_eq!(packet.original_len, record.length);
            assert_eq!(packet.data, record.frame());
        }
        let comment = |text: &'static str| EnhancedPacketOption::Comment(text.into());
        assert_eq!(packets[0].options, [comment("passed"), EnhancedPacketOption::Flags(INBOUND)]);
        assert_eq!(packets[1].options[1], EnhancedPacketOption::Flags(OUTBOUND));
        assert_eq!(packets[3].options[0], comment("dropped: fault"));
    }
}
