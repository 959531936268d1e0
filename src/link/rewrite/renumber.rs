//! Moves sequence numbers, and what acknowledges them, as a middlebox does that chooses initial numbers itself (RFC 6528
//! section 3 tells why some do). MPTCP survives that: its mappings count from the initial number (RFC 8684, section 3.3).

use crate::case::TcpOption;
use crate::link::options;
use crate::link::packet::checksum_holds;

use super::Layout;
use super::layout::TCP_HEADER;

const ACK: u8 = 0x10;

/// Where a TCP header has its numbers and its control bits.
const SEQUENCE: usize = 4;
const ACKNOWLEDGEMENT: usize = 8;
const FLAGS: usize = 13;

/// Adds `by` to the sequence number.
pub fn sequence(frame: &mut [u8], by: u32) {
    let Some(layout) = whole(frame, by) else { return };
    add(frame, layout.tcp + SEQUENCE, by);
    layout.seal(frame);
}

/// Takes `by` from everything that the segment acknowledges: the number in its header, and the edges of SACK blocks.
pub fn acknowledgement(frame: &mut [u8], by: u32) {
    let Some(layout) = whole(frame, by) else { return };
    let by = by.wrapping_neg();
    if frame[layout.tcp + FLAGS] & ACK != 0 {
        add(frame, layout.tcp + ACKNOWLEDGEMENT, by);
    }
    let edges: Vec<usize> = options::each(&frame[layout.options()])
        .flatten()
        .filter(|found| found.is(TcpOption::Sack))
        .flat_map(|found| (found.at + 2..found.at + found.bytes.len()).step_by(4))
        .collect();
    for edge in edges.into_iter().map(|at| layout.tcp + TCP_HEADER + at).filter(|at| at + 4 <= layout.payload) {
        add(frame, edge, by);
    }
    layout.seal(frame);
}

/// The layout of a segment that is to be changed: one that came damaged must stay so.
fn whole(frame: &[u8], by: u32) -> Option<Layout> {
    if by == 0 || !checksum_holds(frame) { None } else { Layout::of(frame) }
}

fn add(frame: &mut [u8], at: usize, by: u32) {
    let number = u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    frame[at..at + 4].copy_from_slice(&number.wrapping_add(by).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::case::Direction;
    use crate::link::packet::View;
    use crate::link::sample;

    /// Two SACK blocks behind two NOPs.
    fn blocks(edges: [u32; 4]) -> Vec<u8> {
        [&[1, 1, 5, 18][..], &edges.map(u32::to_be_bytes).concat()].concat()
    }

    proptest! {
        #[test]
        fn what_is_added_on_one_side_is_taken_on_the_other(by: u32, number: u32, edges: [u32; 4], v6: bool) {
            let moved = |number: u32| number.wrapping_add(by);
            let frame = |sequence, acknowledged: u32, edges| {
                let sample = sample::data(sequence, acknowledged, 5).options(&blocks(edges));
                if v6 { sample.v6() } else { sample }.frame(Direction::Forward)
            };
            let mut onward = frame(number, 7, edges);
            sequence(&mut onward, by);
            prop_assert_eq!(&onward, &frame(moved(number), 7, edges));
            let mut back = frame(9, moved(number), edges.map(moved));
            acknowledgement(&mut back, by);
            prop_assert!(checksum_holds(&back));
            prop_assert_eq!(back, frame(9, number, edges));
        }
    }

    #[test]
    fn a_syn_acknowledges_nothing_and_damage_stays() {
        let mut syn = sample::syn(1).frame(Direction::Forward);
        let before = syn.clone();
        acknowledgement(&mut syn, 5);
        assert_eq!(syn, before);
        syn[sample::TCP + 16] ^= 1;
        let damaged = syn.clone();
        sequence(&mut syn, 5);
        assert_eq!(syn, damaged);
        assert_eq!(View::of(&syn).segment.unwrap().sequence, 1);
    }
}
