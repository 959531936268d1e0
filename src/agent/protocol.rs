//! The protocol between a world and its agent: JSON messages, each preceded by its length in four bytes.
//!
//! The agent opens with [`Reply::Started`], the world asks with [`Request::Run`], and the agent answers once. After
//! [`Reply::Observed`] it waits to hear whether its evidence is wanted.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::endpoint::plant::Plant;
use crate::observation::Observation;

/// The most bytes that a message may have; something longer is not from a world or an agent.
const MESSAGE_MAX: usize = 256 << 20;

/// What a world says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run a case.
    Run(Box<Errand>),
    /// Leave the evidence in this folder.
    Keep {
        /// It exists.
        folder: PathBuf,
    },
    /// The evidence is not wanted.
    Forget,
}

/// What an agent has to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Errand {
    /// The case.
    pub case: Case,
    /// The CPUs to run on; empty: wherever the kernel likes.
    pub cpus: Vec<usize>,
    /// How its endpoints err on purpose.
    pub plant: Option<Plant>,
    /// Whether links without impairments are captured, too.
    pub capture: bool,
    /// Whether all packets of the hosts of both ends are captured.
    #[serde(default)]
    pub capture_hosts: bool,
    /// Whether an agent that cannot be asked afterwards leaves evidence of every run, not only of findings.
    pub evidence: bool,
    /// Which device carries impaired links.
    pub carrier: crate::topology::CarrierChoice,
    /// Whether to leave the counters of the lines that the kernel has executed: only a guest has a kernel to itself.
    #[serde(default)]
    pub coverage: bool,
}

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is there.
    Started {
        /// Its process.
        pid: u32,
    },
    /// What it saw.
    Observed(Box<Observation>),
    /// This machine cannot run the case.
    Unable(String),
    /// Trouble of its own.
    Trouble(String),
    /// The evidence lies where it was asked for.
    Kept,
    /// It has ended; said by the process that started it.
    Exited {
        /// `exited with code 0`, `was killed by SIGKILL`, ...
        how: String,
        /// Whether it ended by itself and with success.
        clean: bool,
    },
}

/// Why a message did not come through.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The other side is gone.
    #[error("the other side is gone: {0}")]
    Gone(#[from] io::Error),
    /// What came is no message.
    #[error("not a message: {0}")]
    Garbled(#[from] serde_json::Error),
    /// What came would be too long.
    #[error("a message of {0} bytes, where at most {MESSAGE_MAX} are allowed")]
    TooLong(usize),
}

/// Sends one message.
pub fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), ProtocolError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| ProtocolError::TooLong(frame.len()))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(stream.write_all(&frame)?)
}

/// Receives one message.
pub fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, ProtocolError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_MAX {
        return Err(ProtocolError::TooLong(length));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(serde_json::from_slice(&frame)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_through_as_they_were_sent() {
        let mut wire = Vec::new();
        send(&mut wire, &Reply::Started { pid: 7 }).unwrap();
        send(&mut wire, &Reply::Unable("no namespaces".into())).unwrap();
        let mut wire = wire.as_slice();
        assert!(matches!(receive(&mut wire), Ok(Reply::Started { pid: 7 })));
        assert!(matches!(receive(&mut wire), Ok(Reply::Unable(text)) if text == "no namespaces"));
        assert!(matches!(receive::<Reply>(&mut wire), Err(ProtocolError::Gone(_))));
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_anything_is_allocated() {
        let bytes = u32::MAX.to_le_bytes();
        let mut wire = bytes.as_slice();
        assert!(matches!(receive::<Reply>(&mut wire), Err(ProtocolError::TooLong(_))));
    }
}
