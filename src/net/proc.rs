//! Reading `/proc`: a file there has no length, and the kernel makes its text anew for each read.

use std::fs::File;
use std::io::{self, Read};

/// What is read at once: more than any file holds that is read here, on a machine with few CPUs.
const ENOUGH: usize = 8 << 10;

/// The text of a file. [`std::fs::read_to_string`] feels its way in ever longer reads, of 32 bytes first, and asks for the
/// length before: a dozen system calls for a file of some kilobytes.
pub(super) fn read(path: &str) -> io::Result<String> {
    read_until(path, |more, _| more == 0)
}

/// The text of a file that the kernel writes in one piece, as it does settings and counters: a read that does not fill what
/// there is room for has met its end.
pub(super) fn read_piece(path: &str) -> io::Result<String> {
    read_until(path, |more, room| more < room)
}

/// `is_last`: whether a read of this many bytes into so much room was the last.
fn read_until(path: &str, is_last: impl Fn(usize, usize) -> bool) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut text = vec![0; ENOUGH];
    let mut length = 0;
    loop {
        let room = text.len() - length;
        match file.read(&mut text[length..]) {
            Ok(more) => {
                length += more;
                if is_last(more, room) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if length == text.len() {
            text.resize(2 * length, 0);
        }
    }
    text.truncate(length);
    String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 1, ENOUGH - 1, ENOUGH, ENOUGH + 1, 5 * ENOUGH] {
            let (path, text) = (folder.path().join("file"), "x".repeat(length));
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read(path.to_str().unwrap()).unwrap(), text);
            assert_eq!(read_piece(path.to_str().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn what_the_kernel_writes_in_one_piece_comes_whole() {
        for name in ["snmp", "snmp6", "netstat", "sockstat"] {
            let path = format!("/proc/thread-self/net/{name}");
            let names = |text: String| {
                text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
            };
            match (read(&path), read_piece(&path)) {
                (Ok(all), Ok(piece)) => assert_eq!(names(all), names(piece), "{path}"),
                (all, piece) => assert_eq!(all.is_err(), piece.is_err(), "{path}"),
            }
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert_eq!(read("/proc/thread-self/nothing").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
