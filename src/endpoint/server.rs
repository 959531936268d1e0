//! The endpoint that listens.

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};

use super::wire::{Awaited, wait};
use super::{Errand, Interruption, failed, options};
use crate::case::Topology;
use crate::observation::Story;

/// How many connections may wait to be accepted: the kernel selftest's figure.
const BACKLOG: i32 = 20;

/// Listens once the client has met its refusals, accepts one connection, and copies.
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
    listener.bind(&errand.socket_address().into()).map_err(failed("bind"))?;
    listener.listen(BACKLOG).map_err(failed("listen"))?;
    listening.send(()).map_err(|_| Interruption::Stopped("accepting"))?;

    let socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            // A connection may die between its arrival and its accept (accept(2)): the next one counts.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ECONNABORTED | libc::EINTR)) => {}
            Err(error) => return Err(Interruption::Failed("accept", error)),
        }
        match wait(listener.as_fd(), nix::poll::PollFlags::POLLIN, errand.stop).map_err(failed("poll"))? {
            Awaited::Ready => {}
            Awaited::Stop => return Err(Interruption::Stopped("accepting")),
        }
    };
    // A join needs somebody who listens (net/ipv4/tcp_ipv4.c, tcp_v4_rcv finds no request socket without).
    let joins = (errand.case.topology != Topology::Chain).then_some(listener);
    socket.set_nonblocking(true).map_err(failed("fcntl"))?;
    options::set_late(&socket, &errand.endpoint().options, story);
    let result = errand.copy(socket, story);
    drop(joins);
    result
}
