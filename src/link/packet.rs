//! What an Ethernet frame holds: a view that reads and never judges.
//!
//! A [`View`] borrows from the frame. It is lenient about what lies behind the headers, because captured frames are cut
//! off: lengths come from the IP header, not from the bytes at hand. What is not TCP over IPv4 or IPv6 (ICMP, a
//! fragment, a header that does not hold together) is a view without a segment, never an error.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use etherparse::{EtherType, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice, TcpSlice};

/// The length of an Ethernet header, in bytes. Links carry no VLAN tags.
pub const ETHERNET_HEADER: usize = 14;

/// Where the bits of an IPv4 packet begin that may be flipped: behind the word with its version and the length of its
/// header, which says what the header's checksum covers.
const V4_CHECKED: u32 = 16;

/// What one frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The TCP segment, if there is one.
    pub segment: Option<Segment<'a>>,
    /// The bits that may be flipped because a checksum certainly catches it, counted from the first bit behind the
    /// Ethernet header. Empty if there are none.
    ///
    /// Over IPv4 that is all but the first word: its header has a checksum of its own. The header of IPv6 has none, and a
    /// router sends the packet elsewhere, or answers it, when it changes; so only what follows the header counts there.
    pub flippable: Range<u32>,
}

/// A TCP segment (RFC 9293, section 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Address and port of the sender.
    pub source: SocketAddr,
    /// Address and port of the receiver.
    pub destination: SocketAddr,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgement: u32,
    /// The control bits.
    pub flags: Flags,
    /// The window, not scaled.
    pub window: u16,
    /// How many bytes of payload it carries.
    pub payload: u32,
    /// Its options, as far as the frame is there.
    pub options: &'a [u8],
}

/// The control bits of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No more data from the sender.
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// Synchronise sequence numbers.
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// Reset the connection.
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// The acknowledgement number counts.
    pub fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// As tcpdump writes them: `S`, `P.`, `F.`, ...
impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LETTERS: [(u8, &str); 8] =
            [(0x01, "F"), (0x02, "S"), (0x04, "R"), (0x08, "P"), (0x10, "."), (0x20, "U"), (0x40, "E"), (0x80, "W")];
        for (bit, letter) in LETTERS {
            if self.0 & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl<'a> View<'a> {
    /// Reads `frame`.
    pub fn of(frame: &'a [u8]) -> View<'a> {
        let nothing = View { segment: None, flippable: 0..0 };
        let Some((ethernet, packet)) = frame.split_at_checked(ETHERNET_HEADER) else { return nothing };
        match EtherType(u16::from_be_bytes([ethernet[12], ethernet[13]])) {
            EtherType::IPV4 => View::of_ipv4(packet).unwrap_or(nothing),
            EtherType::IPV6 => View::of_ipv6(packet).unwrap_or(nothing),
            _ => nothing,
        }
    }

    fn of_ipv4(packet: &'a [u8]) -> Option<View<'a>> {
        let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let (start, end) = (header.slice().len(), usize::from(header.total_len()));
        let segment = (header.protocol() == IpNumber::TCP && !header.is_fragmenting_payload())
            .then(|| {
                let addresses = (header.source_addr().into(), header.destination_addr().into());
                Segment::of(addresses, &packet[start..], end.checked_sub(start)?)
            })
            .flatten();
        Some(View { segment, flippable: V4_CHECKED..end as u32 * 8 })
    }

    fn of_ipv6(packet: &'a [u8]) -> Option<View<'a>> {
        let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
        let (start, length) = (header.slice().len(), usize::from(header.payload_length()));
        let segment = (header.next_header() == IpNumber::TCP)
            .then(|| {
                let addresses = (header.source_addr().into(), header.destination_addr().into());
                Segment::of(addresses, &packet[start..], length)
            })
            .flatten();
        let checked = [IpNumber::TCP, IpNumber::UDP, IpNumber::IPV6_ICMP].contains(&header.next_header());
        let flippable = if checked { start as u32 * 8..(start + length) as u32 * 8 } else { 0..0 };
        Some(View { segment, flippable })
    }
}

impl<'a> Segment<'a> {
    /// Reads the segment of `length` bytes that `bytes` begins with; `bytes` may be cut off behind the header.
    fn of((source, destination): (IpAddr, IpAddr), bytes: &'a [u8], length: usize) -> Option<Segment<'a>> {
        let header = TcpHeaderSlice::from_slice(bytes).ok()?;
        let size = header.slice().len();
        Some(Segment {
            source: SocketAddr::new(source, header.source_port()),
            destination: SocketAddr::new(destination, header.destination_port()),
            sequence: header.sequence_number(),
            acknowledgement: header.acknowledgment_number(),
            flags: Flags(bytes[13]),
            window: header.window_size(),
            payload: length.checked_sub(size)? as u32,
            options: &bytes[20..size],
        })
    }
}

/// Whether the checksum of the TCP segment in `frame` is right. False for anything that is not a whole TCP segment.
pub fn checksum_holds(frame: &[u8]) -> bool {
    let holds = |packet: &[u8]| -> Option<bool> {
        match packet.first()? >> 4 {
            4 => {
                let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
                let tcp = packet.get(header.slice().len()..usize::from(header.total_len()))?;
                let tcp = TcpSlice::from_slice(tcp).ok()?;
                Some(is_same(tcp.calc_checksum_ipv4(header.source(), header.destination()).ok()?, tcp.checksum()))
            }
            _ => {
                let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
                let start = header.slice().len();
                let tcp = packet.get(start..start + usize::from(header.payload_length()))?;
                let tcp = TcpSlice::from_slice(tcp).ok()?;
                Some(is_same(tcp.calc_checksum_ipv6(header.source(), header.destination()).ok()?, tcp.checksum()))
            }
        }
    };
    frame.get(ETHERNET_HEADER..).and_then(holds).unwrap_or(false)
}

/// Whether two checksums are the same number: zero is written in two ways, and Linux takes the one of all ones
/// (skb_checksum_help(), CSUM_MANGLED_0).
fn is_same(computed: u16, written: u16) -> bool {
    computed == written || [computed, written].iter().all(|sum| matches!(sum, 0 | 0xffff))
}

#[cfg(test)]
mod tests {
    use super::checksum_holds;
    use crate::case::Direction;
    use crate::link::sample;

    #[test]
    fn a_checksum_of_zero_is_written_in_two_ways() {
        const FIELD: usize = 50;
        let mut frame = sample::data(0, 0, 2).frame(Direction::Forward);
        let at = frame.len() - 2;
        let word = |frame: &[u8], at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        // What the checksum makes up for, the payload does instead.
        let sum = word(&frame, at) + word(&frame, FIELD);
        let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
        frame[at..].copy_from_slice(&sum.to_be_bytes());
        let mut holds = |written: u16| {
            frame[FIELD..FIELD + 2].copy_from_slice(&written.to_be_bytes());
            checksum_holds(&frame)
        };
        assert_eq!([0, 0xffff, 1, 0xfffe].map(&mut holds), [true, true, false, false]);
    }
}
