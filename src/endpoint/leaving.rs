//! Leaving a connection early, and going on to the next one.

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use nix::poll::PollFlags;
use socket2::Socket;

use super::wire::{Awaited, wait};
use super::{Errand, Interruption, endpoint_of, failed, schedule};
use crate::case::{Leave, Manner};
use crate::copier::When;
use crate::observation::Story;
use crate::sys::sockopt::set_receive_low_water;

/// What this endpoint has to have sent and received before it leaves, where it does.
pub(super) fn offsets(errand: &Errand<'_>) -> Option<(u64, u64)> {
    let Leave { sent, received, .. } = errand.case.ending.leave.filter(|leave| leave.by == errand.side)?;
    Some((sent, received.min(endpoint_of(errand.case, errand.side.peer()).payload)))
}

/// Whether the peer leaves before its time.
pub(super) fn peer_leaves(errand: &Errand<'_>) -> bool {
    errand.case.ending.leave.is_some_and(|leave| leave.by != errand.side)
}

/// Brings a socket to where closing it is leaving in the manner of the case.
pub(super) fn prepare(errand: &Errand<'_>, socket: &Socket, story: &mut Story) -> Result<(), Interruption> {
    story.left = true;
    match errand.case.ending.leave.map(|leave| leave.how) {
        Some(Manner::Linger) => socket.set_linger(Some(Duration::ZERO)).map_err(failed("setsockopt")),
        Some(Manner::Unread) if sends_more(errand, story) => {
            // Any byte will do.
            set_receive_low_water(socket, 1).map_err(failed("setsockopt"))?;
            match wait(socket.as_fd(), PollFlags::POLLIN, errand.stop).map_err(failed("poll"))? {
                Awaited::Ready => {
                    story.unread = true;
                    Ok(())
                }
                Awaited::Stop => Err(Interruption::Stopped("waiting for bytes to leave unread")),
            }
        }
        _ => Ok(()),
    }
}

/// Whether the peer has more to send, and will: not only once it has seen the end of a stream that does not end.
fn sends_more(errand: &Errand<'_>, story: &Story) -> bool {
    let peer = errand.side.peer();
    let (start, _) = schedule(&errand.case.ending, peer);
    story.received < endpoint_of(errand.case, peer).payload && (start == When::AtOnce || story.shut_down)
}

/// Waits until the peer, too, is done with its round.
pub(super) fn next_round(say: &Sender<()>, hear: &Receiver<()>) -> Result<(), Interruption> {
    let gone = || Interruption::Stopped("waiting for the next round");
    say.send(()).map_err(|_| gone())?;
    hear.recv().map_err(|_| gone())
}
