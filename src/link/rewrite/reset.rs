//! Makes RSTs, as a middlebox sends them in the name of either end of a connection.
//!
//! An end takes a RST for real only where its sequence number is the very next one (RFC 5961, section 3.2); where packets
//! are under way, a RST made from one of them may be answered by a challenge ACK instead.

use super::Layout;
use super::layout::{TCP_HEADER, set_header_length};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A RST to the receiver of the packet in `frame`, with the sequence number of the packet. `None` for what is no segment,
/// and for a RST.
pub(super) fn onward(frame: &[u8]) -> Option<Vec<u8>> {
    let (layout, mut rst) = bare(frame)?;
    rst[layout.tcp + 13] = frame[layout.tcp + 13] & ACK | RST;
    layout.seal(&mut rst);
    Some(rst)
}

/// A RST to the sender of the packet in `frame`, as its receiver would send one that has no such connection (RFC 9293,
/// section 3.10.7.1). `None` for what is no segment, and for a RST.
pub(super) fn back(frame: &[u8]) -> Option<Vec<u8>> {
    let (layout, mut rst) = bare(frame)?;
    let number = |at: usize| u32::from_be_bytes([rst[at], rst[at + 1], rst[at + 2], rst[at + 3]]);
    let (sequence, acknowledgement) = (number(layout.tcp + 4), number(layout.tcp + 8));
    let flags = frame[layout.tcp + 13];
    let length = (layout.end - layout.payload) as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let (sequence, acknowledgement, flags) =
        if flags & ACK != 0 { (acknowledgement, 0, RST) } else { (0, sequence.wrapping_add(length), RST | ACK) };
    rst[layout.tcp + 4..layout.tcp + 8].copy_from_slice(&sequence.to_be_bytes());
    rst[layout.tcp + 8..layout.tcp + 12].copy_from_slice(&acknowledgement.to_be_bytes());
    rst[layout.tcp + 13] = flags;
    turn(&mut rst, layout);
    layout.seal(&mut rst);
    Some(rst)
}

/// The headers of the segment in `frame`, without options and payload.
fn bare(frame: &[u8]) -> Option<(Layout, Vec<u8>)> {
    let layout = Layout::of(frame)?;
    if frame[layout.tcp + 13] & RST != 0 {
        return None;
    }
    let mut rst = frame[..layout.tcp + TCP_HEADER].to_vec();
    set_header_length(&mut rst, layout.tcp, TCP_HEADER);
    // Window and urgent pointer.
    rst[layout.tcp + 14..layout.tcp + 16].fill(0);
    rst[layout.tcp + 18..layout.tcp + 20].fill(0);
    Some((layout, rst))
}

/// Swaps source and destination: of the frame, of the packet and of the segment.
fn turn(frame: &mut [u8], layout: Layout) {
    let mut swap = |at: usize, length: usize| {
        let (one, other) = frame[at..at + 2 * length].split_at_mut(length);
        one.swap_with_slice(other);
    };
    let (addresses, length) = layout.addresses();
    swap(0, 6);
    swap(addresses, length);
    swap(layout.tcp, 2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Direction::{Backward, Forward};
    use crate::link::packet::{View, checksum_holds};
    use crate::link::sample;

    #[test]
    fn a_rst_onward_has_the_packet_s_place() {
        let frame = sample::data(1000, 2000, 300).options(&[30, 4, 0x20, 0]).frame(Forward);
        let rst = onward(&frame).unwrap();
        assert!(checksum_holds(&rst));
        let (rst, data) = (View::of(&rst).segment.unwrap(), View::of(&frame).segment.unwrap());
        assert_eq!((rst.source, rst.destination), (data.source, data.destination));
        assert_eq!((rst.sequence, rst.payload, rst.options.len()), (1000, 0, 0));
        assert!(rst.flags.rst() && !rst.flags.fin());
    }

    #[test]
    fn a_rst_back_is_what_the_receiver_would_say() {
        for v6 in [false, true] {
            let wide = |sample: sample::Sample| if v6 { sample.v6() } else { sample };
            let rst = back(&wide(sample::data(1000, 2000, 300)).frame(Forward)).unwrap();
            assert!(checksum_holds(&rst));
            let answer = wide(sample::data(2000, 0, 0)).frame(Backward);
            assert_eq!(rst[..12], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
            let (rst, answer) = (View::of(&rst).segment.unwrap(), View::of(&answer).segment.unwrap());
            assert_eq!((rst.source, rst.destination), (answer.source, answer.destination));
            assert_eq!((rst.sequence, rst.flags.rst(), rst.flags.ack()), (2000, true, false));

            let rst = back(&wide(sample::syn(1000)).frame(Forward)).unwrap();
            let rst = View::of(&rst).segment.unwrap();
            assert_eq!((rst.sequence, rst.acknowledgement), (0, 1001));
            assert!(rst.flags.rst() && rst.flags.ack() && !rst.flags.syn());
        }
    }

    #[test]
    fn a_rst_is_not_answered() {
        let frame = sample::data(1, 1, 0).rst().frame(Forward);
        assert_eq!((onward(&frame), back(&frame)), (None, None));
    }
}
