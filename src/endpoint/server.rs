//! The endpoint that listens.

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};

use socket2::Socket;

use super::leaving::next_round;
use super::wire::{Awaited, wait};
use super::{Errand, Interruption, failed, options};
use crate::case::{Address, Topology};
use crate::observation::Story;

/// How many connections may wait to be accepted: the kernel selftest's figure.
const BACKLOG: i32 = 20;

/// Listens once the client has met its refusals, accepts a connection, and copies; as often as there are rounds.
pub(super) fn run(
    errand: &Errand<'_>,
    refused: &Receiver<()>,
    listening: &Sender<()>,
    story: &mut Story,
) -> Result<(), Interruption> {
    refused.recv().map_err(|_| Interruption::Stopped("waiting for the client"))?;

    let listener = errand.socket().map_err(failed("socket"))?;
    listener.set_reuse_address(true).map_err(failed("setsockopt"))?;
    options::set_early(&listener, &errand.endpoint().options, story);
    if errand.case.address == Address::Beyond {
        options::set_transparent(&listener).map_err(failed("setsockopt"))?;
    }
    options::set_listening(&listener, &errand.endpoint().options, story);
    listener.bind(&errand.socket_address().into()).map_err(failed("bind"))?;
    listener.listen(BACKLOG).map_err(failed("listen"))?;
    listening.send(()).map_err(|_| Interruption::Stopped("accepting"))?;

    let mut listener = Some(listener);
    let rounds = errand.case.rounds.count;
    for round in 0..rounds {
        let Some(open) = &listener else { break };
        let socket = accept(errand, open)?;
        // A join needs a listener (net/ipv4/tcp_ipv4.c, tcp_v4_rcv finds no request socket without one).
        if round + 1 == rounds && errand.case.topology == Topology::Chain {
            listener = None;
        }
        socket.set_nonblocking(true).map_err(failed("fcntl"))?;
        options::set_late(&socket, &errand.endpoint().options, story);
        drop(errand.copy(socket, None, round, story)?);
        if story.rounds <= round || round + 1 == rounds {
            break;
        }
        next_round(listening, refused)?;
    }
    Ok(())
}

/// Waits for a connection.
fn accept(errand: &Errand<'_>, listener: &Socket) -> Result<Socket, Interruption> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => return Ok(socket),
            // A connection may die between its arrival and its accept (accept(2)): the next one counts.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ECONNABORTED | libc::EINTR)) => {}
            Err(error) => return Err(Interruption::Failed("accept", error)),
        }
        match wait(listener.as_fd(), nix::poll::PollFlags::POLLIN, errand.stop).map_err(failed("poll"))? {
            Awaited::Ready => {}
            Awaited::Stop => return Err(Interruption::Stopped("accepting")),
        }
    }
}
