//! Takes options out of the TCP header.

use crate::case::{Removal, Strip};
use crate::link::options::{self, kind};

use super::Layout;
use super::layout::{TCP_HEADER, set_header_length};

/// Takes out every occurrence of the option.
pub(super) fn strip(frame: &mut Vec<u8>, what: Strip) {
    let Some(layout) = Layout::of(frame) else { return };
    let header = &frame[layout.options()];
    let meant: Vec<_> = options::each(header)
        .flatten()
        .filter(|found| found.is(what.option))
        .map(|found| found.at..found.at + found.bytes.len())
        .collect();
    if meant.is_empty() {
        return;
    }
    let start = layout.options().start;
    match what.by {
        Removal::Nops => {
            for range in meant {
                frame[start + range.start..start + range.end].fill(kind::NO_OPERATION);
            }
        }
        Removal::Nothing => {
            let mut left: Vec<u8> = (0..header.len())
                .filter(|at| !meant.iter().any(|range| range.contains(at)))
                .map(|at| header[at])
                .collect();
            left.resize(left.len().next_multiple_of(4), kind::END);
            set_header_length(frame, layout.tcp, TCP_HEADER + left.len());
            frame.splice(layout.options(), left);
        }
    }
    layout.seal(frame);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Direction, TcpOption};
    use crate::link::packet::{View, checksum_holds};
    use crate::link::sample;

    /// mss 1460, sack ok, timestamps, nop, wscale 7, MP_CAPABLE.
    const SYN: [u8; 24] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7, 30, 4, 0x01, 0x01];

    fn stripped(options: &[u8], what: Strip, v6: bool) -> (usize, String) {
        let mut sample = sample::data(5, 6, 9).options(options);
        if v6 {
            sample = sample.v6();
        }
        let mut frame = sample.frame(Direction::Forward);
        let before = frame.len();
        strip(&mut frame, what);
        assert!(checksum_holds(&frame));
        let segment = View::of(&frame).segment.expect("still a segment");
        assert_eq!((segment.payload, segment.sequence, segment.acknowledgement), (9, 5, 6));
        assert_eq!(frame[frame.len() - 9..], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        (before - frame.len(), options::describe(segment.options))
    }

    #[test]
    fn nops_take_the_place_of_an_option() {
        for v6 in [false, true] {
            let what = Strip { option: TcpOption::MpCapable, by: Removal::Nops };
            assert_eq!(stripped(&SYN, what, v6), (0, "mss 1460, sack ok, timestamps, wscale 7".into()));
        }
    }

    #[test]
    fn an_option_that_is_removed_makes_the_header_shorter() {
        for v6 in [false, true] {
            let what = Strip { option: TcpOption::Timestamps, by: Removal::Nothing };
            assert_eq!(stripped(&SYN, what, v6), (8, "mss 1460, sack ok, wscale 7, MP_CAPABLE".into()));
        }
    }

    #[test]
    fn an_option_that_is_not_there_changes_nothing() {
        for by in [Removal::Nops, Removal::Nothing] {
            let (shorter, options) = stripped(&SYN, Strip { option: TcpOption::Dss, by }, false);
            assert_eq!((shorter, options.as_str()), (0, "mss 1460, sack ok, timestamps, wscale 7, MP_CAPABLE"));
        }
    }

    #[test]
    fn subtypes_of_mptcp_are_matched_one_by_one_and_together() {
        let both = [30, 4, 0x20, 0, 30, 3, 0x50, 1];
        let one = Strip { option: TcpOption::MpPrio, by: Removal::Nops };
        assert_eq!(stripped(&both, one, false).1, "DSS()");
        let all = Strip { option: TcpOption::Mptcp, by: Removal::Nothing };
        assert_eq!(stripped(&both, all, false), (4, String::new()));
    }
}
