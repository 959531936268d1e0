//! Ways into a socket: send, sendmsg, sendfile, splice, mappings, MSG_ZEROCOPY.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::pipe2;
use socket2::SockRef;

use super::{BUFFER, thirds};
use crate::case::Sending;
use crate::sys::map::MappedFile;

/// `SO_EE_ORIGIN_ZEROCOPY` (include/uapi/linux/errqueue.h).
const ORIGIN_ZEROCOPY: u8 = 5;

/// Sends a stream, call by call, in one way.
///
/// A way that sends from a file has one in memory, which is filled just before each call. A page of it is never changed
/// once a call was told of it: the kernel may look at it until the peer has acknowledged its bytes.
#[derive(Debug)]
pub struct Outlet {
    way: Sending,
    source: Option<MappedFile>,
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// How many bytes are in the pipe and not yet in the socket.
    in_pipe: usize,
    sent: u64,
    calls: BTreeMap<&'static str, u64>,
}

impl Outlet {
    /// For a stream of `total` bytes. For [`Sending::Zerocopy`] the socket must have SO_ZEROCOPY set.
    ///
    /// # Errors
    /// Those of memfd_create(2), mmap(2) and pipe2(2).
    pub fn new(way: Sending, total: u64) -> io::Result<Outlet> {
        let length = usize::try_from(total).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // A planted fault may send a few bytes too many.
        let source = way.is_from_file().then(|| MappedFile::new(length + BUFFER)).transpose()?;
        let pipe = (way == Sending::Splice).then(|| pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)).transpose()?;
        Ok(Outlet { way, source, pipe, in_pipe: 0, sent: 0, calls: BTreeMap::new() })
    }

    /// Writes once, as send(2) does: the bytes that follow those taken before.
    ///
    /// # Errors
    /// Those of the calls; [`io::ErrorKind::WouldBlock`] where there is no room.
    pub fn write(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let offset = self.sent as usize;
        if let Some(source) = &mut self.source {
            // What is in the pipe already is there as a reference to the page.
            source.put(offset + self.in_pipe, bytes.get(self.in_pipe..).unwrap_or_default())?;
        }
        let taken = match (self.way, &self.source) {
            (Sending::Send, _) | (_, None) if self.way != Sending::Gather => send(socket, bytes, 0)?,
            (Sending::Gather, _) => {
                let [one, two, three] = thirds(bytes.len()).map(|range| IoSlice::new(&bytes[range]));
                SockRef::from(&socket).send_vectored_with_flags(&[one, two, three], libc::MSG_NOSIGNAL)?
            }
            (Sending::Sendfile, Some(source)) => {
                let mut from = offset as libc::off64_t;
                sendfile64(socket, source, Some(&mut from), bytes.len())?
            }
            (Sending::Splice, _) => self.splice(socket, offset, bytes.len())?,
            (Sending::Zerocopy, _) => self.zerocopy(socket, offset, bytes.len())?,
            (_, Some(source)) => send(socket, &source.bytes()[offset..offset + bytes.len()], 0)?,
            (_, None) => unreachable!("matched above"),
        };
        self.count(self.name());
        self.sent += taken as u64;
        Ok(taken)
    }

    /// Counts bytes that went another way: with the SYN.
    pub fn skip(&mut self, taken: usize) {
        self.sent += taken as u64;
    }

    /// How many bytes were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes the kernel's word that it needs pages no more; without that, MSG_ZEROCOPY fills a queue, and poll reports
    /// an error for ever. To be called where a call would block.
    pub fn collect(&mut self, socket: BorrowedFd<'_>) {
        if self.way != Sending::Zerocopy {
            return;
        }
        let mut space = [0; 256];
        while let Ok(message) = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut [],
            Some(&mut space),
            MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
        ) {
            let errors: Vec<libc::sock_extended_err> = message
                .cmsgs()
                .into_iter()
                .flatten()
                .filter_map(|message| match message {
                    ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                        Some(error)
                    }
                    _ => None,
                })
                .filter(|error| error.ee_origin == ORIGIN_ZEROCOPY)
                .collect();
            for error in errors {
                let calls = u64::from(error.ee_data.wrapping_sub(error.ee_info)) + 1;
                *self.calls.entry("zerocopy completed").or_default() += calls;
            }
        }
    }

    /// How often each kind of call went through, but for [`Sending::Send`].
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.calls.iter().map(|(name, count)| (*name, *count))
    }

    /// Spoils what the last call sent, where it sent from a file: what a program does that takes a page back too early.
    pub(crate) fn spoil(&mut self, taken: usize) {
        let from = (self.sent as usize).saturating_sub(taken);
        if let Some(source) = &mut self.source {
            // Beyond the end there is nothing to spoil.
            let _ = source.put(from, &vec![0xEE; taken]);
        }
    }

    fn name(&self) -> &'static str {
        match self.way {
            Sending::Send => "send",
            Sending::Gather => "sendmsg",
            Sending::Sendfile => "sendfile",
            Sending::Splice => "splice to the socket",
            Sending::Mmap => "send from a mapping",
            Sending::Zerocopy => "zerocopy",
        }
    }

    fn count(&mut self, name: &'static str) {
        if self.way != Sending::Send {
            *self.calls.entry(name).or_default() += 1;
        }
    }

    fn splice(&mut self, socket: BorrowedFd<'_>, offset: usize, length: usize) -> nix::Result<usize> {
        let (Some((from, into)), Some(source)) = (&self.pipe, &self.source) else { return Err(Errno::EBADF) };
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        if self.in_pipe == 0 {
            let mut at = offset as libc::loff_t;
            self.in_pipe = splice(source, Some(&mut at), into, None, length, flags)?;
        }
        let taken = splice(from, None, socket, None, self.in_pipe.min(length), flags)?;
        self.in_pipe -= taken;
        Ok(taken)
    }

    fn zerocopy(&mut self, socket: BorrowedFd<'_>, offset: usize, length: usize) -> io::Result<usize> {
        self.collect(socket);
        let Some(source) = &self.source else { return Err(Errno::EBADF.into()) };
        let bytes = &source.bytes()[offset..offset + length];
        match send(socket, bytes, libc::MSG_ZEROCOPY) {
            // No room for another note of completion, or no more memory that may be locked: a copy does as well.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                *self.calls.entry("zerocopy without buffers").or_default() += 1;
                send(socket, bytes, 0)
            }
            other => other,
        }
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], flags: libc::c_int) -> io::Result<usize> {
    // A peer that is gone should be an error to report, not a signal to die from.
    SockRef::from(&socket).send_with_flags(bytes, libc::MSG_NOSIGNAL | flags)
}
