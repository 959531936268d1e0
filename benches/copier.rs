//! How fast payload is made and checked, and bytes are copied: `cargo bench --bench copier`.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use whitewater::case::{Chunks, Pattern};
use whitewater::copier::{Action, Copier, Event, Plan, Progress, Ready, drive};
use whitewater::payload::{Checker, Payload, Sender, StreamId, WINDOW};
use whitewater::seed::Seed;

const SEED: Seed = Seed(1);
const CLIENT: StreamId = StreamId { sender: Sender::Client, connection: 0 };
const MIB: usize = 1 << 20;

fn main() {
    divan::main();
}

#[divan::bench(args = [1448, MIB])]
fn payload_fill(bencher: Bencher, length: usize) {
    let payload = Payload::new(SEED, CLIENT);
    let mut buffer = vec![0; length];
    bencher.counter(BytesCount::new(length)).bench_local(|| payload.fill(black_box(3), black_box(&mut buffer)));
}

#[divan::bench(args = [1448, 65536])]
fn payload_check(bencher: Bencher, chunk: usize) {
    let bytes = Payload::new(SEED, CLIENT).bytes(0, MIB);
    bencher.counter(BytesCount::new(MIB)).bench_local(|| {
        let mut checker = Checker::new(SEED, CLIENT, MIB as u64);
        for chunk in black_box(&bytes).chunks(chunk) {
            checker.feed(chunk);
        }
        checker.finish(true)
    });
}

/// The slowest diagnosis: a whole window that belongs nowhere.
#[divan::bench]
fn diagnose_garbage(bencher: Bencher) {
    let garbage = Payload::new(Seed(2), CLIENT).bytes(0, WINDOW);
    bencher.bench_local(|| {
        let mut checker = Checker::new(SEED, CLIENT, WINDOW as u64);
        checker.feed(black_box(&garbage));
        checker.finish(true)
    });
}

/// The machine by itself: 8 MiB each way, in an environment that gives what it is asked for.
#[divan::bench(args = [Pattern::Whole, Pattern::Fixed(1448), Pattern::Uniform { min: 1, max: 2896 }])]
fn copier_steps(bencher: Bencher, pattern: Pattern) {
    let chunks = Chunks { pattern, ..Chunks::default() };
    let plan = Plan { send: 8 * MIB as u64, write: chunks.clone(), read: chunks, ..Plan::default() };
    bencher
        .counter(ItemsCount::new(run_machine(&plan)))
        .with_inputs(|| plan.clone())
        .bench_local_values(|plan| run_machine(&plan));
}

fn run_machine(plan: &Plan) -> usize {
    let mut copier = Copier::new(plan.clone());
    let ready = Ready { read: true, write: true, hung_up: false };
    let mut to_read = plan.send as usize;
    let mut event = Event::Woken { now: Duration::ZERO, ready };
    for steps in 1.. {
        event = match copier.step(event) {
            Action::Wait { .. } => Event::Woken { now: Duration::ZERO, ready },
            Action::Read { at_most } => {
                let length = at_most.min(to_read);
                to_read -= length;
                Event::Read(Ok(length))
            }
            Action::Write { length, .. } => Event::Written(Ok(length)),
            Action::ShutDown => Event::ShutDown(Ok(())),
            Action::Finish(_) => return steps,
        };
    }
    unreachable!("the machine finishes")
}

/// Both ends over a socket pair, payload made and checked: 8 MiB each way.
#[divan::bench(args = [Pattern::Whole, Pattern::Fixed(1448)], sample_count = 20)]
fn drive_over_socketpair(bencher: Bencher, pattern: Pattern) {
    let chunks = Chunks { pattern, ..Chunks::default() };
    let plan = Plan { send: 8 * MIB as u64, write: chunks.clone(), read: chunks, ..Plan::default() };
    bencher.counter(BytesCount::new(16 * MIB)).bench_local(|| {
        let (left, right) = UnixStream::pair().expect("a socket pair");
        std::thread::scope(|scope| {
            scope.spawn(|| run_end(left, &plan, Sender::Client));
            run_end(right, &plan, Sender::Server);
        });
    });
}

fn run_end(socket: UnixStream, plan: &Plan, sender: Sender) {
    let (stop, _held) = UnixStream::pair().expect("a socket pair");
    let other = if sender == Sender::Client { Sender::Server } else { Sender::Client };
    let payload = Payload::new(SEED, StreamId { sender, connection: 0 });
    let mut checker = Checker::new(SEED, StreamId { sender: other, connection: 0 }, plan.send);
    let mut socket = socket2::Socket::from(OwnedFd::from(socket));
    socket.set_nonblocking(true).expect("a socket can be non-blocking");
    let outcome = drive(
        plan.clone(),
        &mut socket,
        &mut |offset, buffer| payload.fill(offset, buffer),
        &mut |bytes| {
            checker.feed(bytes);
            ControlFlow::Continue(())
        },
        &Progress::new(),
        stop.as_fd(),
    );
    assert_eq!(checker.finish(outcome.end_of_stream), None);
}
