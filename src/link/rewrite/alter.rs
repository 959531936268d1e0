//! Changes a byte of the payload under a right checksum, as a middlebox that meddles with content does.
//!
//! A byte is raised by one, never lowered. The checksum of a DSS mapping adds up 16-bit words, so raised bytes can only
//! cancel out where there are hundreds of them in one mapping: a changed mapping never passes for a right one.

use super::Layout;

/// Raises the byte `at` of the payload, modulo its length, or the next one that is not 255.
pub(super) fn alter(frame: &mut [u8], at: u32) {
    let Some(layout) = Layout::of(frame) else { return };
    let payload = &mut frame[layout.payload..layout.end];
    if payload.is_empty() {
        return;
    }
    let (before, from) = payload.split_at_mut(at as usize % payload.len());
    if let Some(byte) = from.iter_mut().chain(before).find(|byte| **byte < u8::MAX) {
        *byte += 1;
        layout.seal(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Direction;
    use crate::link::packet::checksum_holds;
    use crate::link::sample;

    #[test]
    fn one_byte_is_raised_and_the_checksum_holds() {
        for v6 in [false, true] {
            let mut sample = sample::data(1, 1, 300);
            if v6 {
                sample = sample.v6();
            }
            // The payload counts from 0 to 255 and on.
            for (at, changed) in [(7, 7), (255, 256), (307, 7)] {
                let before = sample.frame(Direction::Forward);
                let mut frame = before.clone();
                alter(&mut frame, at);
                assert!(checksum_holds(&frame));
                let payload = before.len() - 300;
                assert_eq!(frame[payload + changed], before[payload + changed] + 1);
                let differ = (payload..before.len()).filter(|&at| frame[at] != before[at]).count();
                assert_eq!(differ, 1);
            }
        }
    }

    #[test]
    fn nothing_to_change_is_left_alone() {
        let before = sample::data(1, 1, 0).frame(Direction::Forward);
        let mut frame = before.clone();
        alter(&mut frame, 3);
        assert_eq!(frame, before);
    }
}
