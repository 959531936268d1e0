//! Planted faults: an endpoint that errs on purpose, to see that whitewater finds it.
//!
//! They work between the copier and the socket, where a bug of the kernel, a proxy or a careless program would. No case
//! names them: they are a seam for tests, reached through a hidden option.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;
use std::time::Duration;

use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};

use super::feature::Feature;
use super::wire::{Wire, wait};
use crate::case::{Case, Receiving};
use crate::copier::Socket;
use crate::observation::{MptcpState, Story};
use crate::payload::{Payload, Sender};
use crate::seed::Seed;

/// A way to err.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plant {
    /// What the last write before the shutdown took never leaves.
    LoseLastChunk,
    /// The two 1448-byte blocks from 64 KiB on change places.
    SwapBlocks,
    /// After a short write its last byte is written again.
    RepeatAfterShortWrite,
    /// One bit at a random offset is flipped.
    FlipBit,
    /// Once the receive window has been closed, nothing is read any more.
    StopAfterZeroWindow,
    /// The sending side is never shut down.
    ForgetShutdown,
    /// What was read last is written in place of what is to be sent. Only the server errs, and it waits a moment for
    /// something to read before it writes.
    LeakDirection,
    /// A read that would block counts as the end of the stream.
    EagainIsEnd,
    /// On any link, once two particular packets of one direction have been lost (the first transmissions of the first
    /// flow's cells 3 and 7), the retransmission of the later one carries wrong bytes under a right checksum.
    TwoLosses,
    /// A page that was sent from a file is written over before the kernel is done with it.
    ReuseEarly,
    /// What is spliced out of a socket loses a byte at the end of its first page.
    SpliceTear,
    /// A peek of more than a hundred bytes shows its first bytes again at its end.
    PeekRepeats,
    /// A bit is flipped in the first byte of whatever moves by an endpoint with this feature.
    Garble(Feature),
}

impl Plant {
    /// Every plant that has no feature.
    const ALL: [Plant; 12] = [
        Plant::LoseLastChunk,
        Plant::SwapBlocks,
        Plant::RepeatAfterShortWrite,
        Plant::FlipBit,
        Plant::StopAfterZeroWindow,
        Plant::ForgetShutdown,
        Plant::LeakDirection,
        Plant::EagainIsEnd,
        Plant::TwoLosses,
        Plant::ReuseEarly,
        Plant::SpliceTear,
        Plant::PeekRepeats,
    ];

    /// Every plant.
    pub fn all() -> impl Iterator<Item = Plant> {
        Plant::ALL.into_iter().chain(Feature::all().map(Plant::Garble))
    }

    /// Whether the endpoint on this side errs in this round of a case.
    pub(super) fn errs(self, case: &Case, side: Sender, round: u8) -> bool {
        match self {
            Plant::LeakDirection => side == Sender::Server,
            Plant::Garble(feature) => feature.is_met(case, side, round),
            _ => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Plant::LoseLastChunk => "lose-last-chunk",
            Plant::SwapBlocks => "swap-blocks",
            Plant::RepeatAfterShortWrite => "repeat-after-short-write",
            Plant::FlipBit => "flip-bit",
            Plant::StopAfterZeroWindow => "stop-after-zero-window",
            Plant::ForgetShutdown => "forget-shutdown",
            Plant::LeakDirection => "leak-direction",
            Plant::EagainIsEnd => "eagain-is-end",
            Plant::TwoLosses => "two-losses",
            Plant::ReuseEarly => "reuse-early",
            Plant::SpliceTear => "splice-tear",
            Plant::PeekRepeats => "peek-repeats",
            Plant::Garble(_) => "garble",
        }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plant::Garble(feature) => write!(f, "{}-{feature}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Plant, String> {
        Plant::all().find(|plant| plant.to_string() == text).ok_or_else(|| {
            let names: Vec<String> = Plant::all().map(|plant| plant.to_string()).collect();
            format!("no such plant; there are {}", names.join(", "))
        })
    }
}

/// Where [`Plant::SwapBlocks`] strikes, in bytes.
const SWAP_AT: u64 = 64 * 1024;
/// The size of each of its blocks: one full segment.
const SWAP_BLOCK: u64 = 1448;
/// The fewest bytes that [`Plant::LeakDirection`] copies: fewer tell nobody where they come from.
const LEAK_MIN: usize = 16;
/// The most.
const LEAK_MAX: usize = 64;
/// How many times it lets a write wait for something to overhear, and how long each time.
const LEAK_WAITS: u32 = 20;
const LEAK_WAIT: Duration = Duration::from_millis(10);
/// Where [`Plant::SpliceTear`] strikes, in bytes.
const SPLICE_PAGE: usize = 4096;
/// The longest peek that [`Plant::PeekRepeats`] leaves alone, and how much it repeats, in bytes.
const PEEK_MIN: usize = 100;
const PEEK_REPEAT: usize = 32;

/// Flips a bit of the first byte, if there is one.
fn garble(bytes: &mut [u8]) {
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
}

/// What a plant does to the bytes before they are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tampering {
    plant: Option<Plant>,
    total: u64,
    flip_at: Option<u64>,
}

impl Tampering {
    /// Writes the payload from `offset` on, tampered with.
    pub(super) fn fill(&self, payload: &Payload, offset: u64, buffer: &mut [u8]) {
        payload.fill(offset, buffer);
        let end = offset + buffer.len() as u64;
        if let Some(flip_at) = self.flip_at.filter(|at| (offset..end).contains(at)) {
            buffer[(flip_at - offset) as usize] ^= 1 << (flip_at % 8);
        }
        if self.plant == Some(Plant::SwapBlocks) && self.total >= SWAP_AT + 2 * SWAP_BLOCK {
            for (index, byte) in buffer.iter_mut().enumerate() {
                let at = offset + index as u64;
                let from = match at.checked_sub(SWAP_AT) {
                    Some(inside) if inside < SWAP_BLOCK => at + SWAP_BLOCK,
                    Some(inside) if inside < 2 * SWAP_BLOCK => at - SWAP_BLOCK,
                    _ => continue,
                };
                payload.fill(from, std::slice::from_mut(byte));
            }
        }
    }
}

/// A wire with a plant, or without.
#[derive(Debug)]
pub(super) struct Planted<'a> {
    wire: Wire,
    plant: Option<Plant>,
    tampering: Tampering,
    stop: BorrowedFd<'a>,
    written: u64,
    /// What was read last, for [`Plant::LeakDirection`].
    overheard: Vec<u8>,
    /// How many more times a write may wait for that.
    waits: u32,
    /// The last byte of a short write, for [`Plant::RepeatAfterShortWrite`].
    again: Option<u8>,
}

impl<'a> Planted<'a> {
    /// A wire that sends `total` bytes.
    pub(super) fn new(wire: Wire, plant: Option<Plant>, seed: Seed, total: u64, stop: BorrowedFd<'a>) -> Planted<'a> {
        let flip_at = (plant == Some(Plant::FlipBit) && total > 0).then(|| seed.stream("plant").below(total));
        let tampering = Tampering { plant, total, flip_at };
        Planted { wire, plant, tampering, stop, written: 0, overheard: Vec::new(), waits: LEAK_WAITS, again: None }
    }

    pub(super) fn tampering(&self) -> Tampering {
        self.tampering
    }

    pub(super) fn mptcp_state(&self) -> MptcpState {
        self.wire.mptcp_state()
    }

    pub(super) fn tell(&mut self, story: &mut Story) {
        self.wire.tell(story);
    }

    pub(super) fn into_socket(self) -> socket2::Socket {
        self.wire.into_socket()
    }

    fn repeat_after_short_write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(byte) = self.again {
            self.wire.write(&[byte])?;
            self.again = None;
        }
        let taken = self.wire.write(buffer)?;
        if taken < buffer.len() && taken > 0 {
            self.again = Some(buffer[taken - 1]);
        }
        Ok(taken)
    }

    fn leak(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.overheard.len().min(buffer.len());
        if self.overheard.len() < LEAK_MIN && self.waits > 0 {
            self.waits -= 1;
            std::thread::sleep(LEAK_WAIT);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if length < LEAK_MIN {
            return self.wire.write(buffer);
        }
        self.waits = 0;
        let taken = self.wire.write(&self.overheard[..length])?;
        self.overheard.clear();
        Ok(taken)
    }
}

impl AsFd for Planted<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl Socket for Planted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.plant {
            Some(Plant::StopAfterZeroWindow) if self.wire.receive_window().is_ok_and(|window| window == 0) => {
                wait(self.stop, PollFlags::POLLIN, self.stop)?;
                Err(io::ErrorKind::WouldBlock.into())
            }
            Some(Plant::EagainIsEnd) => match self.wire.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                other => other,
            },
            Some(Plant::LeakDirection) => {
                let length = self.wire.read(buffer)?;
                self.overheard.clear();
                self.overheard.extend_from_slice(&buffer[..length.min(LEAK_MAX)]);
                Ok(length)
            }
            Some(Plant::SpliceTear) if self.wire.receiving() == Receiving::Splice => {
                let length = self.wire.read(buffer)?;
                if length <= SPLICE_PAGE {
                    return Ok(length);
                }
                buffer.copy_within(SPLICE_PAGE..length, SPLICE_PAGE - 1);
                Ok(length - 1)
            }
            Some(Plant::PeekRepeats)
                if matches!(self.wire.receiving(), Receiving::SaveWithPeek | Receiving::SaveAfterPeek) =>
            {
                let length = self.wire.read(buffer)?;
                if length > PEEK_MIN {
                    buffer.copy_within(..PEEK_REPEAT, length - PEEK_REPEAT);
                }
                Ok(length)
            }
            Some(Plant::Garble(feature)) if feature.receives() => {
                let length = self.wire.read(buffer)?;
                garble(&mut buffer[..length]);
                Ok(length)
            }
            _ => self.wire.read(buffer),
        }
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = match self.plant {
            Some(Plant::LoseLastChunk) if self.written + buffer.len() as u64 == self.tampering.total => buffer.len(),
            Some(Plant::RepeatAfterShortWrite) => self.repeat_after_short_write(buffer)?,
            Some(Plant::LeakDirection) => self.leak(buffer)?,
            Some(Plant::ReuseEarly) => {
                let taken = self.wire.write(buffer)?;
                self.wire.spoil(taken);
                taken
            }
            Some(Plant::Garble(feature)) if !feature.receives() => {
                let mut garbled = buffer.to_vec();
                garble(&mut garbled);
                self.wire.write(&garbled)?
            }
            _ => self.wire.write(buffer)?,
        };
        self.written += taken as u64;
        Ok(taken)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        match self.plant {
            Some(Plant::ForgetShutdown) => Ok(()),
            _ if self.wire.is_connecting() => {
                // What comes says that it is connected, too, and may have to be read before there is room to write.
                wait(self.wire.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT, self.stop)?;
                self.wire.connected();
                // The copier looks after its stop descriptor, and tries again.
                Err(io::ErrorKind::Interrupted.into())
            }
            _ => self.wire.shut_down(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plant_is_read_as_it_is_written() {
        for plant in Plant::all() {
            assert_eq!(plant.to_string().parse(), Ok(plant));
        }
        assert!("ivy".parse::<Plant>().unwrap_err().contains("flip-bit"));
    }
}
