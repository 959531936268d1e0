//! The driver over real sockets.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use socket2::Socket as Socket2;

use crate::case::{Chunks, Pattern, Pause};
use crate::copier::{Ended, Outcome, Plan, Progress, Socket, When, drive};
use crate::payload::{Checker, Payload, Sender, StreamId};
use crate::seed::Seed;

const SEED: Seed = Seed(11);

/// Runs one end of a real connection. What it reads must be what the other end's formula says.
fn run_end(mut socket: Socket2, plan: Plan, peer_sends: u64, sender: Sender, stop: &OwnedFd) -> Outcome {
    let other = if sender == Sender::Client { Sender::Server } else { Sender::Client };
    let payload = Payload::new(SEED, StreamId { sender, connection: 0 });
    let mut checker = Checker::new(SEED, StreamId { sender: other, connection: 0 }, peer_sends);
    socket.set_nonblocking(true).unwrap();
    let progress = Progress::new();
    let outcome = drive(
        plan,
        &mut socket,
        &mut |offset, buffer| payload.fill(offset, buffer),
        &mut |bytes| {
            checker.feed(bytes);
            ControlFlow::Continue(())
        },
        &progress,
        stop.as_fd(),
    );
    assert_eq!((progress.sent(), progress.received()), (outcome.sent, outcome.received));
    assert_eq!(progress.state(), outcome.state);
    assert_eq!(checker.finish(outcome.end_of_stream), None);
    outcome
}

fn run_both(pair: (Socket2, Socket2), client: Plan, server: Plan) -> (Outcome, Outcome) {
    let (stop, _never) = never_stops();
    let (sends, peer_sends) = (client.send, server.send);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run_end(pair.0, client, peer_sends, Sender::Client, &stop));
        let server = scope.spawn(|| run_end(pair.1, server, sends, Sender::Server, &stop));
        (client.join().unwrap(), server.join().unwrap())
    })
}

/// A descriptor that becomes readable once the stream is dropped.
fn never_stops() -> (OwnedFd, UnixStream) {
    let (stop, held) = UnixStream::pair().unwrap();
    (stop.into(), held)
}

fn unix_pair() -> (Socket2, Socket2) {
    let (left, right) = UnixStream::pair().unwrap();
    (OwnedFd::from(left).into(), OwnedFd::from(right).into())
}

fn tcp_pair() -> (Socket2, Socket2) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

fn assert_done(outcome: Outcome, sent: u64, received: u64) {
    let expected = Outcome { sent, received, shut_down: true, end_of_stream: true, ended: Ended::Done, state: "done" };
    assert_eq!(outcome, expected);
}

#[test]
fn both_ends_of_a_connection_copy_everything() {
    for pair in [unix_pair(), tcp_pair()] {
        let client = Plan { send: 3_000_001, seed: SEED, name: "client", ..Plan::default() };
        let server = Plan { send: 70_000, seed: SEED, name: "server", ..Plan::default() };
        let (client, server) = run_both(pair, client, server);
        assert_done(client, 3_000_001, 70_000);
        assert_done(server, 70_000, 3_000_001);
    }
}

#[test]
fn every_pattern_copies_everything_in_both_directions() {
    let rest = Duration::from_micros(50);
    for pattern in [
        Pattern::Whole,
        Pattern::Fixed(1448),
        Pattern::Uniform { min: 1, max: 9000 },
        Pattern::PowersOfTwo { max: 65536 },
        Pattern::Dribble { bytes: 500 },
        Pattern::Bursts { chunk: 700, every: 8000, rest },
        Pattern::Around { unit: 4096 },
    ] {
        let chunks = Chunks { pattern, pauses: vec![Pause { at: 77_777, lasts: Duration::from_millis(2) }] };
        let plan = |name| Plan {
            send: 200_000,
            write: chunks.clone(),
            read: chunks.clone(),
            seed: SEED,
            name,
            ..Plan::default()
        };
        let (client, server) = run_both(tcp_pair(), plan("client"), plan("server"));
        assert_done(client, 200_000, 200_000);
        assert_done(server, 200_000, 200_000);
    }
}

#[test]
fn data_crosses_a_half_closed_connection() {
    let client = Plan { send: 100_000, ..Plan::default() };
    let server = Plan { send: 100_000, start: When::AfterEnd, shut_down: When::AfterEnd, ..Plan::default() };
    let (client, server) = run_both(tcp_pair(), client, server);
    assert_done(client, 100_000, 100_000);
    assert_done(server, 100_000, 100_000);
}

#[test]
fn a_copier_that_waits_stops_when_told() {
    let (socket, _peer) = tcp_pair();
    let (stop, held) = never_stops();
    let begin = Instant::now();
    let outcome = std::thread::scope(|scope| {
        let end = scope.spawn(|| run_end(socket, Plan { send: 10, ..Plan::default() }, 5, Sender::Client, &stop));
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
        end.join().unwrap()
    });
    assert_eq!(outcome.ended, Ended::Stopped);
    assert_eq!((outcome.sent, outcome.state), (10, "waiting for the peer's end"));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_reset_while_reading_is_a_failed_recv() {
    let (socket, peer) = tcp_pair();
    let (stop, _held) = never_stops();
    let outcome = std::thread::scope(|scope| {
        let end = scope.spawn(|| run_end(socket, Plan::default(), 5, Sender::Client, &stop));
        // The client's shutdown has arrived once this read returns.
        assert_eq!((&peer).read(&mut [0; 1]).unwrap(), 0);
        peer.set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        end.join().unwrap()
    });
    assert_eq!(outcome.ended, Ended::Failed { call: "recv", errno: Errno::ECONNRESET });
    assert!(outcome.shut_down && !outcome.end_of_stream);
}

#[test]
fn a_hang_up_during_a_rest_costs_no_cpu() {
    let (socket, peer) = unix_pair();
    let (stop, _held) = never_stops();
    let rest = Duration::from_millis(400);
    (&peer).write_all(&Payload::new(SEED, StreamId { sender: Sender::Server, connection: 0 }).bytes(0, 5)).unwrap();
    drop(peer);
    let read = Chunks { pauses: vec![Pause { at: 3, lasts: rest }], ..Chunks::default() };
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let outcome = run_end(socket, Plan { read, ..Plan::default() }, 5, Sender::Client, &stop);
    assert_done(outcome, 0, 5);
    assert!(begin.elapsed() >= rest);
    assert!(thread_cpu() - cpu < rest / 4, "{:?} of CPU time", thread_cpu() - cpu);
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// How many times the liar is believed before the copier is told to stop.
const LIES: u32 = 30;

/// A socket that poll calls readable and that never gives anything.
struct Liar {
    socket: UnixStream,
    reads: u32,
    /// Dropped to stop the copier.
    held: Option<UnixStream>,
}

impl AsFd for Liar {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Socket for Liar {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        self.held.take_if(|_| self.reads == LIES);
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn shut_down(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_socket_that_is_ready_and_never_works_is_left_alone_in_between() {
    let (socket, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(&[1]).unwrap();
    let (stop, held) = never_stops();
    let mut liar = Liar { socket, reads: 0, held: Some(held) };
    let begin = Instant::now();
    let outcome = drive(
        Plan::default(),
        &mut liar,
        &mut |_, _| {},
        &mut |_| ControlFlow::Continue(()),
        &Progress::new(),
        stop.as_fd(),
    );
    assert_eq!((outcome.ended, liar.reads), (Ended::Stopped, LIES));
    assert!(begin.elapsed() > Duration::from_millis(10), "{:?} for {LIES} reads", begin.elapsed());
}

#[test]
fn a_reader_that_has_enough_stops() {
    let (mut socket, mut peer) = unix_pair();
    peer.write_all(&[7; 100]).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (stop, _held) = never_stops();
    let mut taken = 0;
    let mut take = |bytes: &[u8]| {
        taken += bytes.len();
        if taken >= 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = drive(Plan::default(), &mut socket, &mut |_, _| {}, &mut take, &Progress::new(), stop.as_fd());
    assert_eq!((outcome.received, outcome.ended), (100, Ended::Stopped));
}

#[test]
fn a_planned_rest_shows_to_a_watcher() {
    let (mut socket, peer) = unix_pair();
    let (stop, held) = never_stops();
    let write = Chunks { pauses: vec![Pause { at: 4, lasts: Duration::from_secs(3600) }], ..Chunks::default() };
    let plan = Plan { send: 10, write, ..Plan::default() };
    let progress = Progress::new();
    socket.set_nonblocking(true).unwrap();
    let outcome = std::thread::scope(|scope| {
        let end = scope.spawn(|| {
            drive(
                plan,
                &mut socket,
                &mut |_, buffer| buffer.fill(7),
                &mut |_| ControlFlow::Continue(()),
                &progress,
                stop.as_fd(),
            )
        });
        (&peer).read_exact(&mut [0; 4]).unwrap();
        while !progress.is_pausing() {
            std::thread::yield_now();
        }
        assert_eq!((progress.sent(), progress.state()), (4, "reading"));
        drop(held);
        end.join().unwrap()
    });
    assert_eq!((outcome.sent, outcome.ended), (4, Ended::Stopped));
}
