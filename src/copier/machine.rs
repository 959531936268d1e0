//! The copy machine: events in, actions out.

use std::time::Duration;

use nix::errno::Errno;

use super::cut::Cutter;
use super::{Ended, Outcome, Plan, When};
use crate::case::Chunks;

/// The most calls between two waits: reading and writing take turns, and the driver gets to see its stop descriptor.
pub const CALLS: u32 = 16;

/// What happened: the answer to the last [`Action`]. The first event of all is [`Event::Woken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to [`Action::Wait`]: something is ready, the time has come, or neither.
    Woken {
        /// The time, on any clock that never goes back.
        now: Duration,
        /// What the socket is ready for.
        ready: Ready,
    },
    /// The answer to [`Action::Read`]: how many bytes came (0: the end of the stream), or why none did.
    Read(Result<usize, Errno>),
    /// The answer to [`Action::Write`]: how many bytes the socket took, or why none.
    Written(Result<usize, Errno>),
    /// The answer to [`Action::ShutDown`].
    ShutDown(Result<(), Errno>),
    /// Waiting failed.
    PollFailed(Errno),
    /// Somebody wants the copier to stop. May come instead of any other event.
    Stop,
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A read would not block.
    pub read: bool,
    /// A write would not block.
    pub write: bool,
    /// The connection is gone: whatever is called will say why.
    pub hung_up: bool,
}

/// What to do next. Each is answered by one [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait until the socket is ready for what is wanted, or has hung up while anything is wanted, or until the time
    /// has come. Either something is wanted or there is such a time.
    Wait {
        /// Whether to wait for something to read.
        read: bool,
        /// Whether to wait for room to write.
        write: bool,
        /// When to wake up in any case, on the clock of [`Event::Woken`].
        until: Option<Duration>,
    },
    /// Read once, without blocking.
    Read {
        /// The most bytes to read, at least 1.
        at_most: usize,
    },
    /// Write once, without blocking.
    Write {
        /// The offset in the stream of the first byte.
        offset: u64,
        /// How many bytes, at least 1.
        length: usize,
    },
    /// Shut down the sending side.
    ShutDown,
    /// Nothing more to do. Comes again, whatever happens.
    Finish(Ended),
}

/// The states that a copier can be in, as its [`state`](Copier::state) tells them.
pub const STATES: [&str; 7] =
    ["reading and writing", "reading", "writing", "pausing", "waiting for the peer's end", "shutting down", "done"];

/// One direction of the connection.
#[derive(Clone, Debug)]
struct Side {
    cutter: Cutter,
    /// How many bytes have gone through.
    moved: u64,
    /// The size of the call at `moved`, once drawn.
    size: Option<usize>,
    /// The end of the rest it takes, if it takes one.
    rests_until: Option<Duration>,
    /// Whether a call may be tried: waiting said so, and no call has said otherwise since.
    ready: bool,
}

impl Side {
    fn new(plan: &Plan, chunks: &Chunks, call: &str) -> Side {
        let random = plan.seed.stream(&format!("{} {call}", plan.name));
        Side { cutter: Cutter::new(chunks, random), moved: 0, size: None, rests_until: None, ready: false }
    }

    fn size(&mut self) -> usize {
        *self.size.get_or_insert_with(|| self.cutter.size(self.moved))
    }

    fn advance(&mut self, by: usize) {
        self.moved += by as u64;
        self.size = None;
    }

    fn rest(&mut self, now: Duration, lasts: Duration) {
        if !lasts.is_zero() {
            self.rests_until = Some(now.saturating_add(lasts));
        }
    }

    /// Ends the rest if it is over. Says whether it did.
    fn wake(&mut self, now: Duration) -> bool {
        self.rests_until.take_if(|until| *until <= now).is_some()
    }
}

/// What the machine last asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Wait,
    Read(usize),
    Write(usize),
    ShutDown,
    Finish,
}

/// The copy machine.
#[derive(Clone, Debug)]
pub struct Copier {
    send: u64,
    start: When,
    shut_down_when: When,
    pause: Duration,
    leave: Option<(u64, u64)>,
    reader: Side,
    writer: Side,
    /// Whether the first event has come.
    woken: bool,
    /// Whether sending has begun.
    started: bool,
    end_of_stream: bool,
    shut_down: bool,
    ended: Option<Ended>,
    now: Duration,
    asked: Asked,
    calls_left: u32,
    reads_next: bool,
    moves: u64,
}

impl Copier {
    /// A machine for this plan. The first event it expects is [`Event::Woken`].
    pub fn new(plan: Plan) -> Copier {
        Copier {
            send: plan.send,
            start: plan.start,
            shut_down_when: plan.shut_down,
            pause: plan.pause,
            leave: plan.leave.map(|(sent, received)| (sent.min(plan.send), received)),
            reader: Side::new(&plan, &plan.read, "read"),
            writer: Side::new(&plan, &plan.write, "write"),
            woken: false,
            started: false,
            end_of_stream: false,
            shut_down: false,
            ended: None,
            now: Duration::ZERO,
            asked: Asked::Wait,
            calls_left: 0,
            reads_next: true,
            moves: 0,
        }
    }

    /// Takes what happened, says what to do next.
    ///
    /// # Panics
    /// Where the event does not answer the last action, or tells of more bytes than were asked for: a mistake of the
    /// driver.
    pub fn step(&mut self, event: Event) -> Action {
        if self.ended.is_none() {
            self.take(event);
        }
        let action = self.decide();
        self.asked = match action {
            Action::Wait { .. } => Asked::Wait,
            Action::Read { at_most } => Asked::Read(at_most),
            Action::Write { length, .. } => Asked::Write(length),
            Action::ShutDown => Asked::ShutDown,
            Action::Finish(_) => Asked::Finish,
        };
        action
    }

    /// How many bytes the socket has taken.
    pub fn sent(&self) -> u64 {
        self.writer.moved
    }

    /// How many bytes have been read.
    pub fn received(&self) -> u64 {
        self.reader.moved
    }

    /// Grows whenever bytes move, a planned rest ends, the sending side is shut down or the peer's end is read.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Whether it rests, in either direction, because its plan says so.
    pub fn is_pausing(&self) -> bool {
        self.reader.rests_until.is_some() || self.writer.rests_until.is_some()
    }

    /// Where it is: one of [`STATES`]. A direction that rests does not show as long as the other one works.
    pub fn state(&self) -> &'static str {
        STATES[self.state_index()]
    }

    /// The place of the state in [`STATES`].
    pub(super) fn state_index(&self) -> usize {
        let waits_for_end = self.shut_down || self.started && self.writer.moved == self.send && !self.writer_rests();
        match (self.wants_read(), self.wants_write()) {
            _ if self.may_shut_down() => 5,
            (true, true) => 0,
            (true, false) if waits_for_end => 4,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) if self.is_pausing() => 3,
            (false, false) => 6,
        }
    }

    /// What has come of the plan, having ended like this.
    pub fn outcome(&self, ended: Ended) -> Outcome {
        Outcome {
            sent: self.sent(),
            received: self.received(),
            shut_down: self.shut_down,
            end_of_stream: self.end_of_stream,
            ended,
            state: self.state(),
        }
    }

    fn take(&mut self, event: Event) {
        match (event, self.asked) {
            (Event::Stop, _) => self.ended = Some(Ended::Stopped),
            (Event::PollFailed(errno), _) => self.fail("poll", errno),
            (Event::Woken { now, ready }, Asked::Wait) => self.wake(now, ready),
            (Event::Read(result), Asked::Read(at_most)) => self.take_read(result, at_most),
            (Event::Written(result), Asked::Write(length)) => self.take_written(result, length),
            (Event::ShutDown(result), Asked::ShutDown) => self.take_shut_down(result),
            (event, asked) => panic!("{event:?} does not answer {asked:?}"),
        }
    }

    fn wake(&mut self, now: Duration, ready: Ready) {
        self.now = self.now.max(now);
        self.calls_left = CALLS;
        self.reader.ready = ready.read || ready.hung_up;
        self.writer.ready = ready.write || ready.hung_up;
        for side in [&mut self.reader, &mut self.writer] {
            self.moves += u64::from(side.wake(self.now));
        }
        if !self.woken {
            self.woken = true;
            self.reader.rest(self.now, self.reader.cutter.rest(0));
            if self.start == When::AtOnce {
                self.start_writing();
            }
        }
    }

    fn start_writing(&mut self) {
        self.started = true;
        self.rest_writer();
    }

    /// The rest at the offset where writing has got to; after the last byte, the one before the shutdown too.
    fn rest_writer(&mut self) {
        let last = if self.writer.moved == self.send { self.pause } else { Duration::ZERO };
        let lasts = self.writer.cutter.rest(self.writer.moved).saturating_add(last);
        self.writer.rest(self.now, lasts);
    }

    fn take_read(&mut self, result: Result<usize, Errno>, at_most: usize) {
        match result {
            Ok(0) => {
                self.end_of_stream = true;
                self.moves += 1;
                if !self.started {
                    self.start_writing();
                }
            }
            Ok(length) => {
                assert!(length <= at_most, "{length} bytes were read where {at_most} were asked for");
                self.reader.advance(length);
                self.reader.rest(self.now, self.reader.cutter.rest(self.reader.moved));
                self.moves += 1;
            }
            Err(Errno::EAGAIN) => self.reader.ready = false,
            Err(Errno::EINTR) => {}
            Err(errno) => self.fail("recv", errno),
        }
    }

    fn take_written(&mut self, result: Result<usize, Errno>, length: usize) {
        match result {
            // A socket that takes nothing and gives no reason has no room.
            Ok(0) | Err(Errno::EAGAIN) => self.writer.ready = false,
            Ok(taken) => {
                assert!(taken <= length, "{taken} bytes were written where {length} were offered");
                self.writer.advance(taken);
                self.rest_writer();
                self.moves += 1;
            }
            Err(Errno::EINTR) => {}
            Err(errno) => self.fail("send", errno),
        }
    }

    fn take_shut_down(&mut self, result: Result<(), Errno>) {
        match result {
            Ok(()) => {
                self.shut_down = true;
                self.moves += 1;
            }
            Err(Errno::EINTR) => {}
            Err(errno) => self.fail("shutdown", errno),
        }
    }

    fn fail(&mut self, call: &'static str, errno: Errno) {
        self.ended = Some(Ended::Failed { call, errno });
    }

    fn decide(&mut self) -> Action {
        if self.shut_down && self.end_of_stream && self.ended.is_none() {
            self.ended = Some(Ended::Done);
        }
        if self.may_leave() && self.ended.is_none() {
            self.ended = Some(Ended::Left);
        }
        if let Some(ended) = self.ended {
            return Action::Finish(ended);
        }
        if self.calls_left > 0 {
            self.calls_left -= 1;
            if self.may_shut_down() {
                return Action::ShutDown;
            }
            let can_read = self.reader.ready && self.wants_read();
            let can_write = self.writer.ready && self.wants_write();
            if can_read || can_write {
                let reads = can_read && (self.reads_next || !can_write);
                self.reads_next = !reads;
                return if reads { self.read() } else { self.write() };
            }
        }
        self.wait()
    }

    fn read(&mut self) -> Action {
        let room =
            self.leave.and_then(|(_, received)| received.checked_sub(self.reader.moved)).filter(|room| *room > 0);
        let size = self.reader.size();
        Action::Read { at_most: room.map_or(size, |room| usize::try_from(room).map_or(size, |room| room.min(size))) }
    }

    fn write(&mut self) -> Action {
        // Whoever leaves at an offset sends up to it, and no further.
        let until = self.leave.map(|(sent, _)| sent).filter(|sent| *sent > self.writer.moved).unwrap_or(self.send);
        let left = until - self.writer.moved;
        let size = self.writer.size();
        let length = usize::try_from(left).map_or(size, |left| size.min(left));
        Action::Write { offset: self.writer.moved, length }
    }

    fn wait(&self) -> Action {
        // A shutdown that was interrupted as the last call of this round goes on in the next one.
        let at_once = self.may_shut_down().then_some(self.now);
        let until = [at_once, self.reader.rests_until, self.writer.rests_until].into_iter().flatten().min();
        Action::Wait { read: self.wants_read(), write: self.wants_write(), until }
    }

    /// Whether it is time to leave. A stream that has ended brings no more bytes to wait for.
    fn may_leave(&self) -> bool {
        self.leave.is_some_and(|(sent, received)| {
            self.writer.moved >= sent && (self.reader.moved >= received || self.end_of_stream)
        })
    }

    fn wants_read(&self) -> bool {
        !self.end_of_stream && self.reader.rests_until.is_none()
    }

    fn wants_write(&self) -> bool {
        self.started && self.writer.moved < self.send && !self.writer_rests()
    }

    fn writer_rests(&self) -> bool {
        self.writer.rests_until.is_some()
    }

    fn may_shut_down(&self) -> bool {
        let in_order = self.shut_down_when == When::AtOnce || self.end_of_stream;
        self.started && self.writer.moved == self.send && !self.writer_rests() && !self.shut_down && in_order
    }
}
