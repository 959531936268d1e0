//! The socket options of a case, set on a socket.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockRef, Socket};

use super::errno_name;
use crate::case::{Io, Sending, SocketOptions};
use crate::observation::Story;
use crate::sys;

/// Sets what is to be set before connect or listen. An option that this kernel refuses, as MPTCP sockets of some
/// versions do, is noted in the story: the transfer has to come through without it.
pub(super) fn set_early(socket: &Socket, options: &SocketOptions, story: &mut Story) {
    let mut note = Note { story };
    note.set("SO_SNDBUF", options.sndbuf, |bytes| socket.set_send_buffer_size(bytes as usize));
    note.set("SO_RCVBUF", options.rcvbuf, |bytes| socket.set_recv_buffer_size(bytes as usize));
    note.set("TCP_MAXSEG", options.maxseg, |bytes| set(socket, sockopt::TcpMaxSeg, &u32::from(bytes)));
    note.set("TCP_CONGESTION", options.congestion, |name| {
        SockRef::from(socket).set_tcp_congestion(name.name().as_bytes())
    });
    note.set("TCP_NODELAY", options.nodelay.then_some(()), |()| socket.set_tcp_nodelay(true));
    note.set("TCP_CORK", options.cork.then_some(()), |()| socket.set_tcp_cork(true));
    note.set("TCP_NOTSENT_LOWAT", options.notsent_lowat, |bytes| socket.set_tcp_notsent_lowat(bytes));
    note.set("SO_RCVLOWAT", options.rcvlowat, |bytes| sys::sockopt::set_receive_low_water(socket, bytes));
}

/// Sets what is to be set on the connected socket.
pub(super) fn set_late(socket: &Socket, options: &SocketOptions, story: &mut Story) {
    let mut note = Note { story };
    note.set("SO_SNDBUF", options.sndbuf_late, |bytes| socket.set_send_buffer_size(bytes as usize));
    note.set("SO_RCVBUF", options.rcvbuf_late, |bytes| socket.set_recv_buffer_size(bytes as usize));
}

/// Sets what the calls of a connected endpoint need. Gives back those calls without what this kernel refuses: MPTCP
/// sockets know no MSG_ZEROCOPY.
pub(super) fn set_for_io(socket: &Socket, io: Io, story: &mut Story) -> Io {
    let mut note = Note { story };
    let mut granted = |name: &str, wanted: bool, level, option| {
        note.set(name, wanted.then_some(1), |on| sys::sockopt::set_int(socket, level, option, on)) && wanted
    };
    let zerocopy = granted("SO_ZEROCOPY", io.send == Sending::Zerocopy, libc::SOL_SOCKET, libc::SO_ZEROCOPY);
    Io {
        send: if io.send == Sending::Zerocopy && !zerocopy { Sending::Mmap } else { io.send },
        receive: io.receive,
        timestamps: granted("SO_TIMESTAMPNS", io.timestamps, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        inq: granted("TCP_INQ", io.inq, libc::IPPROTO_TCP, libc::TCP_INQ),
    }
}

fn set<O: nix::sys::socket::SetSockOpt>(socket: &impl AsFd, option: O, value: &O::Val) -> io::Result<()> {
    setsockopt(socket, option, value).map_err(io::Error::from)
}

struct Note<'a> {
    story: &'a mut Story,
}

impl Note<'_> {
    /// Says whether nothing was refused.
    fn set<T>(&mut self, name: &str, value: Option<T>, apply: impl FnOnce(T) -> io::Result<()>) -> bool {
        let Some(Err(error)) = value.map(apply) else { return true };
        self.story.refused_options.push(format!("{name}: {}", errno_name(&error)));
        false
    }
}
