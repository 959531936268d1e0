//! First one way, then the other: the client sends all and then reads, the listener reads all and then sends. Sending is
//! done from a mapping, with sendfile(2) or with splice(2); the input is a regular file.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::sendfile::sendfile64;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{pipe, write};
use socket2::Socket;

use super::options::Mode;
use super::receive;
use super::send::Outgoing;
use super::session::Session;
use super::words::{Exit, Step, failed, perror, say};
use crate::sys::map::Mapping;

/// The bytes that are read at once.
const BUFFER: usize = 16384;

/// What one splice moves where the input is too small to say: a pipe's worth.
const SPLICE_AT_LEAST: usize = 64 * 1024;

/// The exit codes of what the original tells by a negative number.
const NO_STAT: Exit = Exit(255);
const NO_FILE: Exit = Exit(254);
const TOO_LARGE: Exit = Exit(253);
const READ_ALL: Exit = Exit(255);

/// Copies one way and then the other. Says whether the peer's end of stream came last.
pub(super) fn copy(
    session: &mut Session,
    input: BorrowedFd<'_>,
    socket: &Socket,
    outgoing: &mut Outgoing,
) -> Step<bool> {
    let size = file_size(input)?;
    if session.options.listen {
        receive_all(session, socket, size)?;
        send_all(session.options.mode, input, socket, size, outgoing)?;
        Ok(false)
    } else {
        send_all(session.options.mode, input, socket, size, outgoing)?;
        session.shut_down(socket);
        receive_all(session, socket, size)?;
        Ok(true)
    }
}

fn file_size(input: BorrowedFd<'_>) -> Step<usize> {
    let status = fstat(input).map_err(failed("fstat", NO_STAT))?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        say("get_infd_size: stdin is not a regular file\n");
        return Err(NO_FILE);
    }
    match i32::try_from(status.st_size) {
        Ok(size) => Ok(usize::try_from(size).unwrap_or(0)),
        Err(_) => {
            say(&format!("File too large: {}\n", status.st_size));
            Err(TOO_LARGE)
        }
    }
}

fn receive_all(session: &mut Session, socket: &Socket, size: usize) -> Step<()> {
    let output = io::stdout();
    if session.options.mode == Mode::Splice {
        return splice_all(socket.as_fd(), output.as_fd(), size.max(SPLICE_AT_LEAST));
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        match session.reader.read(socket, &mut buffer)? {
            Ok(0) => return Ok(()),
            Ok(length) => receive::store(&output, &buffer[..length])?,
            Err(error) => {
                perror("read", error);
                return Err(READ_ALL);
            }
        }
    }
}

fn send_all(mode: Mode, input: BorrowedFd<'_>, socket: &Socket, size: usize, outgoing: &mut Outgoing) -> Step<()> {
    let left = size.saturating_sub(outgoing.ahead());
    match mode {
        Mode::Mmap => {
            let mapping = Mapping::new(input, size).map_err(failed("mmap", Exit::TROUBLE))?;
            spool(socket, outgoing);
            write_mapping(&mapping, socket, outgoing.ahead(), size)
        }
        Mode::Sendfile => {
            spool(socket, outgoing);
            send_file(input, socket, left)
        }
        Mode::Poll | Mode::Splice => {
            spool(socket, outgoing);
            splice_all(input, socket.as_fd(), left)
        }
    }
}

/// Sends what fast open read ahead and did not send. A failure is said; what comes behind it will fail as well.
fn spool(socket: &Socket, outgoing: &mut Outgoing) {
    while !outgoing.bytes().is_empty() {
        match write(socket, outgoing.bytes()) {
            Ok(length) => outgoing.advance(length),
            Err(errno) => return perror("write", errno),
        }
    }
}

fn write_mapping(mapping: &Mapping, socket: &Socket, from: usize, size: usize) -> Step<()> {
    let mut offset = from;
    while offset < size {
        match mapping.write(socket, offset) {
            Ok(length) => offset += length,
            Err(error) => {
                perror("write", error);
                // As the original: the exit code is what is left, cut to a byte. A zero would look like success.
                return Err(match (size - offset) as u8 {
                    0 => Exit::WRITE,
                    code => Exit(code),
                });
            }
        }
    }
    Ok(())
}

fn send_file(input: BorrowedFd<'_>, socket: &Socket, mut left: usize) -> Step<()> {
    while left > 0 {
        match sendfile64(socket, input, None, left) {
            Ok(0) => {
                say(&format!("sendfile: the input ended {left} bytes early\n"));
                return Err(Exit::READ);
            }
            Ok(length) => left -= length,
            Err(errno) => {
                perror("sendfile", errno);
                return Err(Exit::READ);
            }
        }
    }
    Ok(())
}

/// Moves all there is, through a pipe.
fn splice_all(from: BorrowedFd<'_>, to: BorrowedFd<'_>, at_most: usize) -> Step<()> {
    let (reader, writer) = pipe().map_err(failed("pipe", Exit::NOT_THROUGH))?;
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_MORE;
    loop {
        let came = splice(from, None, &writer, None, at_most, flags).map_err(failed("splice in", Exit::READ))?;
        if came == 0 {
            return Ok(());
        }
        let went = splice(&reader, None, to, None, came, flags).map_err(failed("splice out", Exit::INPUT))?;
        if went != came {
            say(&format!("Unexpected transfer: {came} vs {went}\n"));
            return Err(Exit::BROKEN);
        }
    }
}
