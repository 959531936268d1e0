//! TCP options one by one and in words, those of Multipath TCP among them: no packet-parsing crate knows kind 30.

use std::fmt::{self, Write};

use crate::case::TcpOption;

/// The kinds named here (IANA TCP parameters).
pub(super) mod kind {
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

/// The flag of a DSS option that says that the data ends.
const DATA_FIN: u8 = 0x10;

/// The flags of a DSS option (RFC 8684, section 3.3): which parts it has.
const DSS_PARTS: [(u8, &str); 3] = [(DATA_FIN, "DATA_FIN"), (0x04, "map"), (0x01, "ack")];

/// One option of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its kind.
    pub kind: u8,
    /// Where it begins, from the first byte behind the fixed part of the header.
    pub at: usize,
    /// All of it, kind and length included.
    pub bytes: &'a [u8],
}

/// The options in `bytes` one by one, without NOPs. What does not hold together is an error, and the last.
pub fn each(bytes: &[u8]) -> impl Iterator<Item = Result<Found<'_>, Damaged>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &bytes[at..];
            let kind = *rest.first()?;
            if kind == kind::END {
                return None;
            }
            if kind == kind::NO_OPERATION {
                at += 1;
                continue;
            }
            let length = rest.get(1).map_or(0, |&length| usize::from(length));
            if length < 2 || length > rest.len() {
                at = bytes.len();
                return Some(Err(Damaged));
            }
            let found = Found { kind, at, bytes: &rest[..length] };
            at += length;
            return Some(Ok(found));
        }
    })
}

/// Options that do not hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Found<'_> {
    /// Whether it is one of those that `option` means.
    pub fn is(&self, option: TcpOption) -> bool {
        let subtype = (self.kind == kind::MPTCP).then(|| self.bytes.get(2).map(|byte| byte >> 4)).flatten();
        let echo = self.bytes.get(2).is_some_and(|byte| byte & 1 == 1);
        match option {
            TcpOption::Mss => self.kind == kind::MAXIMUM_SEGMENT_SIZE,
            TcpOption::WindowScale => self.kind == kind::WINDOW_SCALE,
            TcpOption::SackPermitted => self.kind == kind::SACK_PERMITTED,
            TcpOption::Sack => self.kind == kind::SACK,
            TcpOption::Timestamps => self.kind == kind::TIMESTAMPS,
            TcpOption::Mptcp => self.kind == kind::MPTCP,
            TcpOption::MpCapable => subtype == Some(0),
            TcpOption::MpJoin => subtype == Some(1),
            TcpOption::Dss => subtype == Some(2),
            TcpOption::AddAddr => subtype == Some(3) && !echo,
            TcpOption::AddAddrEcho => subtype == Some(3) && echo,
            TcpOption::RemoveAddr => subtype == Some(4),
            TcpOption::MpPrio => subtype == Some(5),
            TcpOption::MpFail => subtype == Some(6),
            TcpOption::MpFastclose => subtype == Some(7),
            TcpOption::MpTcprst => subtype == Some(8),
        }
    }

    /// Whether it is a DSS that ends the data.
    pub fn ends_data(&self) -> bool {
        self.is(TcpOption::Dss) && self.bytes.get(3).is_some_and(|flags| flags & DATA_FIN != 0)
    }
}

/// Whether `option` is among the options in `bytes`.
pub fn carries(bytes: &[u8], option: TcpOption) -> bool {
    each(bytes).flatten().any(|found| found.is(option))
}

/// Names the options in `bytes`, separated by commas; what does not hold together ends the list with `damaged`.
pub fn describe(bytes: &[u8]) -> String {
    let mut text = String::new();
    for found in each(bytes) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        match found {
            Ok(found) => one(found.kind, &found.bytes[2..], &mut text).expect("a string takes all text"),
            Err(Damaged) => text.push_str("damaged"),
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
