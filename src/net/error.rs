//! What went wrong between us and the kernel's network, and where.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Something that the kernel refused: on which host and device, what was tried, the errno, and the way out where one is
/// known. Reads as a fragment: `ns2: ns2eth3: set the MTU to 70000: EINVAL: Invalid argument (mtu greater than device
/// maximum)`.
#[derive(Debug)]
pub struct NetError(Box<Failure>);

/// The parts of an error, behind a pointer: the way of success stays short.
#[derive(Debug)]
struct Failure {
    /// The namespace, as its owner named it; empty where no particular one is meant.
    host: String,
    /// Empty where no device is concerned.
    device: String,
    operation: String,
    source: io::Error,
    /// What the kernel said beyond its errno.
    detail: Option<String>,
    way_out: Option<String>,
}

impl NetError {
    /// `operation` failed with `source`.
    pub fn new(operation: impl Into<String>, source: impl Into<io::Error>) -> NetError {
        NetError(Box::new(Failure {
            host: String::new(),
            device: String::new(),
            operation: operation.into(),
            source: source.into(),
            detail: None,
            way_out: None,
        }))
    }

    /// The same error, on `host`.
    pub fn on(mut self, host: &str) -> NetError {
        host.clone_into(&mut self.0.host);
        self
    }

    /// The same error, concerning `device`.
    pub fn device(mut self, device: &str) -> NetError {
        device.clone_into(&mut self.0.device);
        self
    }

    /// The same error, with what to do about it.
    pub fn way_out(mut self, text: impl Into<String>) -> NetError {
        self.0.way_out = Some(text.into());
        self
    }

    /// The same error, with what the kernel said in words (netlink's extended acknowledgement).
    pub fn detail(mut self, text: Option<String>) -> NetError {
        self.0.detail = text;
        self
    }

    /// The errno, where the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        self.0.source.raw_os_error().map(Errno::from_raw)
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = &self.0;
        for place in [&failure.host, &failure.device] {
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
        }
        write!(f, "{}: ", failure.operation)?;
        match self.errno() {
            // An Errno writes itself as `EINVAL: Invalid argument`.
            Some(errno) => write!(f, "{errno}")?,
            None => write!(f, "{}", failure.source)?,
        }
        if let Some(detail) = &failure.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(way_out) = &failure.way_out {
            write!(f, "; {way_out}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_why_and_what_to_do() {
        let error = NetError::new("set the MTU to 70000", Errno::EINVAL)
            .on("ns2")
            .device("ns2eth3")
            .detail(Some("mtu greater than device maximum".into()))
            .way_out("use less");
        assert_eq!(
            error.to_string(),
            "ns2: ns2eth3: set the MTU to 70000: EINVAL: Invalid argument (mtu greater than device maximum); use less"
        );
    }
}
