//! How many sockets a namespace has in use: `/proc/net/sockstat`.
//!
//! A socket counts from its creation until the last reference to it is gone, whether or not anything can still find it.
//! So this reveals sockets that were removed from every table but never freed, which socket diagnosis does not list.

use std::io;

use super::namespace::Namespace;
use super::{NetError, proc};

/// How many sockets of any kind `namespace` has in use, timewait ones apart.
pub fn in_use(namespace: &Namespace) -> Result<i64, NetError> {
    namespace.run(in_use_own)?.map_err(|error| error.on(namespace.name()))
}

/// How many sockets the calling thread's namespace has in use.
fn in_use_own() -> Result<i64, NetError> {
    // Not /proc/net: that is the namespace of the process's first thread.
    const PATH: &str = "/proc/thread-self/net/sockstat";
    let failed = |error| NetError::new(format!("read {PATH}"), error);
    let text = proc::read_piece(PATH).map_err(failed)?;
    parse(&text).ok_or_else(|| failed(io::Error::other("it does not say how many sockets are used")))
}

/// Reads `sockets: used 7`, the first line of the file.
fn parse(text: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix("sockets: used ")).and_then(|number| number.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read() {
        assert_eq!(parse("sockets: used 305\nTCP: inuse 4 orphan 0 tw 0 alloc 9 mem 1\n"), Some(305));
        assert_eq!(parse("TCP: inuse 4\n"), None);
    }

    #[test]
    fn an_open_socket_counts() {
        // Other tests of this process open and close sockets meanwhile; in a namespace of its own it would be exact.
        assert!(in_use_own().expect("read /proc") >= 0);
    }
}
