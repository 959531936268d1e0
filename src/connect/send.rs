//! The sending side: what is read from the input and on its way to the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use nix::unistd::{read, write};

use super::options::Options;
use crate::seed::Stream;

/// The bytes that are read from the input at once, and the most that fast open sends.
const BUFFER: usize = 8192;

/// The mask of a random size.
pub(super) const SIZE_MASK: u64 = 0xffff;

/// The most bytes of the first write that leaves time for a join.
const JOIN_WRITE: usize = 100;

/// How long it leaves, and how long a slow write rests.
const REST: Duration = Duration::from_millis(200);

/// Bytes between the input and the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    offset: usize,
    length: usize,
    /// How many bytes were read before the transfer, for fast open.
    ahead: usize,
}

impl Outgoing {
    /// Nothing has been read.
    pub(super) fn new() -> Outgoing {
        Outgoing { buffer: vec![0; BUFFER], offset: 0, length: 0, ahead: 0 }
    }

    /// Whether nothing has been read ahead.
    pub(super) fn is_fresh(&self) -> bool {
        self.ahead == 0
    }

    /// How many bytes were read ahead.
    pub(super) fn ahead(&self) -> usize {
        self.ahead
    }

    /// Reads ahead.
    pub(super) fn refill(&mut self, input: BorrowedFd<'_>) -> nix::Result<()> {
        self.ahead = self.fill(input)?;
        Ok(())
    }

    /// Reads more where nothing is left; how many bytes there are. Nothing is the end of the input.
    pub(super) fn fill(&mut self, input: BorrowedFd<'_>) -> nix::Result<usize> {
        if self.length == 0 {
            (self.offset, self.length) = (0, read(input, &mut self.buffer)?);
        }
        Ok(self.length)
    }

    /// What is to be sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.offset..self.offset + self.length]
    }

    /// Forgets what is beyond `most` bytes.
    pub(super) fn cut(&mut self, most: usize) {
        self.length = self.length.min(most);
    }

    /// So many bytes were sent.
    pub(super) fn advance(&mut self, length: usize) {
        self.offset += length;
        self.length -= length;
    }
}

/// How writes are cut.
#[derive(Debug)]
pub(super) struct Writer {
    random: Stream,
    /// Whether the next write is the first one, which leaves time for a join.
    leaves_time: bool,
    slow: Option<usize>,
}

impl Writer {
    pub(super) fn new(options: &Options) -> Writer {
        Writer { random: options.seed.stream("connect write"), leaves_time: options.join, slow: options.slow }
    }

    /// Writes once, at most all of `bytes`, and rests where the options say so.
    pub(super) fn write(&mut self, to: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        let drawn = (self.random.next_u64() & SIZE_MASK) as usize;
        let mut size = if drawn == 0 { bytes.len() } else { drawn.min(bytes.len()) };
        if self.leaves_time {
            size = size.min(JOIN_WRITE);
        }
        size = size.min(self.slow.unwrap_or(size));
        let written = write(to, &bytes[..size])?;
        if std::mem::take(&mut self.leaves_time) {
            rest(REST);
        }
        if self.slow.is_some() {
            rest(REST);
        }
        Ok(written)
    }
}

/// Sleeps, until a signal comes: the standard library would sleep on.
pub(super) fn rest(time: Duration) {
    if !time.is_zero() {
        // An interrupted rest is over.
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &TimeSpec::from_duration(time));
    }
}
