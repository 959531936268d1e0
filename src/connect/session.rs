//! The listener's and the client's way through their transfers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll as wait_for};
use socket2::Socket;

use super::options::{Mode, Options};
use super::receive::Reader;
use super::send::{self, Outgoing, Writer};
use super::words::{Exit, Step, die, failed, number, perror, say};
use super::{checks, disconnect, oneway, poll, socket};
use crate::seed::Stream;

/// One run of the program.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) options: Options,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// Decides whether the listening socket is closed early.
    closes: Stream,
}

impl Session {
    pub(super) fn new(options: Options) -> Session {
        let (reader, writer) = (Reader::new(&options), Writer::new(&options));
        let closes = options.seed.stream("connect close");
        Session { options, reader, writer, closes }
    }

    /// Listens, and serves as many connections as were asked for.
    pub(super) fn serve(&mut self) -> Step<()> {
        let mut listener = Some(socket::listen(&self.options)?);
        for _ in 0..self.options.repeat.max(1) {
            let (socket, address) = self.accept(listener.as_ref())?;
            if self.closes_early() {
                listener = None;
            }
            checks::accepted_address(self.options.ipv6, &address);
            checks::accepted_peer(&socket, &address);
            let input = self.input()?;
            checks::upper_layer(&socket, None, "once accepted")?;
            let begin = Instant::now();
            let end_came_last = self.copy(&input, &socket, &mut Outgoing::new())?;
            drop(socket);
            self.check_runtime(begin, end_came_last)?;
        }
        Ok(())
    }

    fn accept(&self, listener: Option<&Socket>) -> Step<(Socket, socket2::SockAddr)> {
        let Some(listener) = listener else { return Err(die("accept: the listening socket is closed\n")) };
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match wait_for(&mut fds, self.poll_timeout()) {
            Ok(0) => {
                say("main_loop_s: timed out\n");
                Err(Exit::NOT_THROUGH)
            }
            Ok(_) => listener.accept().map_err(failed("accept", Exit::TROUBLE)),
            Err(errno) => {
                perror("poll", errno);
                Err(Exit::TROUBLE)
            }
        }
    }

    /// One time in two, where nobody else is to come.
    fn closes_early(&mut self) -> bool {
        let coin = self.closes.next_u64() & 1 == 1;
        let others_may_come = self.options.join || self.options.slow.is_some() || self.options.repeat > 1;
        coin && !others_may_come
    }

    /// Connects, transfers, and does so again as often as was asked for.
    pub(super) fn connect(&mut self) -> Step<()> {
        let mut outgoing = Outgoing::new();
        let mut input = if self.options.fast_open { Some(self.input()?) } else { None };
        let nothing = io::stdin();
        let early = input.as_ref().map_or(nothing.as_fd(), |input| input.as_fd());
        let (socket, address) = socket::connect(&self.options, early, &mut outgoing)?;
        let mut left = self.options.repeat.max(1);
        loop {
            checks::connected_peer(&socket, &self.options);
            checks::upper_layer(&socket, Some(self.options.protocol), "once connected")?;
            socket::set_connected(&socket, &self.options)?;
            let this_input = input.take().map_or_else(|| self.input(), Ok)?;
            let begin = Instant::now();
            let end_came_last = self.copy(&this_input, &socket, &mut outgoing)?;
            self.check_runtime(begin, end_came_last)?;
            if self.options.stop_after.is_some() {
                // A connection that the peer has ended already is as good.
                let _ = socket.shutdown(std::net::Shutdown::Write);
                return Ok(());
            }
            left -= 1;
            if left == 0 {
                return Ok(());
            }
            disconnect::disconnect(&socket, self.options.timeout)?;
            let again = socket.set_nonblocking(false).and_then(|()| socket.connect(&address));
            again.map_err(|error| die(&format!("can't reconnect: {}", number(&error))))?;
            outgoing = Outgoing::new();
        }
    }

    /// What to send: the file that was named, or a copy of standard input.
    fn input(&self) -> Step<OwnedFd> {
        let Some(path) = &self.options.input else {
            return io::stdin().as_fd().try_clone_to_owned().map_err(failed("stdin", Exit::TROUBLE));
        };
        let opened = File::open(path).map(OwnedFd::from);
        opened.map_err(|error| die(&format!("can't open {}: {}", path.display(), number(&error))))
    }

    /// One transfer. Says whether the peer's end of stream came last.
    fn copy(&mut self, input: &OwnedFd, socket: &Socket, outgoing: &mut Outgoing) -> Step<bool> {
        match self.options.mode {
            Mode::Poll => poll::copy(self, input.as_fd(), socket, outgoing),
            Mode::Mmap | Mode::Sendfile | Mode::Splice => oneway::copy(self, input.as_fd(), socket, outgoing),
        }
    }

    /// Checks `-T`, and tells the runtime where this end was the one to wait.
    fn check_runtime(&self, begin: Instant, end_came_last: bool) -> Step<()> {
        let (took, expected) = (begin.elapsed().as_millis(), self.options.expected_ms);
        if expected == 0 {
            return Ok(());
        }
        if took > u128::from(expected) {
            let text = format!("transfer slower than expected! runtime {took} ms, expected {expected} ms");
            return Err(die(&text));
        }
        if end_came_last {
            // Without a line's end: scripts put their own words behind it.
            say(&took.to_string());
        }
        Ok(())
    }

    /// Shuts down the sending side, some time later where the options say so.
    pub(super) fn shut_down(&self, socket: &Socket) {
        send::rest(self.options.wait);
        // A connection that the peer has ended already is as good.
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }

    /// The longest wait, as poll(2) wants it.
    pub(super) fn poll_timeout(&self) -> PollTimeout {
        poll::timeout(self.options.timeout)
    }
}
