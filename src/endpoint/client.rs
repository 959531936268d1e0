//! The endpoint that connects.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};

use socket2::Socket;

use super::leaving::next_round;
use super::wire::{Awaited, wait};
use super::{Errand, Interruption, failed, options, ulp};
use crate::copier::When;
use crate::observation::Story;
use crate::sys::sockopt::disconnect;

/// Meets its refusals, connects once the server listens, and copies; as often as there are rounds.
pub(super) fn run(
    errand: &Errand<'_>,
    refused: &Sender<()>,
    listening: &Receiver<()>,
    story: &mut Story,
) -> Result<(), Interruption> {
    for _ in 0..errand.case.refusals {
        match connect(errand, fresh(errand, &mut Story::default())?)? {
            Connected::Refused(_) => story.refused += 1,
            // Nobody listens yet: who answered is not the server.
            Connected::Yes(_) => return Err(Interruption::Failed("connect", io::Error::other("answered by nobody"))),
        }
    }
    let ready = refused.send(()).map_err(|_| Interruption::Stopped("waiting for the server"));
    ready.and_then(|()| listening.recv().map_err(|_| Interruption::Stopped("waiting for the server")))?;
    let rounds = errand.case.rounds;
    let mut kept = None;
    for round in 0..rounds.count {
        let socket = match kept.take() {
            Some(socket) => socket,
            None => fresh(errand, story)?,
        };
        let target = opens_by_writing(errand).then(|| errand.socket_address().into());
        let socket = match &target {
            Some(_) => socket,
            None => match connect(errand, socket)? {
                Connected::Yes(socket) => socket,
                Connected::Refused(error) => return Err(Interruption::Failed("connect", error)),
            },
        };
        options::set_late(&socket, &errand.endpoint().options, story);
        let socket = errand.copy(socket, target, round, story)?;
        if story.rounds <= round || round + 1 == rounds.count {
            return Ok(());
        }
        // An endpoint that leaves does not wait for the other, which may not finish before it has seen that.
        if story.left {
            kept = part(socket, rounds.reuse)?;
            next_round(refused, listening)?;
        } else {
            next_round(refused, listening)?;
            kept = part(socket, rounds.reuse)?;
        }
    }
    Ok(())
}

/// Whether the first bytes go with the SYN: if there are any, and they wait for nothing.
fn opens_by_writing(errand: &Errand<'_>) -> bool {
    let plan = errand.plan();
    let writes = plan.send > 0 && plan.start == When::AtOnce && plan.leave.is_none();
    errand.endpoint().options.fastopen && writes
}

/// Ends a connection. Gives its socket back for the next one, where it is to be used again.
fn part(socket: Socket, reuse: bool) -> Result<Option<Socket>, Interruption> {
    if !reuse {
        return Ok(None);
    }
    disconnect(&socket).map_err(failed("disconnect"))?;
    // An error of the old connection that nobody has read stays with the socket; the next connect must not take it for its own.
    socket.take_error().map_err(failed("getsockopt"))?;
    Ok(Some(socket))
}

enum Connected {
    Yes(Socket),
    Refused(io::Error),
}

/// A socket that was never connected.
fn fresh(errand: &Errand<'_>, story: &mut Story) -> Result<Socket, Interruption> {
    let socket = errand.socket().map_err(failed("socket"))?;
    ulp::check(&socket, errand.endpoint().protocol, story);
    options::set_early(&socket, &errand.endpoint().options, story);
    Ok(socket)
}

/// One connect, until it is through, refused or told to stop.
fn connect(errand: &Errand<'_>, socket: Socket) -> Result<Connected, Interruption> {
    let result = match socket.connect(&errand.socket_address().into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            match wait(socket.as_fd(), nix::poll::PollFlags::POLLOUT, errand.stop).map_err(failed("poll"))? {
                Awaited::Stop => return Err(Interruption::Stopped("connecting")),
                Awaited::Ready => match socket.take_error().map_err(failed("getsockopt"))? {
                    Some(error) => Err(error),
                    None => Ok(()),
                },
            }
        }
        other => other,
    };
    match result {
        Ok(()) => Ok(Connected::Yes(socket)),
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => Ok(Connected::Refused(error)),
        Err(error) => Err(Interruption::Failed("connect", error)),
    }
}
