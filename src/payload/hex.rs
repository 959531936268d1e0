//! The bytes around a mismatch, for people to read.

use std::fmt::Write;

use super::Payload;

/// How many bytes a row shows.
const ROW: u64 = 16;

/// How many rows are shown: one before the first wrong byte, its own, and those after it.
const ROWS: u64 = 4;

/// Rows of expected and received bytes around `offset`, where the bytes of `window` arrived, of `expected` bytes in all.
/// Before `offset` all is as expected. A byte that does not exist is shown as `--`.
pub(super) fn around(payload: &Payload, expected: u64, offset: u64, window: &[u8]) -> String {
    let start = (offset / ROW).saturating_sub(1) * ROW;
    let mut text = String::new();
    for row in 0..ROWS {
        let row = start + row * ROW;
        let wanted: Vec<Option<u8>> =
            (row..row + ROW).map(|at| (at < expected).then(|| payload.bytes(at, 1)[0])).collect();
        let got: Vec<Option<u8>> = (row..row + ROW)
            .zip(&wanted)
            .map(|(at, wanted)| if at < offset { *wanted } else { window.get((at - offset) as usize).copied() })
            .collect();
        if wanted.iter().chain(&got).all(Option::is_none) {
            break;
        }
        write_row(&mut text, &format!("{row:>10} expected"), &wanted);
        write_row(&mut text, &format!("{:>10}      got", ""), &got);
        if wanted != got {
            let marks: String = wanted.iter().zip(&got).map(|(a, b)| if a == b { "   " } else { " ^^" }).collect();
            let _ = writeln!(text, "{:>19} {}", "", marks.trim_end());
        }
    }
    text
}

fn write_row(text: &mut String, name: &str, bytes: &[Option<u8>]) {
    text.push_str(name);
    text.push(' ');
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = match byte {
            Some(byte) => write!(text, " {byte:02x}"),
            None => write!(text, " --"),
        };
    }
    text.push('\n');
}
