//! The options of a segment, as far as conduct depends on them.

use crate::link::options::{each, kind};

/// What the options of a segment say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// The maximum segment size of a SYN.
    pub mss: Option<u16>,
    /// The window scale of a SYN.
    pub scale: Option<u8>,
    /// Selective acknowledgements: left and right edges.
    pub sack: Vec<[u32; 2]>,
    /// MPTCP's options.
    pub mptcp: Option<Mptcp>,
    /// Whether there are MPTCP options that end or change the whole connection: MP_FAIL, MP_FASTCLOSE.
    pub breaks: bool,
    /// What an MP_PRIO says: whether the subflow is a backup.
    pub prio: Option<bool>,
    /// The identifiers of the addresses that a REMOVE_ADDR removes.
    pub removed: Vec<u8>,
    /// The identifier of the address that an ADD_ADDR announces, and whether it only echoes the peer's.
    pub announced: Option<(u8, bool)>,
}

/// The option that says what a segment means to MPTCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mptcp {
    /// MP_CAPABLE: version, the sender's key, the receiver's key, and how many bytes of data it maps.
    Capable { version: u8, keys: Vec<u64>, maps: Option<u16> },
    /// MP_JOIN: the token in a SYN; the backup flag and the identifier of the sender's address where there are (SYN, SYN/ACK).
    Join { token: Option<u32>, backup: bool, id: Option<u8> },
    /// DSS.
    Dss(Dss),
}

/// A DSS option (RFC 8684, section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dss {
    /// The DATA_ACK.
    pub ack: Option<Number>,
    /// The mapping.
    pub map: Option<Map>,
    /// Whether the data ends.
    pub fin: bool,
}

/// A data sequence number, of 32 or 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    value: u64,
    wide: bool,
}

/// A mapping of the subflow's bytes to those of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// The first data sequence number.
    pub data: Number,
    /// The first byte of the subflow, counted from 1; 0 for none.
    pub subflow: u32,
    /// How many bytes, with a DATA_FIN as one more.
    pub length: u16,
}

impl Number {
    #[cfg(test)]
    pub fn wide(value: u64) -> Number {
        Number { value, wide: true }
    }

    /// How far it lies behind `base`, being near to the offset `around`. `None` before it.
    pub fn offset(self, base: u64, around: u64) -> Option<u64> {
        let relative = self.value.wrapping_sub(base);
        let offset = match self.wide {
            true => relative as i64,
            false => around as i64 + i64::from((relative as u32).wrapping_sub(around as u32) as i32),
        };
        u64::try_from(offset).ok()
    }
}

impl Options {
    /// Reads `bytes`, up to the first option that is malformed.
    pub fn of(bytes: &[u8]) -> Options {
        let mut options = Options::default();
        for found in each(bytes).map_while(Result::ok) {
            let value = &found.bytes[2..];
            match (found.kind, value) {
                (kind::MAXIMUM_SEGMENT_SIZE, &[high, low]) => options.mss = Some(u16::from_be_bytes([high, low])),
                (kind::WINDOW_SCALE, &[shift]) => options.scale = Some(shift.min(14)),
                (kind::SACK, blocks) => {
                    let blocks = blocks.as_chunks::<8>().0.iter();
                    let [left, right] = [0, 4];
                    let edge = |block: &[u8; 8], at: usize| read(&block[at..at + 4]) as u32;
                    options.sack = blocks.map(|block| [edge(block, left), edge(block, right)]).collect();
                }
                (kind::MPTCP, value) => options.mptcp(value),
                _ => {}
            }
        }
        options
    }

    fn mptcp(&mut self, value: &[u8]) {
        let Some(&first) = value.first() else { return };
        match first >> 4 {
            0 => {
                let keys = value.get(2..).unwrap_or_default().as_chunks::<8>().0;
                let keys = keys.iter().map(|key| u64::from_be_bytes(*key)).take(2).collect();
                let maps = value.get(18..20).map(|length| read(length) as u16);
                self.mptcp = Some(Mptcp::Capable { version: first & 0xf, keys, maps });
            }
            1 => {
                let token = (value.len() == 10).then(|| read(&value[2..6]) as u32);
                let begins = value.len() < 22;
                let id = value.get(1).copied().filter(|_| begins);
                self.mptcp = Some(Mptcp::Join { token, backup: begins && first & 1 == 1, id });
            }
            2 => self.mptcp = Dss::of(&value[1..]).map(Mptcp::Dss),
            3 => self.announced = value.get(1).map(|id| (*id, first & 1 == 1)),
            4 => self.removed = value[1..].to_vec(),
            5 => self.prio = Some(first & 1 == 1),
            6 | 7 => self.breaks = true,
            _ => {}
        }
    }
}

impl Dss {
    /// Reads what follows the subtype.
    fn of(value: &[u8]) -> Option<Dss> {
        let (&flags, mut rest) = value.split_first()?;
        let mut number = |bit: u8, wide: u8| -> Option<Option<Number>> {
            if flags & bit == 0 {
                return Some(None);
            }
            let wide = flags & wide != 0;
            let (value, behind) = rest.split_at_checked(if wide { 8 } else { 4 })?;
            rest = behind;
            Some(Some(Number { value: read(value), wide }))
        };
        let (ack, data) = (number(0x01, 0x02)?, number(0x04, 0x08)?);
        let map = match data {
            None => None,
            Some(data) => {
                let (subflow, length) = (rest.get(..4)?, rest.get(4..6)?);
                Some(Map { data, subflow: read(subflow) as u32, length: read(length) as u16 })
            }
        };
        Some(Dss { ack, map, fin: flags & 0x10 != 0 })
    }
}

/// A number in network order.
fn read(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_dss_are_read() {
        let option = [30, 24, 0x20, 0x1f, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7, 0, 5];
        let mut whole = option.to_vec();
        whole[1] = whole.len() as u8;
        let map = Map { data: Number::wide(1 << 32 | 2), subflow: 7, length: 5 };
        let dss = Dss { ack: Some(Number::wide(9)), map: Some(map), fin: true };
        assert_eq!(Options::of(&whole).mptcp, Some(Mptcp::Dss(dss)));
    }

    #[test]
    fn keys_tokens_and_edges_are_read() {
        let mut options = vec![2, 4, 5, 0xb4, 3, 3, 7, 30, 12, 1, 0x81, 0, 0, 0, 0, 0, 0, 0, 3];
        let read = Options::of(&options);
        assert_eq!((read.mss, read.scale), (Some(1460), Some(7)));
        assert_eq!(read.mptcp, Some(Mptcp::Capable { version: 1, keys: vec![3], maps: None }));
        options = vec![5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 30, 12, 0x11, 2, 0, 0, 0, 5, 1, 1, 1, 1];
        let read = Options::of(&options);
        assert_eq!(read.sack, [[1, 9]]);
        assert_eq!(read.mptcp, Some(Mptcp::Join { token: Some(5), backup: true, id: Some(2) }));
        options = vec![30, 3, 0x51, 30, 5, 0x40, 3, 4, 30, 3, 0x50];
        assert_eq!((Options::of(&options[..3]).prio, Options::of(&options[8..]).prio), (Some(true), Some(false)));
        assert_eq!(Options::of(&options[3..8]).removed, [3, 4]);
        let announces = |echo: u8| Options::of(&[30, 8, 0x30 | echo, 7, 10, 0, 2, 2]).announced;
        assert_eq!([0, 1].map(announces), [Some((7, false)), Some((7, true))]);
    }

    #[test]
    fn short_numbers_are_near_to_what_is_known() {
        let short = Number { value: 5, wide: false };
        assert_eq!(short.offset(0xffff_fff0, 3), Some(21));
        assert_eq!(short.offset(0, 1 << 32), Some((1 << 32) + 5));
        assert_eq!(Number::wide(5).offset(9, 0), None);
    }
}
