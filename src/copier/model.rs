//! A model of the copier, for its property test and its fuzz target: an environment that answers as a script says, and
//! the rules that every action has to keep.
//!
//! The rules are written down apart from the machine: what it computes step by step is here said of the whole.

use std::time::Duration;

use arbitrary::Arbitrary;
use nix::errno::Errno;

use super::{Action, BUFFER, CALLS, Copier, Ended, Event, Plan, Ready, STATES, When};
use crate::case::{Chunks, Pattern, Pause};
use crate::payload::LENGTH;
use crate::seed::Seed;

/// How many steps a run may go on for once the script is over.
const STEPS_AFTER_SCRIPT: u32 = 256;

/// How many reads bring bytes once the script is over, before the stream ends.
const READS_AFTER_SCRIPT: u32 = 3;

/// A plan, and what the environment answers to its actions, in turn.
#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// The plan.
    pub params: Params,
    /// The answers. After the last one the environment gives whatever is asked for.
    pub script: Vec<Answer>,
}

/// A plan, in numbers that a fuzzer can make up.
#[derive(Arbitrary, Clone, Debug, Default)]
pub struct Params {
    /// How many bytes to send; too large a number is cut to size.
    pub send: u64,
    /// The writes.
    pub write: Cuts,
    /// The reads.
    pub read: Cuts,
    /// Whether to start after the peer's end.
    pub start_after_end: bool,
    /// Whether to shut down after the peer's end.
    pub shut_down_after_end: bool,
    /// The rest before the shutdown, in milliseconds.
    pub pause_ms: u16,
    /// The seed of the chunk sizes.
    pub seed: u64,
}

/// How to cut a stream, in numbers.
#[derive(Arbitrary, Clone, Debug, Default)]
pub struct Cuts {
    /// Which pattern.
    pub pattern: u8,
    /// Its first number.
    pub first: u32,
    /// Its second number.
    pub second: u32,
    /// Offset and length in milliseconds of each rest.
    pub pauses: Vec<(u32, u16)>,
}

/// What the environment answers to one action.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Answer {
    /// A call moves this many bytes and one more, as far as it asked for as many. A wait ends after as many milliseconds
    /// as the number divided by 8 says; its lowest bits say whether the socket is readable, writable, hung up.
    Part(u16),
    /// A call moves all it asked for. A wait ends at once with the socket ready for everything.
    All,
    /// A call would block. A wait ends when its time has come, or for nothing.
    Again,
    /// A call is interrupted. A wait ends for nothing.
    Interrupted,
    /// The peer's stream ends; a write takes nothing. A wait ends with the socket readable.
    Nothing,
    /// The call fails.
    Fail,
    /// The copier is told to stop.
    Stop,
}

/// A rule that was broken.
#[derive(Debug, thiserror::Error)]
#[error("step {step}: {what}, by {action:?} with {model:?}")]
pub struct Violation {
    step: u32,
    what: &'static str,
    action: Action,
    model: Box<Model>,
}

impl Params {
    /// The plan that these numbers stand for.
    pub fn plan(&self) -> Plan {
        let when = |after_end| if after_end { When::AfterEnd } else { When::AtOnce };
        Plan {
            send: self.send % LENGTH,
            write: self.write.chunks(),
            read: self.read.chunks(),
            start: when(self.start_after_end),
            shut_down: when(self.shut_down_after_end),
            pause: Duration::from_millis(self.pause_ms.into()),
            leave: None,
            seed: Seed(self.seed),
            name: "model",
        }
    }
}

impl Cuts {
    fn chunks(&self) -> Chunks {
        let (first, second) = (self.first, self.second);
        let pattern = match self.pattern % 7 {
            0 => Pattern::Whole,
            1 => Pattern::Fixed(first),
            2 => Pattern::Uniform { min: first, max: second },
            3 => Pattern::PowersOfTwo { max: first },
            4 => Pattern::Dribble { bytes: first },
            5 => Pattern::Bursts { chunk: first, every: second, rest: Duration::from_millis(2) },
            _ => Pattern::Around { unit: first },
        };
        let pause = |(at, ms): &(u32, u16)| Pause { at: (*at).into(), lasts: Duration::from_millis((*ms).into()) };
        Chunks { pattern, pauses: self.pauses.iter().map(pause).collect() }
    }
}

/// One direction, as the rules see it.
#[derive(Clone, Debug, Default)]
struct Side {
    moved: u64,
    rests_until: Option<Duration>,
    ready: bool,
    /// The size of the last call if nothing came of it.
    tried: Option<u64>,
}

impl Side {
    fn begin_rest(&mut self, now: Duration, lasts: Duration) {
        self.rests_until = (!lasts.is_zero()).then(|| now + lasts);
    }
}

/// What the rules know.
#[derive(Clone, Debug)]
struct Model {
    plan: Plan,
    now: Duration,
    reader: Side,
    writer: Side,
    started: bool,
    end_of_stream: bool,
    shut_down: bool,
    /// How the machine has to finish now.
    must_finish: Option<Ended>,
    /// Calls since the last wait.
    calls: u32,
    /// Reads that still bring bytes once the script is over.
    reads_left: u32,
}

/// Runs a plan in its environment, until it ends or for a bounded number of steps after the script.
///
/// # Errors
/// The first rule that the machine broke.
pub fn run(input: &Input) -> Result<(), Violation> {
    let plan = input.params.plan();
    let mut model = Model::new(plan.clone());
    let mut copier = Copier::new(plan);
    let mut event = model.wake(Duration::ZERO, Ready::default());
    let mut script = input.script.iter();
    let mut steps_after_script = 0;
    for step in 0.. {
        let action = copier.step(event);
        let verdict = model.check(action).and_then(|()| model.check_shown(&copier, action));
        verdict.map_err(|what| Violation { step, what, action, model: Box::new(model.clone()) })?;
        if let Action::Finish(_) = action {
            let again = copier.step(Event::Woken { now: model.now, ready: Ready::default() });
            let what = "an end that does not last";
            return if again == action {
                Ok(())
            } else {
                Err(Violation { step, what, action: again, model: model.into() })
            };
        }
        event = match script.next() {
            Some(answer) => model.answer(action, *answer),
            None if steps_after_script == STEPS_AFTER_SCRIPT => return Ok(()),
            None => {
                steps_after_script += 1;
                model.give(action)
            }
        };
    }
    Ok(())
}

impl Model {
    fn new(plan: Plan) -> Model {
        Model {
            plan,
            now: Duration::ZERO,
            reader: Side::default(),
            writer: Side::default(),
            started: false,
            end_of_stream: false,
            shut_down: false,
            must_finish: None,
            calls: 0,
            reads_left: READS_AFTER_SCRIPT,
        }
    }

    fn may_read(&self) -> bool {
        !self.end_of_stream && self.reader.rests_until.is_none()
    }

    fn may_write(&self) -> bool {
        self.started && self.writer.moved < self.plan.send && self.writer.rests_until.is_none()
    }

    fn must_shut_down(&self) -> bool {
        let in_order = self.plan.shut_down == When::AtOnce || self.end_of_stream;
        let written = self.started && self.writer.moved == self.plan.send;
        written && self.writer.rests_until.is_none() && in_order && !self.shut_down
    }

    /// Holds an action against the rules.
    fn check(&mut self, action: Action) -> Result<(), &'static str> {
        if let Action::Finish(ended) = action {
            return match self.must_finish {
                Some(must) if must == ended => Ok(()),
                Some(_) => Err("a wrong end"),
                None => Err("an early end"),
            };
        }
        rule(self.must_finish.is_none(), "no end where there must be one")?;
        match action {
            Action::Wait { read, write, until } => self.check_wait(read, write, until),
            Action::Read { at_most } => self.check_read(at_most),
            Action::Write { offset, length } => self.check_write(offset, length),
            _ => rule(self.must_shut_down(), "a shutdown out of order"),
        }?;
        self.calls += 1;
        rule(self.calls <= CALLS || matches!(action, Action::Wait { .. }), "too many calls without a wait")
    }

    fn check_wait(&self, read: bool, write: bool, until: Option<Duration>) -> Result<(), &'static str> {
        rule(read == self.may_read(), "a wait that wants to read, or does not, against the plan")?;
        rule(write == self.may_write(), "a wait that wants to write, or does not, against the plan")?;
        let interrupted = self.must_shut_down().then_some(self.now);
        let next = [interrupted, self.reader.rests_until, self.writer.rests_until].into_iter().flatten().min();
        rule(until == next, "a wait until a wrong time")?;
        rule(read || write || until.is_some(), "a wait for nothing")?;
        let idle = self.calls == 0;
        let could = self.must_shut_down() || read && self.reader.ready || write && self.writer.ready;
        rule(!(idle && could), "a wait although there is something to do")
    }

    fn check_read(&mut self, at_most: usize) -> Result<(), &'static str> {
        rule(!self.end_of_stream, "a read after the end")?;
        rule(self.may_read(), "a read during a rest")?;
        rule(self.reader.ready, "a read without being ready")?;
        check_size(&self.plan.read, &mut self.reader, at_most as u64, u64::MAX)
    }

    fn check_write(&mut self, offset: u64, length: usize) -> Result<(), &'static str> {
        rule(!self.shut_down, "a write after the shutdown")?;
        rule(self.started, "a write before the start")?;
        rule(offset == self.writer.moved, "a write at a wrong offset")?;
        rule(self.may_write(), "a write during a rest or after the last byte")?;
        rule(self.writer.ready, "a write without being ready")?;
        check_size(&self.plan.write, &mut self.writer, length as u64, self.plan.send)
    }

    /// Holds what the machine shows against what is so.
    fn check_shown(&self, copier: &Copier, action: Action) -> Result<(), &'static str> {
        rule(copier.sent() == self.writer.moved, "a wrong count of bytes sent")?;
        rule(copier.received() == self.reader.moved, "a wrong count of bytes received")?;
        let rests = self.reader.rests_until.is_some() || self.writer.rests_until.is_some();
        rule(copier.is_pausing() == rests, "a rest that does not show, or shows where there is none")?;
        rule(STATES.contains(&copier.state()), "an unknown state")?;
        rule(copier.state() != "pausing" || rests, "the state of a rest without one")?;
        let done = action == Action::Finish(Ended::Done);
        rule((copier.state() == "done") == (self.shut_down && self.end_of_stream), "a wrong state at the end")?;
        let outcome = copier.outcome(Ended::Done);
        let shown = (outcome.shut_down, outcome.end_of_stream);
        rule(shown == (self.shut_down, self.end_of_stream), "a wrong outcome")?;
        rule(!done || self.writer.moved == self.plan.send, "done before the last byte")
    }

    /// The answer of the script.
    fn answer(&mut self, action: Action, answer: Answer) -> Event {
        if let Answer::Stop = answer {
            self.must_finish = Some(Ended::Stopped);
            return Event::Stop;
        }
        match action {
            Action::Wait { until, .. } => self.answer_wait(until, answer),
            Action::Read { at_most } => self.read(match answer {
                Answer::Nothing => Ok(0),
                _ => moved(answer, at_most, Errno::ECONNRESET),
            }),
            Action::Write { length, .. } => self.written(moved(answer, length, Errno::EPIPE)),
            _ => self.has_shut_down(match answer {
                Answer::Interrupted => Err(Errno::EINTR),
                Answer::Fail => Err(Errno::ENOTCONN),
                _ => Ok(()),
            }),
        }
    }

    fn answer_wait(&mut self, until: Option<Duration>, answer: Answer) -> Event {
        let ready = |read, write, hung_up| Ready { read, write, hung_up };
        match answer {
            Answer::Part(bits) => {
                let after = Duration::from_millis(u64::from(bits >> 3));
                self.wake(self.now + after, ready(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
            }
            Answer::All => self.wake(self.now, ready(true, true, false)),
            Answer::Nothing => self.wake(self.now, ready(true, false, false)),
            Answer::Again => self.wake(until.unwrap_or(self.now), Ready::default()),
            Answer::Interrupted | Answer::Stop => self.wake(self.now, Ready::default()),
            Answer::Fail => {
                self.must_finish = Some(Ended::Failed { call: "poll", errno: Errno::ENOMEM });
                Event::PollFailed(Errno::ENOMEM)
            }
        }
    }

    /// What is asked for, from an environment that has it all.
    fn give(&mut self, action: Action) -> Event {
        match action {
            Action::Wait { read, write, until } => {
                let now = if read || write { self.now } else { until.unwrap_or(self.now) };
                self.wake(now, Ready { read, write, hung_up: false })
            }
            Action::Read { .. } if self.reads_left == 0 => self.read(Ok(0)),
            Action::Read { at_most } => {
                self.reads_left -= 1;
                self.read(Ok(at_most))
            }
            Action::Write { length, .. } => self.written(Ok(length)),
            _ => self.has_shut_down(Ok(())),
        }
    }

    fn wake(&mut self, now: Duration, ready: Ready) -> Event {
        self.now = now;
        self.calls = 0;
        self.reader.ready = ready.read || ready.hung_up;
        self.writer.ready = ready.write || ready.hung_up;
        for side in [&mut self.reader, &mut self.writer] {
            side.rests_until = side.rests_until.filter(|until| *until > now);
        }
        // The first event of all.
        if self.now.is_zero() && !self.started && self.reader.moved == 0 && self.reader.tried.is_none() {
            self.reader.begin_rest(now, rest(&self.plan.read, 0));
            self.start_at(When::AtOnce);
        }
        Event::Woken { now, ready }
    }

    fn start_at(&mut self, moment: When) {
        if !self.started && self.plan.start == moment {
            self.started = true;
            self.rest_writer();
        }
    }

    fn rest_writer(&mut self) {
        let last = if self.writer.moved == self.plan.send { self.plan.pause } else { Duration::ZERO };
        self.writer.begin_rest(self.now, rest(&self.plan.write, self.writer.moved) + last);
    }

    fn read(&mut self, result: Result<usize, Errno>) -> Event {
        match result {
            Ok(0) => {
                self.end_of_stream = true;
                self.start_at(When::AfterEnd);
            }
            Ok(length) => {
                self.reader.moved += length as u64;
                self.reader.tried = None;
                self.reader.begin_rest(self.now, rest(&self.plan.read, self.reader.moved));
            }
            Err(Errno::EAGAIN) => self.reader.ready = false,
            Err(errno) => self.fail("recv", errno),
        }
        self.may_be_done();
        Event::Read(result)
    }

    fn written(&mut self, result: Result<usize, Errno>) -> Event {
        match result {
            Ok(0) | Err(Errno::EAGAIN) => self.writer.ready = false,
            Ok(length) => {
                self.writer.moved += length as u64;
                self.writer.tried = None;
                self.rest_writer();
            }
            Err(errno) => self.fail("send", errno),
        }
        Event::Written(result)
    }

    fn has_shut_down(&mut self, result: Result<(), Errno>) -> Event {
        match result {
            Ok(()) => self.shut_down = true,
            Err(errno) => self.fail("shutdown", errno),
        }
        self.may_be_done();
        Event::ShutDown(result)
    }

    fn fail(&mut self, call: &'static str, errno: Errno) {
        if errno != Errno::EINTR {
            self.must_finish = Some(Ended::Failed { call, errno });
        }
    }

    fn may_be_done(&mut self) {
        if self.shut_down && self.end_of_stream {
            self.must_finish = Some(Ended::Done);
        }
    }
}

fn rule(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn moved(answer: Answer, most: usize, errno: Errno) -> Result<usize, Errno> {
    match answer {
        Answer::Part(less_one) => Ok(most.min(usize::from(less_one) + 1)),
        Answer::All => Ok(most),
        Answer::Nothing => Ok(0),
        Answer::Again => Err(Errno::EAGAIN),
        Answer::Interrupted | Answer::Stop => Err(Errno::EINTR),
        Answer::Fail => Err(errno),
    }
}

/// Holds the size of a call that starts at the side's offset, in a stream of `total` bytes, against its pattern.
fn check_size(chunks: &Chunks, side: &mut Side, size: u64, total: u64) -> Result<(), &'static str> {
    let offset = side.moved;
    let room = (BUFFER as u64).min(total - offset).min(to_next_rest(chunks, offset));
    rule(size >= 1, "an empty call")?;
    rule(size <= room, "a call across a rest, the end or the buffer")?;
    let (least, most) = match chunks.pattern {
        Pattern::Dribble { bytes } if offset < bytes.into() => (1, 1),
        Pattern::Whole | Pattern::Dribble { .. } => (BUFFER as u64, BUFFER as u64),
        Pattern::Fixed(size) | Pattern::Bursts { chunk: size, .. } => (size.into(), size.into()),
        Pattern::Uniform { min, max } => (min.into(), max.max(min).into()),
        Pattern::PowersOfTwo { max } => (1, max.into()),
        Pattern::Around { unit } => (u64::from(unit).saturating_sub(2), u64::from(unit) + 2),
    };
    rule(size >= least.min(room), "a call smaller than its pattern allows")?;
    rule(size <= most.max(1), "a call larger than its pattern allows")?;
    let is_power = !matches!(chunks.pattern, Pattern::PowersOfTwo { .. }) || size == room || size.is_power_of_two();
    rule(is_power, "a size that is no power of two")?;
    rule(side.tried.is_none_or(|tried| tried == size), "another size than the call that came to nothing had")?;
    side.tried = Some(size);
    Ok(())
}

/// All the rests at an offset.
fn rest(chunks: &Chunks, offset: u64) -> Duration {
    let pauses: Duration = chunks.pauses.iter().filter(|pause| pause.at == offset).map(|pause| pause.lasts).sum();
    match chunks.pattern {
        Pattern::Bursts { every: 1.., rest, .. } if offset > 0 && to_next_burst(chunks, offset - 1) == 1 => {
            pauses + rest
        }
        _ => pauses,
    }
}

/// How many bytes there are from an offset to the first rest after it.
fn to_next_rest(chunks: &Chunks, offset: u64) -> u64 {
    let pauses = chunks.pauses.iter().filter(|pause| pause.at > offset).map(|pause| pause.at - offset);
    pauses.chain([to_next_burst(chunks, offset)]).min().unwrap_or(u64::MAX)
}

fn to_next_burst(chunks: &Chunks, offset: u64) -> u64 {
    match chunks.pattern {
        Pattern::Bursts { every, .. } if every > 0 => u64::from(every) - offset % u64::from(every),
        _ => u64::MAX,
    }
}
