//! Kernel settings under `/proc/sys`. Keys are written as sysctl(8) does: `net.ipv4.tcp_sack`.
//!
//! What is under `net.` belongs to the network namespace of the calling thread.

use std::fs;
use std::io;

use super::{NetError, proc};

fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

/// The value of `key`, without the line's end.
pub fn get(key: &str) -> Result<String, NetError> {
    match proc::read_piece(&path(key)) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) => Err(failed("read", key, error)),
    }
}

/// Sets `key` to `value`.
pub fn set(key: &str, value: &str) -> Result<(), NetError> {
    fs::write(path(key), value).map_err(|error| failed(&format!("set to {value} the"), key, error))
}

fn failed(verb: &str, key: &str, error: io::Error) -> NetError {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let failure = NetError::new(format!("{verb} sysctl {key}"), error);
    if missing {
        failure.way_out("this kernel has no such setting here, or nothing of that name: its configuration or age")
    } else {
        failure
    }
}
