//! What is said on standard error, in the words that scripts look for, and the exit codes that go with it.

use std::io::{self, Write};

/// The end of the program, with this exit code. Whoever makes one has said why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit(pub(super) u8);

/// What a step of the program comes to.
pub(super) type Step<T> = Result<T, Exit>;

impl Exit {
    /// Usage, a check that failed, waiting or mapping that failed.
    pub(super) const TROUBLE: Exit = Exit(1);
    /// A time-out, no connection, no pipe.
    pub(super) const NOT_THROUGH: Exit = Exit(2);
    /// The socket could not be read, or the input not be sent from.
    pub(super) const READ: Exit = Exit(3);
    /// The input could not be read, or a splice not be ended.
    pub(super) const INPUT: Exit = Exit(4);
    /// POLLERR or POLLNVAL, or a splice that came up short.
    pub(super) const BROKEN: Exit = Exit(5);
    /// The output could not be written. The original goes on and ends well.
    pub(super) const OUTPUT: Exit = Exit(6);
    /// The socket could not be written.
    pub(super) const WRITE: Exit = Exit(111);
}

/// Says something, in one piece: both ends of a transfer often share a terminal.
pub(super) fn say(text: &str) {
    // Nobody is left to tell if even this fails.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// As perror(3).
pub(super) fn perror(call: &str, error: impl Into<io::Error>) {
    say(&format!("{call}: {}\n", strerror(&error.into())));
}

/// Says something and ends.
pub(super) fn die(text: &str) -> Exit {
    say(text);
    Exit::TROUBLE
}

/// For `map_err`: as perror(3), and the end with `exit`.
pub(super) fn failed<E: Into<io::Error>>(call: &str, exit: Exit) -> impl FnOnce(E) -> Exit {
    move |error| {
        perror(call, error);
        exit
    }
}

/// As strerror(3).
pub(super) fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    // The standard library adds the number to what strerror said.
    match text.rsplit_once(" (os error ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// The number of an error, as `%d` of errno shows it.
pub(super) fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_named_as_the_c_library_names_them() {
        assert_eq!(strerror(&io::Error::from_raw_os_error(libc::ENOPROTOOPT)), "Protocol not available");
        assert_eq!(strerror(&io::Error::from_raw_os_error(libc::EAGAIN)), "Resource temporarily unavailable");
    }
}
