//! Lowers the maximum segment size that a SYN offers.

use crate::case::TcpOption;
use crate::link::options;

use super::Layout;

/// Lowers it to `mss`, where it is higher.
pub(super) fn clamp(frame: &mut [u8], mss: u16) {
    let Some(layout) = Layout::of(frame) else { return };
    let offered = options::each(&frame[layout.options()])
        .flatten()
        .find(|found| found.is(TcpOption::Mss) && found.bytes.len() == 4)
        .map(|found| (found.at, u16::from_be_bytes([found.bytes[2], found.bytes[3]])));
    let Some((at, _)) = offered.filter(|(_, offered)| *offered > mss) else { return };
    let at = layout.options().start + at + 2;
    frame[at..at + 2].copy_from_slice(&mss.to_be_bytes());
    layout.seal(frame);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Direction;
    use crate::link::packet::{View, checksum_holds};
    use crate::link::sample;

    #[test]
    fn a_larger_offer_is_lowered_and_a_smaller_one_stays() {
        for (mss, left) in [(536, "mss 536"), (1460, "mss 1460"), (9000, "mss 1460")] {
            let mut frame = sample::syn(1).options(&[2, 4, 5, 0xb4]).frame(Direction::Forward);
            clamp(&mut frame, mss);
            assert!(checksum_holds(&frame));
            assert_eq!(options::describe(View::of(&frame).segment.unwrap().options), left);
        }
    }
}
