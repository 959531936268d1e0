//! Where things lie in a frame, and how it is made whole again after a change.

use std::ops::Range;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpSlice};

use crate::link::packet::ETHERNET_HEADER;

/// The length of a TCP header without options, in bytes.
pub(super) const TCP_HEADER: usize = 20;

/// Where the parts of a TCP segment lie in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    v4: bool,
    /// Where the TCP header begins.
    pub tcp: usize,
    /// Where the payload begins.
    pub payload: usize,
    /// Where the segment ends.
    pub end: usize,
}

impl Layout {
    /// The layout of a whole TCP segment over IPv4 or IPv6; `None` for anything else.
    pub fn of(frame: &[u8]) -> Option<Layout> {
        let packet = frame.get(ETHERNET_HEADER..)?;
        let v4 = packet.first()? >> 4 == 4;
        let (header, length) = if v4 {
            let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
            (header.slice().len(), usize::from(header.total_len()))
        } else {
            let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
            (header.slice().len(), header.slice().len() + usize::from(header.payload_length()))
        };
        let segment = TcpSlice::from_slice(packet.get(header..length)?).ok()?;
        let tcp = ETHERNET_HEADER + header;
        Some(Layout { v4, tcp, payload: tcp + segment.header_slice().len(), end: ETHERNET_HEADER + length })
    }

    /// Where the options lie.
    pub fn options(self) -> Range<usize> {
        self.tcp + TCP_HEADER..self.payload
    }

    /// Where the source address lies, with the destination address behind it, and how long each is.
    pub fn addresses(self) -> (usize, usize) {
        if self.v4 { (ETHERNET_HEADER + 12, 4) } else { (ETHERNET_HEADER + 8, 16) }
    }

    /// Where the byte of the IP header lies whose two lowest bits tell of congestion, and how far they are shifted
    /// there (RFC 3168 section 5; in IPv6 they straddle the first two bytes).
    pub fn congestion(self) -> (usize, u32) {
        if self.v4 { (ETHERNET_HEADER + 1, 0) } else { (ETHERNET_HEADER + 1, 4) }
    }

    /// Says how long the frame is now, and puts all checksums right. The headers must hold together.
    pub fn seal(self, frame: &mut [u8]) {
        let header = self.tcp - ETHERNET_HEADER;
        let length = frame.len() - ETHERNET_HEADER;
        let ip = &mut frame[ETHERNET_HEADER..];
        if self.v4 {
            ip[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            if let Ok(slice) = Ipv4HeaderSlice::from_slice(ip) {
                let sum = slice.to_header().calc_header_checksum();
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
            }
        } else {
            ip[4..6].copy_from_slice(&((length - header) as u16).to_be_bytes());
        }
        if let Some(sum) = self.sum(frame) {
            frame[self.tcp + 16..self.tcp + 18].copy_from_slice(&sum.to_be_bytes());
        }
    }

    /// The checksum that the segment should have.
    fn sum(self, frame: &[u8]) -> Option<u16> {
        let packet = &frame[ETHERNET_HEADER..];
        let segment = TcpSlice::from_slice(&frame[self.tcp..]).ok()?;
        if self.v4 {
            let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
            segment.calc_checksum_ipv4(header.source(), header.destination()).ok()
        } else {
            let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
            segment.calc_checksum_ipv6(header.source(), header.destination()).ok()
        }
    }
}

/// Says how long the TCP header at `tcp` is, in bytes: a multiple of four.
pub(super) fn set_header_length(frame: &mut [u8], tcp: usize, length: usize) {
    frame[tcp + 12] = frame[tcp + 12] & 0x0f | ((length / 4) as u8) << 4;
}
