//! Endpoints: the two programs that talk. They open sockets as the case says, let the [`crate::copier`] move
//! the bytes, and tell their [`Story`].
//!
//! An endpoint runs on a thread of its own that has entered its host's namespace. It judges nothing: an error ends its
//! story and is recorded there. [`plant`] can make it err, to test the tester.

mod client;
mod leaving;
mod options;
mod server;
mod ulp;
#[cfg(test)]
mod ways_tests;
mod wire;

pub mod feature;
pub mod plant;

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, Sender};

use nix::errno::Errno;

use crate::case::{Case, Ending, Endpoint, Family, First, Protocol, Second};
use crate::copier::{self, Ended, Plan, Progress, When};
use crate::net::diag;
use crate::observation::{CallError, Story};
use crate::payload::{self, Checker, Payload, StreamId};

use plant::{Plant, Planted};
use wire::{Job, Wire};

/// The port that servers listen on: the kernel selftest's.
pub const PORT: u16 = 12000;

/// How many bytes more than it expects an endpoint reads, and then stops: a kernel may send without an end.
const SURPLUS: u64 = 1 << 20;

/// The call that an endpoint names if it gets no memory file or no pipe to send from: a matter of the machine.
pub const PAYLOAD_FILE: &str = "memfd_create or pipe2";

/// What an endpoint has to do, and what it shares with the threads around it.
#[derive(Debug)]
pub struct Errand<'a> {
    /// The case.
    pub case: &'a Case,
    /// Which of its endpoints this is.
    pub side: payload::Sender,
    /// The address that the client connects to and the server listens on.
    pub address: IpAddr,
    /// Becomes readable when the endpoint has to stop.
    pub stop: BorrowedFd<'a>,
    /// Where it shows how far it is.
    pub progress: &'a Progress,
    /// How it errs on purpose.
    pub plant: Option<Plant>,
}

/// How the two endpoints wait for each other before they are connected, and between two rounds. One that ends drops its
/// side, which ends the wait of the other.
#[derive(Debug)]
pub enum Rendezvous {
    /// The client's side: says that all its refused connects are over, waits until the server listens.
    Client {
        /// To the server.
        refused: Sender<()>,
        /// From the server.
        listening: Receiver<()>,
    },
    /// The server's side.
    Server {
        /// From the client.
        refused: Receiver<()>,
        /// To the client.
        listening: Sender<()>,
    },
}

impl Rendezvous {
    /// Both sides of one rendezvous: the client's, the server's.
    pub fn pair() -> (Rendezvous, Rendezvous) {
        let (refused_tx, refused_rx) = std::sync::mpsc::channel();
        let (listening_tx, listening_rx) = std::sync::mpsc::channel();
        (
            Rendezvous::Client { refused: refused_tx, listening: listening_rx },
            Rendezvous::Server { refused: refused_rx, listening: listening_tx },
        )
    }
}

/// Runs an endpoint from its first socket to its last close, in the namespace of the calling thread.
pub fn run(errand: &Errand<'_>, rendezvous: Rendezvous) -> Story {
    let mut story = Story::default();
    let outcome = match rendezvous {
        Rendezvous::Client { refused, listening } => client::run(errand, &refused, &listening, &mut story),
        Rendezvous::Server { refused, listening } => server::run(errand, &refused, &listening, &mut story),
    };
    match outcome {
        Ok(()) => {}
        Err(Interruption::Stopped(state)) => story.state = state.into(),
        Err(Interruption::Failed(call, error)) => {
            story.state = format!("failed in {call}");
            story.error = Some(CallError { call: call.into(), errno: errno_name(&error), sent: 0, received: 0 });
        }
    }
    story
}

/// Why an endpoint did not come as far as copying.
enum Interruption {
    /// It was told to stop, or its peer ended, while it was doing this.
    Stopped(&'static str),
    /// This call failed.
    Failed(&'static str, std::io::Error),
}

/// Names the call in an error.
fn failed(call: &'static str) -> impl FnOnce(std::io::Error) -> Interruption {
    move |error| Interruption::Failed(call, error)
}

impl Errand<'_> {
    /// What the case says of this endpoint.
    fn endpoint(&self) -> &Endpoint {
        endpoint_of(self.case, self.side)
    }

    /// The address to connect to or to listen on, with its port.
    fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, PORT)
    }

    /// A new socket of the endpoint's protocol, non-blocking.
    fn socket(&self) -> std::io::Result<socket2::Socket> {
        let domain = match self.case.family {
            Family::V4 => socket2::Domain::IPV4,
            Family::V6 | Family::V4Mapped => socket2::Domain::IPV6,
        };
        let protocol = match self.endpoint().protocol {
            Protocol::Tcp => socket2::Protocol::TCP,
            Protocol::Mptcp => socket2::Protocol::MPTCP,
        };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(protocol))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// What the copier has to do here.
    fn plan(&self) -> Plan {
        let endpoint = self.endpoint();
        let (start, shut_down) = schedule(&self.case.ending, self.side);
        Plan {
            send: endpoint.payload,
            write: endpoint.write.clone(),
            read: endpoint.read.clone(),
            start,
            shut_down,
            pause: self.case.ending.pause,
            leave: leaving::offsets(self),
            seed: self.case.seed,
            name: self.side.name(),
        }
    }

    /// Moves the payload both ways over a connected socket, and completes the story of this round. Gives the socket back,
    /// still open. `connects_to`: it is not connected yet, and its first write does that.
    fn copy(
        &self,
        socket: socket2::Socket,
        connects_to: Option<socket2::SockAddr>,
        round: u8,
        story: &mut Story,
    ) -> Result<socket2::Socket, Interruption> {
        story.connected = true;
        // How the round before was left says nothing of this one.
        (story.left, story.unread) = (false, false);
        let seed = self.case.seed;
        let outgoing = StreamId { sender: self.side, connection: round.into() };
        let incoming = StreamId { sender: self.side.peer(), connection: round.into() };
        let expected = endpoint_of(self.case, self.side.peer()).payload;
        let payload = Payload::new(seed, outgoing);
        let mut checker = Checker::new(seed, incoming, expected);

        let plan = self.plan();
        let plant = self.plant.filter(|plant| plant.errs(self.case, self.side, round));
        let io = options::set_for_io(&socket, self.endpoint().io, story);
        ulp::check(&socket, self.endpoint().protocol, story);
        let changes = self.endpoint().changes.clone();
        let job = Job { total: plan.send, incoming: expected, io, changes, connects_to };
        let wire = match Wire::new(socket, job) {
            Ok(wire) => wire,
            Err(error) => return Err(Interruption::Failed(PAYLOAD_FILE, error)),
        };
        let mut wire = Planted::new(wire, plant, seed, plan.send, self.stop);
        let tampering = wire.tampering();
        let outcome = copier::drive(
            plan,
            &mut wire,
            &mut |offset, buffer| tampering.fill(&payload, offset, buffer),
            &mut |bytes| {
                checker.feed(bytes);
                let surplus = checker.received().saturating_sub(expected);
                if surplus > SURPLUS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
            self.progress,
            self.stop,
        );

        story.sent = outcome.sent;
        story.received = outcome.received;
        story.shut_down = outcome.shut_down;
        story.end_of_stream = outcome.end_of_stream;
        story.state = outcome.state.into();
        story.error = match outcome.ended {
            Ended::Failed { call, errno } => Some(CallError {
                call: call.into(),
                errno: format!("{errno:?}"),
                sent: outcome.sent,
                received: outcome.received,
            }),
            Ended::Done | Ended::Left | Ended::Stopped => None,
        };
        story.mismatch = checker.finish(outcome.end_of_stream);
        if story.mismatch.is_some() || story.error.is_some() {
            // Evidence, no more: without it the story is the same.
            story.sockets = diag::sockets_of_own().unwrap_or_default();
        }
        if self.endpoint().protocol == Protocol::Mptcp {
            story.mptcp = Some(wire.mptcp_state());
        }
        wire.tell(story);
        let socket = wire.into_socket();
        if outcome.ended == Ended::Left {
            leaving::prepare(self, &socket, story)?;
        }
        let over = match outcome.ended {
            Ended::Done | Ended::Left => true,
            Ended::Failed { errno, .. } => {
                let lost = [Errno::ECONNRESET, Errno::EPIPE, Errno::ENOTCONN, Errno::ECONNREFUSED].contains(&errno);
                leaving::peer_leaves(self) && lost
            }
            Ended::Stopped => false,
        };
        let right = story
            .mismatch
            .as_ref()
            .is_none_or(|mismatch| mismatch.kind == payload::Damage::Truncated && leaving::peer_leaves(self));
        story.rounds += u8::from(over && right);
        Ok(socket)
    }
}

/// When an endpoint starts to send, and when it shuts down.
fn schedule(ending: &Ending, side: payload::Sender) -> (When, When) {
    let first = match (ending.first, side) {
        (First::Both, _) => return (When::AtOnce, When::AtOnce),
        (First::Client, payload::Sender::Client) | (First::Server, payload::Sender::Server) => true,
        (First::Client, payload::Sender::Server) | (First::Server, payload::Sender::Client) => false,
    };
    match (first, ending.second) {
        (true, _) => (When::AtOnce, When::AtOnce),
        (false, Second::AtOnce) => (When::AtOnce, When::AfterEnd),
        (false, Second::AfterEnd) => (When::AfterEnd, When::AfterEnd),
    }
}

/// The endpoint of `case` on one side.
pub fn endpoint_of(case: &Case, side: payload::Sender) -> &Endpoint {
    match side {
        payload::Sender::Client => &case.client,
        payload::Sender::Server => &case.server,
    }
}

/// The kernel's name of an error: `ECONNRESET`, ...
fn errno_name(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_always_shuts_down_without_waiting_for_the_other() {
        for first in [First::Both, First::Client, First::Server] {
            for second in [Second::AtOnce, Second::AfterEnd] {
                let ending = Ending { first, second, ..Ending::default() };
                let sides = [payload::Sender::Client, payload::Sender::Server].map(|side| schedule(&ending, side));
                assert!(sides.contains(&(When::AtOnce, When::AtOnce)), "{ending:?} is a deadlock: {sides:?}");
            }
        }
    }

    #[test]
    fn the_second_side_sends_into_a_half_closed_connection_where_the_case_says_so() {
        let ending = Ending { first: First::Server, second: Second::AfterEnd, ..Ending::default() };
        assert_eq!(schedule(&ending, payload::Sender::Client), (When::AfterEnd, When::AfterEnd));
        let ending = Ending { second: Second::AtOnce, ..ending };
        assert_eq!(schedule(&ending, payload::Sender::Client), (When::AtOnce, When::AfterEnd));
    }
}
