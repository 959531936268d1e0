//! The socket options of a case, set on a socket.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockRef, Socket};

use super::errno_name;
use crate::case::{Io, Sending, SocketOption, SocketOptions};
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
    for (option, value) in &options.extra {
        set_number(socket, *option, *value, story);
    }
}

/// How many connections a server may have begun by TCP Fast Open: the kernel selftest's figure.
const FASTOPEN_QUEUE: libc::c_int = 25;

/// Has a listener take data with the SYN.
pub(super) fn set_listening(listener: &Socket, options: &SocketOptions, story: &mut Story) {
    let queue = options.fastopen.then_some(FASTOPEN_QUEUE);
    Note { story }.set("TCP_FASTOPEN", queue, |queue| {
        sys::sockopt::set_int(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
    });
}

/// Lets a listener take connections to addresses that are not its host's. Without it none would come.
pub(super) fn set_transparent(listener: &Socket) -> io::Result<()> {
    let (level, name) = match listener.domain()? {
        socket2::Domain::IPV6 => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        _ => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    };
    sys::sockopt::set_int(listener, level, name, 1)
}

/// Sets an option to a number; says why where the kernel refuses.
pub(super) fn set_number(socket: &Socket, option: SocketOption, value: u32, story: &mut Story) {
    Note { story }.set(&option.to_string(), Some(value), |value| apply(socket, option, value));
}

fn apply(socket: &Socket, option: SocketOption, value: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let set = |level, name, value| sys::sockopt::set_int(socket, level, name, value);
    match option {
        SocketOption::SoSndbuf => set(libc::SOL_SOCKET, libc::SO_SNDBUF, value),
        SocketOption::SoRcvbuf => set(libc::SOL_SOCKET, libc::SO_RCVBUF, value),
        SocketOption::SoMark => set(libc::SOL_SOCKET, libc::SO_MARK, value),
        SocketOption::SoPriority => set(libc::SOL_SOCKET, libc::SO_PRIORITY, value),
        SocketOption::SoKeepalive => {
            set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 1)?;
            set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 1)?;
            set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 120)?;
            set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, value)
        }
        SocketOption::IpTos => match socket.domain()? {
            socket2::Domain::IPV6 => set(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, value),
            _ => set(libc::IPPROTO_IP, libc::IP_TOS, value),
        },
        SocketOption::TcpNodelay => set(libc::IPPROTO_TCP, libc::TCP_NODELAY, value),
        SocketOption::TcpCork => set(libc::IPPROTO_TCP, libc::TCP_CORK, value),
        SocketOption::TcpQuickack => set(libc::IPPROTO_TCP, libc::TCP_QUICKACK, value),
        SocketOption::TcpWindowClamp => set(libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, value),
    }
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
        let refused = format!("{name}: {}", errno_name(&error));
        if !self.story.refused_options.contains(&refused) {
            self.story.refused_options.push(refused);
        }
        false
    }
}
