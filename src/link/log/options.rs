//! TCP options in words, those of Multipath TCP among them: no packet-parsing crate knows kind 30.

use std::fmt::{self, Write};

/// The kinds named here (IANA TCP parameters).
mod kind {
    pub const END: u8 = 0;
    pub const NO_OPERATION: u8 = 1;
    pub const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub const WINDOW_SCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 4;
    pub const SACK: u8 = 5;
    pub const TIMESTAMPS: u8 = 8;
    pub const MPTCP: u8 = 30;
}

/// The subtypes of the MPTCP option, by number (RFC 8684, section 8).
const SUBTYPES: [&str; 9] =
    ["MP_CAPABLE", "MP_JOIN", "DSS", "ADD_ADDR", "REMOVE_ADDR", "MP_PRIO", "MP_FAIL", "MP_FASTCLOSE", "MP_TCPRST"];

/// The flags of a DSS option (RFC 8684, section 3.3): which parts it has.
const DSS_PARTS: [(u8, &str); 3] = [(0x10, "DATA_FIN"), (0x04, "map"), (0x01, "ack")];

/// Names the options in `bytes`, separated by commas; what does not hold together ends the list with `damaged`.
pub(super) fn describe(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some(&first) = bytes.first() {
        let length = match first {
            kind::END => break,
            kind::NO_OPERATION => 1,
            _ => bytes.get(1).map_or(0, |&length| usize::from(length)),
        };
        let Some((option, rest)) = bytes.split_at_checked(length).filter(|_| length > 1 || first == kind::NO_OPERATION)
        else {
            text.push_str(if text.is_empty() { "damaged" } else { ", damaged" });
            break;
        };
        bytes = rest;
        if first != kind::NO_OPERATION {
            if !text.is_empty() {
                text.push_str(", ");
            }
            one(first, &option[2..], &mut text).expect("a string takes all text");
        }
    }
    text
}

/// Names one option.
fn one(kind: u8, value: &[u8], text: &mut String) -> fmt::Result {
    match (kind, value) {
        (kind::MAXIMUM_SEGMENT_SIZE, &[high, low]) => write!(text, "mss {}", u16::from_be_bytes([high, low])),
        (kind::WINDOW_SCALE, [shift]) => write!(text, "wscale {shift}"),
        (kind::SACK_PERMITTED, _) => text.write_str("sack ok"),
        (kind::SACK, blocks) => write!(text, "sack of {}", blocks.len() / 8),
        (kind::TIMESTAMPS, _) => text.write_str("timestamps"),
        (kind::MPTCP, value) => mptcp(value, text),
        (kind, _) => write!(text, "option {kind}"),
    }
}

/// Names an MPTCP option by its subtype, a DSS by its parts as well.
fn mptcp(value: &[u8], text: &mut String) -> fmt::Result {
    let Some(&first) = value.first() else { return text.write_str("MPTCP without subtype") };
    match SUBTYPES.get(usize::from(first >> 4)) {
        Some(name) => text.write_str(name)?,
        None => write!(text, "MPTCP subtype {}", first >> 4)?,
    }
    match (first >> 4, first & 1, value.get(1)) {
        (2, _, Some(flags)) => {
            let parts: Vec<&str> =
                DSS_PARTS.iter().filter(|(bit, _)| flags & bit != 0).map(|&(_, part)| part).collect();
            write!(text, "({})", parts.join(" "))
        }
        (3, 1, _) => text.write_str("(echo)"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_syn_are_named() {
        let mut options = vec![2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7];
        options.extend([30, 4, 0x01, 0x01]);
        assert_eq!(describe(&options), "mss 1460, sack ok, timestamps, wscale 7, MP_CAPABLE");
    }

    #[test]
    fn a_dss_is_named_with_its_parts() {
        assert_eq!(describe(&[30, 8, 0x20, 0x11, 0, 0, 0, 1]), "DSS(DATA_FIN ack)");
        assert_eq!(describe(&[30, 4, 0x31, 1, 1, 1, 0, 7]), "ADD_ADDR(echo)");
    }

    #[test]
    fn options_that_do_not_hold_together_end_the_list() {
        for bytes in [&[3][..], &[3, 0], &[3, 1, 9], &[3, 9, 1]] {
            assert_eq!(describe(bytes), "damaged", "{bytes:?}");
        }
        assert_eq!(describe(&[4, 2, 30, 2, 99]), "sack ok, MPTCP without subtype, damaged");
        assert_eq!(describe(&[30, 3, 0xf0]), "MPTCP subtype 15");
    }
}
