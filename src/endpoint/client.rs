//! The endpoint that connects.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};

use socket2::Socket;

use super::wire::{Awaited, wait};
use super::{Errand, Interruption, failed, options};
use crate::observation::Story;

/// Meets its refusals, connects once the server listens, and copies.
pub(super) fn run(
    errand: &Errand<'_>,
    refused: &Sender<()>,
    listening: &Receiver<()>,
    story: &mut Story,
) -> Result<(), Interruption> {
    for _ in 0..errand.case.refusals {
        match connect(errand, &mut Story::default())? {
            Connected::Refused(_) => story.refused += 1,
            // Nobody listens yet: who answered is not the server.
            Connected::Yes(_) => return Err(Interruption::Failed("connect", io::Error::other("answered by nobody"))),
        }
    }
    let ready = refused.send(()).map_err(|_| Interruption::Stopped("waiting for the server"));
    ready.and_then(|()| listening.recv().map_err(|_| Interruption::Stopped("waiting for the server")))?;
    match connect(errand, story)? {
        Connected::Yes(socket) => {
            options::set_late(&socket, &errand.endpoint().options, story);
            errand.copy(socket, story)
        }
        Connected::Refused(error) => Err(Interruption::Failed("connect", error)),
    }
}

enum Connected {
    Yes(Socket),
    Refused(io::Error),
}

/// One connect on a fresh socket, until it is through, refused or told to stop.
fn connect(errand: &Errand<'_>, story: &mut Story) -> Result<Connected, Interruption> {
    let socket = errand.socket().map_err(failed("socket"))?;
    options::set_early(&socket, &errand.endpoint().options, story);
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
