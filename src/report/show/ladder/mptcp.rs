//! The options of a segment as a ladder shows them: numbers relative, MPTCP's in full (RFC 8684 section 3).

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// Kinds of TCP options (IANA TCP parameters).
mod kind {
    pub const END: u8 = 0;
    pub const NO_OPERATION: u8 = 1;
    pub const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub const WINDOW_SCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 4;
    pub const SACK: u8 = 5;
    pub const TIMESTAMPS: u8 = 8;
    pub const MPTCP: u8 = 30;
    pub const FAST_OPEN: u8 = 34;
}

/// One option, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opt {
    /// One that is told by its words.
    Words(String),
    /// One that says nothing by itself, in every segment.
    Timestamps,
    /// Blocks received out of order, as sequence numbers.
    Sack(Vec<[u32; 2]>),
    /// MP_CAPABLE, with the keys that it shows: the sender's and the receiver's.
    Capable { version: u8, keys: [Option<u64>; 2] },
    /// MP_JOIN in a SYN: the token of the receiver's key.
    JoinSyn { token: u32, id: u8, backup: bool },
    /// MP_JOIN in a SYN/ACK or an ACK.
    Join { id: Option<u8>, backup: bool },
    /// DSS.
    Dss(Dss),
    /// MP_FAIL, with its data sequence number.
    Fail(u64),
}

/// A DSS option (RFC 8684 section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dss {
    /// The data acknowledgement, and whether it has 64 bits.
    pub ack: Option<(u64, bool)>,
    /// The data sequence number, and whether it has 64 bits; the subflow sequence number, the length.
    pub map: Option<(u64, bool, u32, u16)>,
    /// Whether it has a checksum.
    pub checksum: bool,
    /// Whether it ends the data.
    pub fin: bool,
}

/// The token of a key (RFC 8684 section 3.2).
pub fn token(key: u64) -> u32 {
    let digest = Sha256::digest(key.to_be_bytes());
    digest[..4].iter().fold(0, |token, &byte| token << 8 | u32::from(byte))
}

/// The data sequence number of the first byte that the owner of a key sends: behind the initial one, which stands for
/// the SYN (RFC 8684 section 3.1).
pub fn first_data(key: u64) -> u64 {
    let digest = Sha256::digest(key.to_be_bytes());
    digest[24..].iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte)).wrapping_add(1)
}

/// Reads the options in `bytes`.
pub fn read(mut bytes: &[u8], syn: bool) -> Vec<Opt> {
    let mut options = Vec::new();
    while let [first, rest @ ..] = bytes {
        match (*first, rest) {
            (kind::END, _) => break,
            (kind::NO_OPERATION, _) => bytes = rest,
            (kind, [length, ..]) if (2..=bytes.len()).contains(&usize::from(*length)) => {
                options.extend(one(kind, &bytes[2..usize::from(*length)], syn));
                bytes = &bytes[usize::from(*length)..];
            }
            _ => {
                options.push(Opt::Words("options damaged".to_owned()));
                break;
            }
        }
    }
    options
}

fn one(kind: u8, value: &[u8], syn: bool) -> Option<Opt> {
    Some(match (kind, value) {
        (kind::MAXIMUM_SEGMENT_SIZE, [high, low]) => words(format!("mss {}", u16::from_be_bytes([*high, *low]))),
        (kind::WINDOW_SCALE, [shift]) => words(format!("wscale {shift}")),
        (kind::SACK_PERMITTED, _) => words("sackOK".to_owned()),
        (kind::TIMESTAMPS, _) if syn => words("ts".to_owned()),
        (kind::TIMESTAMPS, _) => Opt::Timestamps,
        (kind::FAST_OPEN, []) => words("TFO cookie?".to_owned()),
        (kind::FAST_OPEN, _) => words("TFO cookie".to_owned()),
        (kind::SACK, blocks) => {
            let blocks = blocks.chunks_exact(8);
            Opt::Sack(blocks.map(|block| [number(&block[..4]) as u32, number(&block[4..]) as u32]).collect())
        }
        (kind::MPTCP, value) => mptcp(value, syn),
        (kind, _) => words(format!("option {kind}")),
    })
}

fn words(text: String) -> Opt {
    Opt::Words(text)
}

fn mptcp(value: &[u8], syn: bool) -> Opt {
    let low = value.first().map_or(0, |first| first & 15);
    let id = value.get(1).copied();
    match (value.first().map(|first| first >> 4), value.len()) {
        (Some(0), length) => {
            let key = |at: usize| value.get(at..at + 8).map(number);
            let keys = if length >= 10 { [key(2), key(10)] } else { [None, None] };
            Opt::Capable { version: low, keys }
        }
        (Some(1), 10) if syn => Opt::JoinSyn { token: number(&value[2..6]) as u32, id: value[1], backup: low & 1 != 0 },
        (Some(1), _) => Opt::Join { id: id.filter(|_| syn), backup: low & 1 != 0 },
        (Some(2), _) => dss(&value[1..]).map_or_else(|| words("DSS damaged".to_owned()), Opt::Dss),
        (Some(3), length) => words(add_address(value, length, low & 1 != 0)),
        (Some(4), _) => {
            let ids: Vec<String> = value[1..].iter().map(u8::to_string).collect();
            words(format!("REMOVE_ADDR id {}", ids.join(" ")))
        }
        (Some(5), _) => words(match (low & 1 != 0, id) {
            (backup, Some(id)) => format!("MP_PRIO id {id}{}", if backup { " backup" } else { " regular" }),
            (backup, None) => format!("MP_PRIO{}", if backup { " backup" } else { " regular" }),
        }),
        (Some(6), 10) => Opt::Fail(number(&value[2..])),
        (Some(7), _) => words("MP_FASTCLOSE".to_owned()),
        (Some(8), _) => words(format!("MP_TCPRST {}", reason(id.unwrap_or(0)))),
        (Some(subtype), _) => words(format!("MPTCP subtype {subtype}")),
        (None, _) => words("MPTCP without subtype".to_owned()),
    }
}

/// Why a subflow was reset (RFC 8684 section 3.6).
fn reason(code: u8) -> String {
    match code {
        0 => "unspecified".to_owned(),
        1 => "MPTCP-specific error".to_owned(),
        2 => "lack of resources".to_owned(),
        3 => "administratively prohibited".to_owned(),
        4 => "too much outstanding data".to_owned(),
        5 => "unacceptable performance".to_owned(),
        6 => "middlebox interference".to_owned(),
        code => format!("reason {code}"),
    }
}

fn add_address(value: &[u8], length: usize, echo: bool) -> String {
    let id = value.get(1).copied().unwrap_or(0);
    // The address, a port where the rest has room for one, and behind all but an echo an HMAC of 8 bytes.
    let v4 = matches!(length, 6 | 8 | 14 | 16);
    let address = match (v4, value.get(2..6), value.get(2..18)) {
        (true, Some(&[a, b, c, d]), _) => Ipv4Addr::new(a, b, c, d).to_string(),
        (false, _, Some(long)) => Ipv6Addr::from(<[u8; 16]>::try_from(long).unwrap_or_default()).to_string(),
        _ => "damaged".to_owned(),
    };
    format!("ADD_ADDR{} id {id} {address}", if echo { " echo" } else { "" })
}

fn dss(value: &[u8]) -> Option<Dss> {
    let (&flags, mut rest) = value.split_first()?;
    let mut take = |width: usize| {
        let (taken, more) = rest.split_at_checked(width)?;
        rest = more;
        Some(number(taken))
    };
    let mut dss = Dss { fin: flags & 0x10 != 0, ..Dss::default() };
    if flags & 1 != 0 {
        let long = flags & 2 != 0;
        dss.ack = Some((take(if long { 8 } else { 4 })?, long));
    }
    if flags & 4 != 0 {
        let long = flags & 8 != 0;
        dss.map = Some((take(if long { 8 } else { 4 })?, long, take(4)? as u32, take(2)? as u16));
        dss.checksum = take(2).is_some();
    }
    Some(dss)
}

/// A number in network order.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dss_is_read_with_what_it_has() {
        let mut option = vec![30, 20, 0x20, 0x05];
        option.extend(7u32.to_be_bytes());
        option.extend(1000u32.to_be_bytes());
        option.extend(1u32.to_be_bytes());
        option.extend(1448u16.to_be_bytes());
        option.extend([0xab, 0xcd]);
        let dss = Dss { ack: Some((7, false)), map: Some((1000, false, 1, 1448)), checksum: true, fin: false };
        assert_eq!(read(&option, false), [Opt::Dss(dss)]);
        option[3] = 0x11;
        option[1] = 8;
        let dss = Dss { ack: Some((7, false)), fin: true, ..Dss::default() };
        assert_eq!(read(&option[..8], false), [Opt::Dss(dss)]);
    }

    #[test]
    fn the_token_and_the_first_number_follow_from_the_key() {
        // printf 0000000000000001 | xxd -r -p | sha256sum
        let digest = "cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50";
        assert_eq!(format!("{:08x}", token(1)), digest[..8]);
        assert_eq!(format!("{:016x}", first_data(1) - 1), digest[48..]);
    }

    #[test]
    fn addresses_joins_and_resets_are_told_in_words() {
        let said = |bytes: &[u8], syn| read(bytes, syn);
        let words = |text: &str| vec![Opt::Words(text.to_owned())];
        assert_eq!(said(&[30, 8, 0x31, 2, 10, 0, 2, 1], false), words("ADD_ADDR echo id 2 10.0.2.1"));
        assert_eq!(said(&[30, 4, 0x40, 3], false), words("REMOVE_ADDR id 3"));
        assert_eq!(said(&[30, 4, 0x80, 4], false), words("MP_TCPRST too much outstanding data"));
        assert_eq!(said(&[30, 3, 0x51], false), words("MP_PRIO backup"));
        let join = [30, 12, 0x11, 5, 0, 0, 0, 9, 1, 2, 3, 4];
        assert_eq!(said(&join, true), [Opt::JoinSyn { token: 9, id: 5, backup: true }]);
        assert_eq!(said(&[30, 9, 1], false), words("options damaged"));
    }
}
