//! Every way into a socket and out of it, over real connections.

use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use socket2::Socket;

use super::options;
use super::wire::{Job, Wire};
use crate::case::{Io, Receiving, Sending};
use crate::copier::{Ended, Plan, Progress, Socket as _, drive};
use crate::observation::Story;
use crate::payload::{Checker, Payload, Sender, StreamId};
use crate::seed::Seed;

const SEED: Seed = Seed(12);

fn tcp_pair() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = Socket::from(TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection"));
    let server = Socket::from(listener.accept().expect("its other end").0);
    for socket in [&client, &server] {
        socket.set_nonblocking(true).expect("not blocking");
    }
    (client, server)
}

fn wire(socket: Socket, io: Io, total: u64, incoming: u64) -> (Wire, Story) {
    let mut story = Story::default();
    let io = options::set_for_io(&socket, io, &mut story);
    (Wire::new(socket, Job { io, total, incoming, ..Job::default() }).expect("a wire"), story)
}

/// Copies one end of a connection, and checks what it reads.
fn copy(socket: Socket, io: Io, name: &'static str, sender: Sender, sends: u64, incoming: u64) -> Story {
    let (mut wire, mut story) = wire(socket, io, sends, incoming);
    let payload = Payload::new(SEED, StreamId { sender, connection: 0 });
    let mut checker = Checker::new(SEED, StreamId { sender: sender.peer(), connection: 0 }, incoming);
    let (stop, _held) = UnixStream::pair().expect("a pair");
    let outcome = drive(
        Plan { send: sends, seed: SEED, name, ..Plan::default() },
        &mut wire,
        &mut |offset, buffer| payload.fill(offset, buffer),
        &mut |bytes| {
            checker.feed(bytes);
            ControlFlow::Continue(())
        },
        &Progress::new(),
        OwnedFd::from(stop).as_fd(),
    );
    assert_eq!((outcome.ended, checker.finish(true)), (Ended::Done, None), "{io:?}");
    wire.tell(&mut story);
    story
}

/// Both ends of a connection with the same ways.
fn both(io: Io) -> [Story; 2] {
    const TO_SERVER: u64 = 700_001;
    const TO_CLIENT: u64 = 90_000;
    let (client, server) = tcp_pair();
    std::thread::scope(|scope| {
        let client = scope.spawn(move || copy(client, io, "client", Sender::Client, TO_SERVER, TO_CLIENT));
        let server = scope.spawn(move || copy(server, io, "server", Sender::Server, TO_CLIENT, TO_SERVER));
        [client, server].map(|end| end.join().expect("no panic"))
    })
}

#[test]
fn bytes_arrive_by_every_way_and_nothing_is_contradicted() {
    for send in Sending::ALL {
        for receive in Receiving::ALL {
            for beside in [false, true] {
                let io = Io { send, receive, timestamps: beside, inq: beside };
                for story in both(io) {
                    assert_eq!(story.contradictions, [], "{io:?}");
                    assert_eq!(story.refused_options, Vec::<String>::new(), "{io:?}");
                }
            }
        }
    }
}

#[test]
fn each_way_makes_its_own_calls() {
    let calls = |io: Io| both(io)[0].calls.clone();
    let sends = |send, call: &str| calls(Io { send, ..Io::default() }).get(call).copied().unwrap_or(0);
    assert_eq!(calls(Io::default()).len(), 0);
    assert!(sends(Sending::Gather, "sendmsg") > 0);
    assert!(sends(Sending::Sendfile, "sendfile") > 0);
    assert!(sends(Sending::Splice, "splice to the socket") > 0);
    assert!(sends(Sending::Zerocopy, "zerocopy") > 0);
    let receives = |receive, call: &str| calls(Io { receive, ..Io::default() }).get(call).copied().unwrap_or(0);
    assert!(receives(Receiving::Scatter, "recvmsg") > 0);
    assert!(receives(Receiving::WaitAll, "recv with MSG_WAITALL") > 0);
    assert!(receives(Receiving::SaveWithPeek, "peek") > 0);
    assert!(receives(Receiving::Splice, "splice from the socket") > 0);
    let beside = calls(Io { timestamps: true, inq: true, ..Io::default() });
    assert!(beside.get("TCP_INQ").is_some_and(|count| *count > 0), "{beside:?}");
}

/// How many transfers the kernel gets to say something in.
const TRIES: u32 = 50;

#[test]
fn the_kernel_says_when_it_is_done_with_the_pages_of_zerocopy() {
    // It says so in its own time: a transfer may be over before the first word of it.
    let completed = || {
        let [story, _] = both(Io { send: Sending::Zerocopy, ..Io::default() });
        story.calls.get("zerocopy completed").copied().unwrap_or(0)
    };
    assert!((0..TRIES).any(|_| completed() > 0), "not in {TRIES} transfers");
}

/// What the peer reads of a page that is written over right after it was sent.
fn after_spoiling(send: Sending) -> Vec<u8> {
    let (client, server) = tcp_pair();
    let (mut client, _) = wire(client, Io { send, ..Io::default() }, 1000, 0);
    let taken = client.write(&[7; 1000]).expect("room for a page");
    client.spoil(taken);
    server.set_nonblocking(false).expect("blocking");
    let mut got = vec![0; taken];
    std::io::Read::read_exact(&mut &server, &mut got).expect("the page");
    got
}

#[test]
fn sendfile_and_splice_send_the_pages_themselves_and_not_copies() {
    for send in [Sending::Sendfile, Sending::Splice] {
        assert!(after_spoiling(send).iter().all(|byte| *byte == 0xEE), "{send} has copied");
    }
    for send in [Sending::Send, Sending::Gather, Sending::Mmap] {
        assert!(after_spoiling(send).iter().all(|byte| *byte == 7), "{send} has not copied");
    }
}

#[test]
fn a_pipe_that_holds_more_than_the_socket_takes_loses_nothing() {
    let (client, server) = tcp_pair();
    client.set_send_buffer_size(4608).expect("a small buffer");
    server.set_recv_buffer_size(2304).expect("a small buffer");
    let io = Io { send: Sending::Splice, receive: Receiving::Splice, ..Io::default() };
    std::thread::scope(|scope| {
        let client = scope.spawn(move || copy(client, io, "client", Sender::Client, 300_000, 0));
        let server = scope.spawn(move || copy(server, io, "server", Sender::Server, 0, 300_000));
        [client, server].map(|end| end.join().expect("no panic"))
    });
}
