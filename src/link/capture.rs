//! The log of a link that the kernel carries by itself, from a packet socket.
//!
//! Nobody waits for these packets, and waking up for each would slow down what is measured. So the socket is emptied now
//! and then, more often under load, and packets that did not fit are counted as missed: only lines of the log are lost.

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

use crate::case::Direction;
use crate::sys;

use super::engine::Remains;
use super::identity::{Identifier, Identity};
use super::log::{Log, Record, SNAP};
use super::packet::{ETHERNET_HEADER, View};
use super::seen::{self, Seen};
use super::stage::{Fate, Nanos};

/// How long a capture waits before it looks again, at least: while much comes.
const BUSY: Nanos = 2_000_000;

/// How long it waits at most: while nothing comes.
const IDLE: Nanos = 128_000_000;

/// The same in virtual time: most packets come while it stands still, and a look costs more than they do.
const BUSY_VIRTUAL: Nanos = 32_000_000;
const IDLE_VIRTUAL: Nanos = 512_000_000;

/// How many packets at once are much.
const MUCH: u64 = 32;

/// How much the socket is asked to hold, in bytes. An ordinary user gets less.
const BUFFER: usize = 8 << 20;

/// A packet socket that is emptied into a log.
pub(super) struct Capture {
    socket: OwnedFd,
    identifier: Identifier,
    identity: Identity,
    log: Log,
    control: Vec<u8>,
    /// When to look next, and how long after that.
    next: Nanos,
    interval: Nanos,
    /// The shortest and the longest.
    intervals: [Nanos; 2],
    /// When the relay started, on the clock that stamps packets.
    began: SystemTime,
}

impl Capture {
    /// Captures from `socket`, which is bound to the device at the left end of a link; `in_virtual` time or not.
    pub fn new(socket: OwnedFd, began: SystemTime, in_virtual: bool) -> Capture {
        let intervals = if in_virtual { [BUSY_VIRTUAL, IDLE_VIRTUAL] } else { [BUSY, IDLE] };
        // Each of these makes the log better; it is a log without them, too.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &BUFFER));
        let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
        let _ = SockRef::from(&socket).attach_filter(&headers_only());
        Capture {
            socket,
            identifier: Identifier::for_capture(),
            identity: Identity::default(),
            log: Log::default(),
            control: seen::control(),
            next: intervals[0],
            interval: intervals[0],
            intervals,
            began,
        }
    }

    /// When it wants to look next.
    pub fn next(&self) -> Nanos {
        self.next
    }

    /// Looks, where it is time to. Returns how many packets there were.
    pub fn look(&mut self, now: Nanos) -> u64 {
        if now < self.next {
            return 0;
        }
        let packets = self.drain();
        let [busy, idle] = self.intervals;
        self.interval = if packets > MUCH { busy } else { (self.interval * 2).min(idle) };
        self.next = now + self.interval;
        packets
    }

    /// Empties the socket.
    fn drain(&mut self) -> u64 {
        let mut packets = 0;
        let mut buffer = [0; SNAP];
        loop {
            match self.receive(&mut buffer) {
                Ok((length, direction, at)) => {
                    self.note(&buffer[..length], direction, at);
                    packets += 1;
                }
                Err(Errno::EINTR) => {}
                Err(_) => return packets,
            }
        }
    }

    /// One frame, as far as it fits into the buffer: its length, its direction and when the kernel saw it.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, Direction, Nanos), Errno> {
        let Seen { length, outgoing, at, .. } = seen::receive(&self.socket, buffer, &mut self.control)?;
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let direction = if outgoing { Direction::Forward } else { Direction::Backward };
        Ok((length, direction, at.saturating_sub(began).as_nanos() as Nanos))
    }

    fn note(&mut self, frame: &[u8], direction: Direction, at: Nanos) {
        let view = View::of(frame);
        self.identifier.identify(direction, &view, frame, &mut self.identity);
        let mut record = Record::new(at, direction, &self.identity, &view, frame, Fate::default(), at);
        let whole = ETHERNET_HEADER as u32 + view.flippable.end / 8;
        record.length = record.length.max(whole);
        self.log.push(record);
    }

    /// The last look: what was seen, and how many packets were missed.
    pub fn finish(mut self) -> (Remains, u64) {
        self.drain();
        let missed = sys::packet::drops(&self.socket).unwrap_or(0);
        (Remains { log: self.log, flows: self.identifier.flows(), ..Remains::default() }, u64::from(missed))
    }
}

/// A classic BPF program that keeps the headers of TCP segments over IPv4 and IPv6, and the first [`SNAP`] bytes of
/// everything else. A super-packet so cut takes a hundredth of the room in the socket.
fn headers_only() -> [SockFilter; 20] {
    use libc::{
        BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX,
        BPF_MSH, BPF_RET, BPF_RSH, BPF_X,
    };
    let op = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    [
        op(BPF_LD | BPF_H | BPF_ABS, 0, 0, 12),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 9, 0x0800),
        // IPv4: where the TCP header begins, and how long that is.
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 23),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 15, 6),
        op(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14),
        op(BPF_LD | BPF_B | BPF_IND, 0, 0, 26),
        op(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xf0),
        op(BPF_ALU | BPF_RSH | BPF_K, 0, 0, 2),
        op(BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0),
        op(BPF_ALU | BPF_ADD | BPF_K, 0, 0, 14),
        op(BPF_RET | BPF_A, 0, 0, 0),
        // IPv6.
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 7, 0x86dd),
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 20),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, 6),
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 66),
        op(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xf0),
        op(BPF_ALU | BPF_RSH | BPF_K, 0, 0, 2),
        op(BPF_ALU | BPF_ADD | BPF_K, 0, 0, 54),
        op(BPF_RET | BPF_A, 0, 0, 0),
        op(BPF_RET | BPF_K, 0, 0, SNAP as u32),
    ]
}
