//! Numbers as the C library reads them: leading blanks, an optional sign, digits, and whatever follows is ignored.

/// A number as it stands in a text, before any type cuts it off.
struct Parsed {
    negative: bool,
    magnitude: u128,
}

impl Parsed {
    /// As strtol(3) with this base, or with 0: then `0x` means 16 and `0` means 8.
    fn new(text: &str, base: u32) -> Parsed {
        let text = text.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\x0b');
        let (negative, text) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (base, digits) = match (base, text.get(..2)) {
            (0, Some("0x" | "0X")) => (16, &text[2..]),
            (0, _) if text.starts_with('0') => (8, text),
            (0, _) => (10, text),
            (base, _) => (base, text),
        };
        let magnitude = digits
            .chars()
            .map_while(|letter| letter.to_digit(base))
            .fold(0u128, |sum, digit| sum.saturating_mul(base.into()).saturating_add(digit.into()));
        Parsed { negative, magnitude }
    }

    /// As a C `long`, cut off at its ends.
    fn long(&self) -> i64 {
        let end = if self.negative { i64::MIN } else { i64::MAX };
        let magnitude = i128::try_from(self.magnitude).unwrap_or(i128::MAX);
        i64::try_from(if self.negative { -magnitude } else { magnitude }).unwrap_or(end)
    }
}

/// As atoi(3): 0 where there is no number.
pub(super) fn atoi(text: &str) -> i32 {
    Parsed::new(text, 10).long() as i32
}

/// As strtol(3) of any base, cut to 32 bits.
pub(super) fn mark(text: &str) -> u32 {
    Parsed::new(text, 0).long() as u32
}

/// As strtoul(3) of any base; `None` if that is more than an `int` holds. A minus wraps, so it is always too much.
pub(super) fn size(text: &str) -> Option<i32> {
    let parsed = Parsed::new(text, 0);
    let value = u64::try_from(parsed.magnitude).ok()?;
    let value = if parsed.negative { value.wrapping_neg() } else { value };
    i32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, value) in
            [("12", 12), (" +7x", 7), ("-1", -1), ("", 0), ("x", 0), ("010", 10), ("99999999999", 1215752191)]
        {
            assert_eq!(atoi(text), value, "{text:?}");
        }
        for (text, value) in [("0x10", 16), ("010", 8), ("42", 42), ("-1", u32::MAX), ("mark", 0)] {
            assert_eq!(mark(text), value, "{text:?}");
        }
        let sizes = [("65536", Some(65536)), ("0x100", Some(256)), ("-1", None), ("2147483648", None), ("-0", Some(0))];
        for (text, value) in sizes {
            assert_eq!(size(text), value, "{text:?}");
        }
        assert_eq!(size("99999999999999999999999999999999999999999999"), None);
    }
}
