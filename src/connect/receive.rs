//! The receiving side: reads of random size, with peeking or ancillary data where the options say so.

use std::io;

use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{read, write};
use socket2::Socket;
use std::os::fd::{AsFd, AsRawFd};

use super::options::{Ancillary, Options, Peek};
use super::send::SIZE_MASK;
use super::socket::{SO_TIMESTAMPNS_NEW, TCP_INQ};
use super::words::{Exit, Step, die, perror, strerror};
use crate::seed::Stream;
use crate::sys::socket::receive_with_ancillary;

/// The most bytes that TCP_INQ may tell of: the tests that ask for it send little.
const INQ_MAX: u32 = 1024;

/// How reads are cut, and what is checked of them.
#[derive(Debug)]
pub(super) struct Reader {
    random: Stream,
    peek: Option<Peek>,
    ancillary: Ancillary,
    /// What TCP_INQ said last.
    inq: u32,
    /// Whether it said that only the end of the stream is left.
    expects_end: bool,
}

impl Reader {
    pub(super) fn new(options: &Options) -> Reader {
        Reader {
            random: options.seed.stream("connect read"),
            peek: options.peek,
            ancillary: options.ancillary,
            inq: 0,
            expects_end: false,
        }
    }

    /// Reads once, at most what `buffer` holds; 0 is the end of the stream.
    pub(super) fn read(&mut self, socket: &Socket, buffer: &mut [u8]) -> Step<io::Result<usize>> {
        let drawn = (self.random.next_u64() & SIZE_MASK) as usize;
        let size = drawn.clamp(1, buffer.len());
        let buffer = &mut buffer[..size];
        match self.peek {
            Some(Peek::SaveWith) => read_what_was_peeked(socket, buffer),
            Some(Peek::SaveAfter) => Ok(peek(socket, buffer).and_then(|_| Ok(read(socket, buffer)?))),
            None if self.ancillary.enabled => self.read_with_ancillary(socket, buffer),
            None => Ok(read(socket, buffer).map_err(io::Error::from)),
        }
    }

    fn read_with_ancillary(&mut self, socket: &Socket, buffer: &mut [u8]) -> Step<io::Result<usize>> {
        let before = self.inq;
        let (length, found) = match receive_with_ancillary(socket, buffer) {
            Ok(received) => received,
            Err(error) => return Ok(Err(error)),
        };
        if length == 0 {
            return match before {
                _ if self.expects_end || !self.ancillary.inq => Ok(Ok(0)),
                0 | 1 => Ok(Ok(0)),
                _ => Err(die(&format!("EOF but last tcp_inq hint was {before}\n"))),
            };
        }
        if self.expects_end {
            return Err(die(&format!("expected EOF, last_hint {before}, now {}\n", self.inq)));
        }
        if found.is_empty() {
            return Err(die("got no cmsg data\n"));
        }
        let stamped = found.iter().any(|item| (item.level, item.kind) == (libc::SOL_SOCKET, SO_TIMESTAMPNS_NEW));
        if self.ancillary.timestamps && !stamped {
            return Err(die("TIMESTAMPNS not present\n"));
        }
        if self.ancillary.inq {
            let inq = found.iter().find(|item| (item.level, item.kind) == (libc::IPPROTO_TCP, TCP_INQ));
            let inq = inq.and_then(|item| item.data.first_chunk()).ok_or_else(|| die("TCP_INQ not present\n"))?;
            self.inq = u32::from_ne_bytes(*inq);
            if self.inq > INQ_MAX {
                return Err(die(&format!("tcp_inq {} is larger than one kbyte\n", self.inq)));
            }
            self.check_hint(socket, before, length, buffer.len())?;
        }
        Ok(Ok(length))
    }

    /// A read that was short though more had been told of: the one byte that may be missing is the end of the stream.
    fn check_hint(&mut self, socket: &Socket, before: u32, length: usize, asked: usize) -> Step<()> {
        let before = before as usize;
        if length >= asked || before <= length {
            return Ok(());
        }
        if length + 1 == before {
            self.expects_end = true;
            return Ok(());
        }
        let next = match read(socket, &mut [0; 8192]) {
            Ok(next) => format!("{next}/Success"),
            Err(errno) => format!("-1/{}", strerror(&errno.into())),
        };
        Err(die(&format!(
            "read {length} of {asked}, last_hint was {before} tcp_inq hint now {} next_read returned {next}\n",
            self.inq
        )))
    }
}

fn peek(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK).map_err(io::Error::from)
}

/// Keeps what was peeked, and reads it away: the same bytes, or the kernel shows one thing and gives another.
fn read_what_was_peeked(socket: &Socket, buffer: &mut [u8]) -> Step<io::Result<usize>> {
    let peeked = match peek(socket, buffer) {
        Ok(peeked) => peeked,
        Err(error) => return Ok(Err(error)),
    };
    let mut scrap = vec![0; peeked];
    match read(socket, &mut scrap) {
        Err(errno) => Ok(Err(errno.into())),
        Ok(length) => match scrap[..length].iter().zip(&*buffer).position(|(read, peeked)| read != peeked) {
            None => Ok(Ok(length)),
            Some(at) => Err(die(&format!(
                "byte {at} of {length} was peeked as {:#04x} and read as {:#04x}\n",
                buffer[at], scrap[at]
            ))),
        },
    }
}

/// Writes all of `bytes` to the output.
pub(super) fn store(output: impl AsFd, bytes: &[u8]) -> Step<()> {
    let mut left = bytes;
    while !left.is_empty() {
        match write(&output, left) {
            Ok(length) => left = &left[length..],
            Err(errno) => {
                perror("write", errno);
                return Err(Exit::OUTPUT);
            }
        }
    }
    Ok(())
}
