//! Frames of devices, read and written many at a time: for worlds in which a system call costs more than the frame.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::case::Direction;
use crate::sys::aio::{Aio, Operation};

/// How many frames are read at once, from all devices together.
const SLOTS: usize = 64;
/// How many are read at once from one device that has had none for a while.
const FEW: usize = 4;

/// What is read and what is to be written.
#[derive(Debug)]
pub(super) struct Batches {
    aio: Aio,
    /// The frames of the last reads, and room for the next: what is written then lies in the former.
    rooms: [Vec<u8>; 2],
    /// How long a slot is: longer than any frame.
    slot: usize,
    outgoing: Vec<Outgoing>,
    results: Vec<Result<usize, Errno>>,
}

/// A frame on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The link that it leaves, by its place in the relay.
    pub(super) wire: usize,
    /// Where it goes.
    pub(super) direction: Direction,
    frame: Frame,
}

#[derive(Debug)]
enum Frame {
    /// In a slot of the last reads.
    Read { slot: usize, length: usize },
    /// One that has waited.
    Kept(Vec<u8>),
}

/// What an exchange came to.
#[derive(Debug)]
pub(super) struct Exchanged {
    /// What each read came to: the first of them is in slot 0.
    pub(super) read: Vec<Result<usize, Errno>>,
    /// The buffers of frames that had waited, each with its link and direction.
    pub(super) kept: Vec<(usize, Direction, Vec<u8>)>,
}

/// Some reads of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads<'a> {
    /// The device.
    pub(super) device: BorrowedFd<'a>,
    /// How many.
    pub(super) count: usize,
}

impl Batches {
    /// For devices whose frames are at most `longest` bytes long.
    ///
    /// # Errors
    /// As [`Aio::new`].
    pub(super) fn new(longest: usize) -> io::Result<Batches> {
        // A frame that fills its slot would be one that was cut.
        let slot = (longest + 1).next_multiple_of(64);
        let rooms = [vec![0; SLOTS * slot], vec![0; SLOTS * slot]];
        Ok(Batches { aio: Aio::new()?, rooms, slot, outgoing: Vec::new(), results: Vec::new() })
    }

    /// How many frames to ask of each of `devices`, of which one had `before` at the last time.
    pub(super) fn count(before: usize, devices: usize) -> usize {
        (before * 2).max(FEW).min(SLOTS / devices.max(1))
    }

    /// Whether a frame of this length was too long for its slot.
    pub(super) fn is_cut(&self, length: usize) -> bool {
        length >= self.slot
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// The frame that the last exchange has read into a slot.
    pub(super) fn frame(&mut self, slot: usize, length: usize) -> &mut [u8] {
        &mut self.rooms[0][slot * self.slot..][..length]
    }

    /// Has the frame in a slot written with the next exchange.
    pub(super) fn send(&mut self, wire: usize, direction: Direction, slot: usize, length: usize) {
        self.outgoing.push(Outgoing { wire, direction, frame: Frame::Read { slot, length } });
    }

    /// Has a frame that has waited written with the next exchange.
    pub(super) fn send_kept(&mut self, wire: usize, direction: Direction, frame: Vec<u8>) {
        self.outgoing.push(Outgoing { wire, direction, frame: Frame::Kept(frame) });
    }

    /// Writes all that waits to be written, each to the device that `to` names; then reads. Tells `written` what became of
    /// each that was written, with its frame.
    pub(super) fn exchange<'a>(
        &mut self,
        to: impl Fn(&Outgoing) -> BorrowedFd<'a>,
        reads: &[Reads<'a>],
        mut written: impl FnMut(&Outgoing, &[u8], Result<usize, Errno>),
    ) -> Exchanged {
        let (outgoing, [room, next]) = (std::mem::take(&mut self.outgoing), &mut self.rooms);
        let mut operations: Vec<Operation<'_>> = Vec::with_capacity(outgoing.len() + SLOTS);
        operations.extend(outgoing.iter().map(|one| Operation::Write(to(one), one.bytes(room, self.slot))));
        let mut slots = next.chunks_exact_mut(self.slot);
        for read in reads {
            operations.extend(slots.by_ref().take(read.count).map(|slot| Operation::Read(read.device, slot)));
        }
        self.aio.carry_out(&mut operations, &mut self.results);
        let got = self.results.split_off(outgoing.len());
        for (one, result) in outgoing.iter().zip(&self.results) {
            written(one, one.bytes(room, self.slot), *result);
        }
        self.rooms.swap(0, 1);
        let kept = outgoing.into_iter().filter_map(|one| match one.frame {
            Frame::Kept(frame) => Some((one.wire, one.direction, frame)),
            Frame::Read { .. } => None,
        });
        Exchanged { read: got, kept: kept.collect() }
    }
}

impl Outgoing {
    fn bytes<'a>(&'a self, room: &'a [u8], slot_length: usize) -> &'a [u8] {
        match &self.frame {
            Frame::Read { slot, length } => &room[slot * slot_length..][..*length],
            Frame::Kept(frame) => frame,
        }
    }
}
