//! The counters of one object, as `.gcda` files hold them (gcc/gcov-io.h): records of a tag, a length and data.
//!
//! The same object of the same kernel always gives the same records, so adding two of them is adding the counters.

/// "gcda", the first word.
const MAGIC: u32 = 0x6763_6461;
/// The tags of counters: 0x01a1, 0x01a3, ... in their upper half; counters of executed branches are the first of them.
const ARCS: u32 = 0x01a1_0000;
/// From this version of the compiler on, lengths are in bytes and the header has a checksum.
const BYTES_SINCE: u32 = 12;
/// The most bytes of zeros that a record may stand for: no function has as many branches.
const ZEROS_MAX: usize = 1 << 24;
/// A word.
const WORD: usize = 4;

/// One object's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gcda {
    bytes: Vec<u8>,
    /// Where counters are in `bytes`: offset, and how many.
    counters: Vec<(usize, usize)>,
}

/// Why a file is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GcdaError {
    #[error("no gcda file")]
    Magic,
    #[error("cut short")]
    Short,
    #[error("of another build than those before it")]
    Other,
}

impl Gcda {
    /// Counters that are all zero may come as a record of a negative length and no data: here they get their data.
    pub(super) fn parse(file: Vec<u8>) -> Result<Gcda, GcdaError> {
        let word = |at: usize| file.get(at..at + WORD)?.try_into().ok().map(u32::from_le_bytes);
        if word(0) != Some(MAGIC) {
            return Err(GcdaError::Magic);
        }
        let in_bytes = major(word(WORD).ok_or(GcdaError::Short)?) >= BYTES_SINCE;
        let unit = if in_bytes { 1 } else { WORD };
        let mut at = if in_bytes { 4 * WORD } else { 3 * WORD };
        let mut bytes = file.get(..at).ok_or(GcdaError::Short)?.to_vec();
        let mut counters = Vec::new();
        while at < file.len() {
            let tag = word(at).ok_or(GcdaError::Short)?;
            if tag == 0 {
                // A program ends its file so; a kernel just ends it.
                break;
            }
            let length = word(at + WORD).ok_or(GcdaError::Short)?;
            at += 2 * WORD;
            let signed = length.cast_signed();
            let size = signed.unsigned_abs() as usize * unit;
            bytes.extend(tag.to_le_bytes());
            bytes.extend(signed.unsigned_abs().to_le_bytes());
            if tag == ARCS {
                counters.push((bytes.len(), size / 8));
            }
            if signed < 0 && tag == ARCS && size <= ZEROS_MAX {
                bytes.resize(bytes.len() + size, 0);
            } else {
                bytes.extend(file.get(at..at.saturating_add(size)).ok_or(GcdaError::Short)?);
                at += size;
            }
        }
        Ok(Gcda { bytes, counters })
    }

    /// Adds the counters of another run of the same kernel.
    pub(super) fn add(&mut self, other: &Gcda) -> Result<(), GcdaError> {
        if self.counters != other.counters || self.bytes.len() != other.bytes.len() {
            return Err(GcdaError::Other);
        }
        for &(offset, count) in &self.counters {
            for at in (offset..).step_by(8).take(count) {
                let sum = counter(&self.bytes, at).saturating_add(counter(&other.bytes, at));
                self.bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// 64 bits, the lower half first: that is little-endian as a whole. What was parsed has them.
fn counter(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The compiler's major version in a version word: `B22*` is 12.2.
fn major(version: u32) -> u32 {
    let [a, b, ..] = version.to_be_bytes();
    let digit = u32::from(b.saturating_sub(b'0'));
    match a {
        b'A'..=b'Z' => 10 * u32::from(a - b'A') + digit,
        // Before 5.1: `407*`.
        _ => u32::from(a.saturating_sub(b'0')),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file of two functions with these counters.
    pub(in super::super) fn file(version: &[u8; 4], counters: [&[u64]; 2]) -> Vec<u8> {
        let in_bytes = major(u32::from_be_bytes(*version)) >= BYTES_SINCE;
        let unit = if in_bytes { WORD as u32 } else { 1 };
        let mut words = vec![MAGIC, u32::from_be_bytes(*version), 77];
        words.extend(in_bytes.then_some(0));
        for (ident, counters) in (1..).zip(counters) {
            words.extend([0x0100_0000, 3 * unit, ident, 5, 6]);
            words.extend([ARCS, 2 * unit * counters.len() as u32]);
            words.extend(counters.iter().flat_map(|&count| [count as u32, (count >> 32) as u32]));
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn counters_are_added_and_nothing_else() {
        for version in [b"B22*", b"A94*"] {
            let mut one = Gcda::parse(file(version, [&[1, 0], &[1 << 40]])).unwrap();
            one.add(&Gcda::parse(file(version, [&[2, 3], &[7]])).unwrap()).unwrap();
            assert_eq!(one.bytes(), file(version, [&[3, 3], &[(1 << 40) + 7]]));
        }
    }

    #[test]
    fn zeros_that_were_left_out_are_put_in() {
        let whole = file(b"B22*", [&[0, 0], &[3]]);
        let mut short = whole.clone();
        // Behind the header, the function's record and the tag: the length, and 16 bytes of counters.
        let at = 16 + 20 + 4;
        short.splice(at..at + 20, (-16_i32).to_le_bytes());
        assert_eq!(Gcda::parse(short).unwrap(), Gcda::parse(whole).unwrap());
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        assert_eq!(Gcda::parse(Vec::new()).unwrap_err(), GcdaError::Magic);
        let whole = file(b"B22*", [&[1, 2], &[3]]);
        for length in 17..whole.len() {
            // A record may end anywhere, but not within itself.
            if let Ok(gcda) = Gcda::parse(whole[..length].to_vec()) {
                assert_ne!(gcda.counters.len(), 2, "{length}");
            }
        }
        let mut one = Gcda::parse(whole).unwrap();
        let other = Gcda::parse(file(b"B22*", [&[1], &[3, 2]])).unwrap();
        assert_eq!(one.add(&other), Err(GcdaError::Other));
    }
}
