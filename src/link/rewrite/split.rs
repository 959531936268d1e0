//! Cuts a segment in two, as TSO does (Documentation/networking/segmentation-offloads.rst): both parts carry all options,
//! those of MPTCP too (RFC 8684, section 3.3.1: a mapping may come with several segments), FIN and PSH go with the last
//! part, and CWR with the first.

use super::Layout;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Cuts `frame` behind the byte `at` of its payload, modulo what leaves a byte for either part. `frame` becomes the
/// first part, the second one is returned; `None` if there is nothing to cut.
pub(super) fn split(frame: &mut Vec<u8>, at: u32) -> Option<Vec<u8>> {
    let layout = Layout::of(frame)?;
    let length = layout.end - layout.payload;
    if length < 2 {
        return None;
    }
    let first = 1 + at as usize % (length - 1);
    let mut second = frame[..layout.payload].to_vec();
    second.extend_from_slice(&frame[layout.payload + first..layout.end]);
    frame.truncate(layout.payload + first);

    let sequence = &mut second[layout.tcp + 4..layout.tcp + 8];
    let number = u32::from_be_bytes([sequence[0], sequence[1], sequence[2], sequence[3]]).wrapping_add(first as u32);
    sequence.copy_from_slice(&number.to_be_bytes());
    frame[layout.tcp + 13] &= !(FIN | PSH);
    second[layout.tcp + 13] &= !CWR;
    layout.seal(frame);
    layout.seal(&mut second);
    Some(second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::case::Direction;
    use crate::link::packet::{View, checksum_holds};
    use crate::link::sample;

    proptest! {
        #[test]
        fn both_parts_together_are_the_segment(at: u32, payload in 2u32..1400, fin: bool, v6: bool, sequence: u32) {
            let mut sample = sample::data(sequence, 9, payload).options(&[30, 4, 0x20, 0]);
            if fin { sample = sample.fin(); }
            if v6 { sample = sample.v6(); }
            let whole = sample.frame(Direction::Forward);
            let mut first = whole.clone();
            let second = split(&mut first, at).expect("there is enough to cut");
            prop_assert!(checksum_holds(&first) && checksum_holds(&second));
            let [one, two, all] = [&first, &second, &whole].map(|frame| View::of(frame).segment.unwrap());
            prop_assert!(one.payload > 0 && two.payload > 0);
            prop_assert_eq!(one.payload + two.payload, payload);
            prop_assert_eq!((one.sequence, two.sequence), (sequence, sequence.wrapping_add(one.payload)));
            prop_assert_eq!((one.flags.fin(), two.flags.fin()), (false, fin));
            prop_assert_eq!((one.options, two.options), (all.options, all.options));
            let bytes = [&first[first.len() - one.payload as usize..], &second[second.len() - two.payload as usize..]];
            prop_assert_eq!(bytes.concat(), &whole[whole.len() - payload as usize..]);
        }
    }

    #[test]
    fn a_single_byte_is_not_cut() {
        let mut frame = sample::data(1, 1, 1).frame(Direction::Forward);
        assert_eq!(split(&mut frame, 0), None);
    }
}
