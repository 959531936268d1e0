//! Marks a packet as having met congestion (RFC 3168, section 5).

use super::Layout;

/// The codepoint "congestion experienced".
const CE: u8 = 0b11;

/// Sets the mark, whatever the packet said before.
pub(super) fn mark(frame: &mut [u8]) {
    let Some(layout) = Layout::of(frame) else { return };
    let (at, shift) = layout.congestion();
    frame[at] |= CE << shift;
    layout.seal(frame);
}

#[cfg(test)]
mod tests {
    use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

    use super::*;
    use crate::case::Direction;
    use crate::link::packet::{ETHERNET_HEADER, checksum_holds};
    use crate::link::sample;

    #[test]
    fn the_mark_is_where_receivers_look() {
        let mut frame = sample::data(1, 1, 5).frame(Direction::Forward);
        mark(&mut frame);
        let header = Ipv4HeaderSlice::from_slice(&frame[ETHERNET_HEADER..]).unwrap();
        assert_eq!(header.ecn().value(), 3);
        assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
        assert!(checksum_holds(&frame));
        let mut frame = sample::data(1, 1, 5).v6().frame(Direction::Forward);
        mark(&mut frame);
        let header = Ipv6HeaderSlice::from_slice(&frame[ETHERNET_HEADER..]).unwrap();
        assert_eq!((header.traffic_class() & 3, header.flow_label().value()), (3, 0));
        assert!(checksum_holds(&frame));
    }
}
