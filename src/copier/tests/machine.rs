//! The machine in a scripted environment: what it answers, step by step.

use std::time::Duration;

use nix::errno::Errno;

use crate::case::{Chunks, Pattern, Pause};
use crate::copier::Action::{Finish, Read, ShutDown, Wait, Write};
use crate::copier::{Action, CALLS, Copier, Ended, Event, Plan, Ready, When};

const READABLE: Ready = Ready { read: true, write: false, hung_up: false };
const WRITABLE: Ready = Ready { read: false, write: true, hung_up: false };
const NOTHING: Ready = Ready { read: false, write: false, hung_up: false };
const HUNG_UP: Ready = Ready { read: false, write: false, hung_up: true };

const WHOLE: usize = 65536;

fn woken(ms: u64, ready: Ready) -> Event {
    Event::Woken { now: Duration::from_millis(ms), ready }
}

fn wait(read: bool, write: bool, until_ms: Option<u64>) -> Action {
    Wait { read, write, until: until_ms.map(Duration::from_millis) }
}

/// Steps the machine through events, each with the action it must answer.
fn walk(plan: Plan, steps: &[(Event, Action)]) -> Copier {
    let mut copier = Copier::new(plan);
    for (number, (event, action)) in steps.iter().enumerate() {
        assert_eq!(copier.step(*event), *action, "step {number}, after {event:?}");
    }
    copier
}

fn pauses(pauses: &[(u64, u64)]) -> Chunks {
    let pause = |(at, ms): &(u64, u64)| Pause { at: *at, lasts: Duration::from_millis(*ms) };
    Chunks { pauses: pauses.iter().map(pause).collect(), ..Chunks::default() }
}

#[test]
fn an_empty_plan_shuts_down_and_reads_the_end() {
    let copier = walk(
        Plan::default(),
        &[
            (woken(0, NOTHING), ShutDown),
            (Event::ShutDown(Ok(())), wait(true, false, None)),
            (woken(1, READABLE), Read { at_most: WHOLE }),
            (Event::Read(Ok(0)), Finish(Ended::Done)),
        ],
    );
    assert_eq!(copier.state(), "done");
}

#[test]
fn a_short_write_goes_on_where_the_socket_stopped() {
    walk(
        Plan { send: 100, ..Plan::default() },
        &[
            (woken(0, NOTHING), wait(true, true, None)),
            (woken(1, WRITABLE), Write { offset: 0, length: 100 }),
            (Event::Written(Ok(30)), Write { offset: 30, length: 70 }),
            (Event::Written(Err(Errno::EINTR)), Write { offset: 30, length: 70 }),
            (Event::Written(Err(Errno::EAGAIN)), wait(true, true, None)),
            (woken(2, WRITABLE), Write { offset: 30, length: 70 }),
            (Event::Written(Ok(70)), ShutDown),
        ],
    );
}

#[test]
fn reading_and_writing_take_turns_and_then_wait() {
    let plan = Plan { send: u64::from(u32::MAX), ..Plan::default() };
    let mut copier = Copier::new(plan);
    let mut action = copier.step(woken(0, Ready { read: true, write: true, hung_up: false }));
    for call in 0..CALLS {
        let event = match action {
            Read { .. } if call % 2 == 0 => Event::Read(Ok(1)),
            Write { .. } if call % 2 == 1 => Event::Written(Ok(1)),
            other => panic!("call {call} is {other:?}"),
        };
        action = copier.step(event);
    }
    assert_eq!(action, wait(true, true, None));
}

#[test]
fn calls_end_where_a_rest_begins_and_the_other_direction_goes_on() {
    let plan = Plan { send: 50, write: pauses(&[(10, 5)]), read: pauses(&[(0, 2)]), ..Plan::default() };
    let copier = walk(
        plan,
        &[
            (woken(0, NOTHING), wait(false, true, Some(2))),
            (woken(1, WRITABLE), Write { offset: 0, length: 10 }),
            (Event::Written(Ok(10)), wait(false, false, Some(2))),
            (woken(2, NOTHING), wait(true, false, Some(6))),
            (woken(3, READABLE), Read { at_most: WHOLE }),
            (Event::Read(Ok(9)), Read { at_most: WHOLE }),
            (Event::Read(Err(Errno::EAGAIN)), wait(true, false, Some(6))),
            (woken(6, NOTHING), wait(true, true, None)),
            (woken(6, WRITABLE), Write { offset: 10, length: 40 }),
        ],
    );
    assert!(!copier.is_pausing());
    assert_eq!(copier.state(), "reading and writing");
}

#[test]
fn bursts_rest_after_each_burst() {
    let rest = Duration::from_millis(3);
    let pattern = Pattern::Bursts { chunk: 6, every: 10, rest };
    let write = Chunks { pattern, pauses: Vec::new() };
    walk(
        Plan { send: 15, write, ..Plan::default() },
        &[
            (woken(0, WRITABLE), Write { offset: 0, length: 6 }),
            (Event::Written(Ok(6)), Write { offset: 6, length: 4 }),
            (Event::Written(Ok(4)), wait(true, false, Some(3))),
            (woken(3, NOTHING), wait(true, true, None)),
            (woken(4, WRITABLE), Write { offset: 10, length: 5 }),
            (Event::Written(Ok(5)), ShutDown),
        ],
    );
}

#[test]
fn nothing_is_sent_before_the_peers_end_if_the_plan_says_so() {
    let plan = Plan { send: 5, start: When::AfterEnd, pause: Duration::from_millis(4), ..Plan::default() };
    walk(
        plan,
        &[
            (woken(0, WRITABLE), wait(true, false, None)),
            (woken(1, READABLE), Read { at_most: WHOLE }),
            (Event::Read(Ok(0)), wait(false, true, None)),
            (woken(2, WRITABLE), Write { offset: 0, length: 5 }),
            (Event::Written(Ok(5)), wait(false, false, Some(6))),
            (woken(6, NOTHING), ShutDown),
            (Event::ShutDown(Ok(())), Finish(Ended::Done)),
        ],
    );
}

#[test]
fn the_shutdown_waits_for_the_peers_end_if_the_plan_says_so() {
    let copier = walk(
        Plan { send: 5, shut_down: When::AfterEnd, ..Plan::default() },
        &[(woken(0, WRITABLE), Write { offset: 0, length: 5 }), (Event::Written(Ok(5)), wait(true, false, None))],
    );
    assert_eq!(copier.state(), "waiting for the peer's end");
}

#[test]
fn a_hang_up_is_looked_into_by_the_next_call() {
    let failed = Ended::Failed { call: "recv", errno: Errno::ECONNRESET };
    let copier = walk(
        Plan { send: 5, ..Plan::default() },
        &[
            (woken(0, HUNG_UP), Read { at_most: WHOLE }),
            (Event::Read(Err(Errno::ECONNRESET)), Finish(failed)),
            (woken(1, NOTHING), Finish(failed)),
        ],
    );
    assert_eq!(copier.state(), "reading and writing");
}

#[test]
fn the_size_of_a_call_depends_on_its_offset_alone() {
    let write = Chunks { pattern: Pattern::Uniform { min: 1, max: 5000 }, pauses: Vec::new() };
    let plan = Plan { send: 1 << 30, write, ..Plan::default() };
    let size_at_7000 = |first: usize| {
        let mut copier = Copier::new(plan.clone());
        let mut action = copier.step(woken(0, WRITABLE));
        loop {
            action = match action {
                Write { offset: 7000, length } => return length,
                Write { offset, length } => {
                    copier.step(Event::Written(Ok(length.min(first).min((7000 - offset) as usize))))
                }
                _ => copier.step(woken(0, WRITABLE)),
            }
        }
    };
    assert_eq!(size_at_7000(1), size_at_7000(4000));
}

#[test]
fn a_copier_leaves_at_its_offsets_and_no_byte_later() {
    let plan = Plan { send: 1000, leave: Some((300, 70)), ..Plan::default() };
    let mut copier = Copier::new(plan);
    let ready = Ready { read: true, write: true, hung_up: false };
    let mut action = copier.step(Event::Woken { now: Duration::ZERO, ready });
    for _ in 0..10 {
        action = copier.step(match action {
            Action::Wait { .. } => Event::Woken { now: Duration::ZERO, ready },
            Action::Read { at_most } => Event::Read(Ok(at_most.min(50))),
            Action::Write { length, .. } => Event::Written(Ok(length.min(200))),
            Action::ShutDown => panic!("nothing is sent in full"),
            Action::Finish(ended) => {
                assert_eq!((ended, copier.sent(), copier.received()), (Ended::Left, 300, 70));
                return;
            }
        });
        // Neither offset is passed while the other is not reached.
        assert!(copier.sent() <= 300 || copier.received() < 70, "{} {}", copier.sent(), copier.received());
    }
    panic!("it never left: {action:?}");
}
