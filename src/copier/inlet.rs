//! Ways out of a socket: recv, recvmsg, MSG_PEEK, splice, and what comes beside the bytes.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg};
use nix::unistd::{pipe2, read};

use super::thirds;
use crate::case::{Io, Receiving};
use crate::observation::Contradiction;

/// The most contradictions that are noted.
const NOTED: usize = 8;

/// Receives a stream, call by call, in one way, and compares what the kernel promises with what follows.
#[derive(Debug)]
pub struct Inlet {
    io: Io,
    /// How many bytes the stream has.
    total: u64,
    received: u64,
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// What a peek has shown and no read has fetched.
    peeked: Vec<u8>,
    scratch: Vec<u8>,
    /// What the last TCP_INQ said.
    promised: Option<u64>,
    contradictions: Vec<Contradiction>,
    calls: BTreeMap<&'static str, u64>,
}

impl Inlet {
    /// For a stream of `total` bytes. The socket must have SO_TIMESTAMPNS and TCP_INQ set as `io` says.
    ///
    /// # Errors
    /// Those of pipe2(2).
    pub fn new(io: Io, total: u64) -> io::Result<Inlet> {
        let pipe =
            (io.receive == Receiving::Splice).then(|| pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)).transpose()?;
        Ok(Inlet {
            io,
            total,
            received: 0,
            pipe,
            peeked: Vec::new(),
            scratch: Vec::new(),
            promised: None,
            contradictions: Vec::new(),
            calls: BTreeMap::new(),
        })
    }

    /// Reads once, as recv(2) does: 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of the calls; [`io::ErrorKind::WouldBlock`] where nothing is there.
    pub fn read(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.io.receive {
            Receiving::SaveWithPeek | Receiving::SaveAfterPeek => self.peek_and_read(socket, buffer)?,
            Receiving::Splice => self.splice(socket, buffer)?,
            Receiving::Recv | Receiving::Scatter | Receiving::WaitAll => self.receive(socket, buffer)?,
        };
        self.received += length as u64;
        Ok(length)
    }

    /// How many bytes were received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Where the kernel contradicted itself.
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.contradictions
    }

    /// How often each kind of call went through, but for a plain [`Receiving::Recv`].
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.calls.iter().map(|(name, count)| (*name, *count))
    }

    fn count(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
    }

    fn contradicts(&mut self, looks: &str, what: String) {
        if self.contradictions.len() < NOTED {
            self.contradictions.push(Contradiction { looks: looks.to_owned(), what });
        }
    }

    fn peek_and_read(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        if self.peeked.is_empty() {
            let seen = recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK)?;
            self.count("peek");
            self.peeked.extend_from_slice(&buffer[..seen]);
        }
        let owed = self.peeked.len().min(buffer.len());
        // The end of the stream is peeked, too, and then read.
        let ask = if owed == 0 { buffer.len() } else { owed };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(ask, 0);
        let result = self.receive(socket, &mut scratch);
        let at = self.received;
        match &result {
            Ok(0) if owed > 0 => self.contradicts(
                "a read saw the end of the stream where a peek had seen bytes",
                format!("at byte {at} a read saw the end of the stream where a peek had seen {owed} bytes"),
            ),
            Ok(length) if owed == 0 && *length > 0 => self.contradicts(
                "a peek saw the end of the stream where a read got bytes",
                format!("at byte {at} a peek saw the end of the stream where a read got {length} bytes"),
            ),
            Err(error) if owed > 0 && error.kind() == io::ErrorKind::WouldBlock => self.contradicts(
                "a read found nothing where a peek had seen bytes",
                format!("at byte {at} a read would have blocked where a peek had seen {owed} bytes"),
            ),
            Ok(length) if owed > 0 && scratch[..*length] != self.peeked[..*length] => {
                let differs = (0..*length).find(|&index| scratch[index] != self.peeked[index]).unwrap_or(0);
                let place = at + differs as u64;
                match left_out(&self.peeked[differs..*length], &scratch[differs..*length]) {
                    Some(bytes) => self.contradicts(
                        Contradiction::LEFT_OUT,
                        format!("at byte {place} a peek left out {bytes} bytes that a read got"),
                    ),
                    None => self.contradicts(
                        "a read got other bytes than the peek before it",
                        format!("at byte {place} a read got another byte than the peek before it"),
                    ),
                }
            }
            _ => {}
        }
        if let Ok(length) = result {
            let kept = owed > 0 && self.io.receive == Receiving::SaveWithPeek;
            let from = if kept { &self.peeked } else { &scratch };
            buffer[..length].copy_from_slice(&from[..length]);
            self.peeked.drain(..length.min(self.peeked.len()));
        }
        self.scratch = scratch;
        result
    }

    fn splice(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((from, into)) = &self.pipe else { return Err(Errno::EBADF.into()) };
        let length = splice(socket, None, into, None, buffer.len(), SpliceFFlags::SPLICE_F_NONBLOCK)?;
        let mut got = 0;
        while got < length {
            got += read(from, &mut buffer[got..length])?;
        }
        self.count("splice from the socket");
        Ok(length)
    }

    /// One recvmsg(2), with what comes beside the bytes where that is asked for.
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let scatters = self.io.receive == Receiving::Scatter;
        let waits = self.io.receive == Receiving::WaitAll;
        let flags = if waits { MsgFlags::MSG_WAITALL } else { MsgFlags::empty() };
        if !(scatters || self.io.timestamps || self.io.inq) {
            let length = recv(socket.as_raw_fd(), buffer, flags)?;
            if waits {
                self.count("recv with MSG_WAITALL");
            }
            return Ok(length);
        }
        let asked = buffer.len();
        let mut space = [0; 128];
        let (length, said) = {
            let mut whole = [IoSliceMut::new(buffer)];
            let mut pieces;
            let slices: &mut [IoSliceMut<'_>] = if scatters {
                let [whole] = &mut whole;
                let [one, two, _] = thirds(asked);
                let (first, rest) = whole.split_at_mut(one.end);
                let (second, third) = rest.split_at_mut(two.len());
                pieces = [first, second, third].map(IoSliceMut::new);
                &mut pieces
            } else {
                &mut whole
            };
            let message = recvmsg::<()>(socket.as_raw_fd(), slices, Some(&mut space), flags)?;
            (message.bytes, Said::of(message.cmsgs().into_iter().flatten()))
        };
        self.count("recvmsg");
        self.weigh(&said, length, asked);
        Ok(length)
    }

    /// Checks what came beside `length` bytes, out of `asked` that there was room for.
    fn weigh(&mut self, said: &Said, length: usize, asked: usize) {
        if said.timestamp {
            self.count("SO_TIMESTAMPNS");
            if !self.io.timestamps {
                self.contradicts("SO_TIMESTAMPNS came unasked", "SO_TIMESTAMPNS came unasked".to_owned());
            }
        }
        let promised = self.promised.take();
        let at = self.received;
        // A FIN counts as one byte.
        let sure = promised.unwrap_or(0).saturating_sub(1).min(asked as u64);
        if (length as u64) < sure && at < self.total {
            self.contradicts(
                "a read got less than TCP_INQ had promised",
                format!("at byte {at} a read for {asked} bytes got {length}, where TCP_INQ had promised {sure}"),
            );
        }
        if let Some(inq) = said.inq {
            self.count("TCP_INQ");
            let left = self.total.saturating_sub(at + length as u64);
            if !self.io.inq {
                self.contradicts("TCP_INQ came unasked", "TCP_INQ came unasked".to_owned());
            }
            if inq > left + 1 {
                self.contradicts(
                    "TCP_INQ is more than the stream has left",
                    format!("TCP_INQ is {inq} at byte {}, where only {left} are left", at + length as u64),
                );
            }
            self.promised = Some(inq);
        }
    }
}

/// How many bytes a peek left out, whose first difference from what was read is at their beginnings; `None`: it did something
/// else. Chance may put one byte or two in the right place, hardly more.
fn left_out(peeked: &[u8], read: &[u8]) -> Option<usize> {
    let look = peeked.get(..4)?;
    read.windows(look.len()).position(|bytes| bytes == look)
}

/// What came beside bytes.
#[derive(Debug, Default)]
struct Said {
    timestamp: bool,
    inq: Option<u64>,
}

impl Said {
    fn of(messages: impl Iterator<Item = ControlMessageOwned>) -> Said {
        let mut said = Said::default();
        for message in messages {
            match message {
                ControlMessageOwned::ScmTimestampns(_) => said.timestamp = true,
                ControlMessageOwned::Unknown(other)
                    if (other.cmsg_header.cmsg_level, other.cmsg_header.cmsg_type)
                        == (libc::IPPROTO_TCP, libc::TCP_CM_INQ) =>
                {
                    let bytes = other.data_bytes.first_chunk().copied();
                    said.inq = bytes.map(|bytes| u64::try_from(i32::from_ne_bytes(bytes)).unwrap_or(u64::MAX));
                }
                _ => {}
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peek_that_leaves_bytes_out_differs_from_one_that_shows_others() {
        let read: Vec<u8> = (10..30).collect();
        let peeked = |from: &[u8], behind: usize| [from, &read[behind..]].concat()[..16].to_vec();
        assert_eq!(left_out(&peeked(&[], 3), &read[..16]), Some(3));
        assert_eq!(left_out(&peeked(&[8, 9], 0), &read[..16]), None);
        assert_eq!(left_out(&[0; 16], &read[..16]), None);
        assert_eq!(left_out(&[13, 14], &read[..16]), None);
    }
}
