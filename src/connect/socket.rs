//! Sockets: found an address for, opened, bound or connected, with their options, in the order that scripts know.

use std::io;
use std::os::fd::BorrowedFd;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use socket2::{Domain, SockAddr, Socket, Type};

use super::checks;
use super::options::Options;
use super::send::Outgoing;
use super::words::{Exit, Step, die, failed, perror, say, strerror};
use crate::sys::sockopt;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 20;

/// How many fast opens may wait.
const FAST_OPEN_QUEUE: i32 = 25;

/// `SO_TIMESTAMPNS_NEW` (include/uapi/asm-generic/socket.h).
pub(super) const SO_TIMESTAMPNS_NEW: i32 = 64;

/// `TCP_INQ`, and the type of the ancillary data it brings (include/uapi/linux/tcp.h).
pub(super) const TCP_INQ: i32 = 36;

/// A socket that listens.
pub(super) fn listen(options: &Options) -> Step<Socket> {
    let Some(socket) = bound(options)? else {
        say("Could not create listen socket\n");
        return Err(Exit::TROUBLE);
    };
    checks::upper_layer(&socket, Some(options.protocol), "once bound")?;
    socket.listen(BACKLOG).map_err(failed("listen", Exit::TROUBLE))?;
    checks::upper_layer(&socket, Some(options.protocol), "once listening")?;
    set_buffers(&socket, options)?;
    set_mark(&socket, options)?;
    set_ancillary(&socket, options)?;
    Ok(socket)
}

fn bound(options: &Options) -> Step<Option<Socket>> {
    for address in addresses(options, libc::AI_PASSIVE | libc::AI_NUMERICHOST)? {
        let Ok(socket) = open(options, &address) else { continue };
        checks::upper_layer(&socket, Some(options.protocol), "once open")?;
        let said = |call: &str, result: io::Result<()>| result.unwrap_or_else(|error| perror(call, error));
        said("setsockopt", socket.set_reuse_address(true));
        if options.transparent {
            set_transparent(&socket, options.ipv6);
        }
        if options.fast_open {
            let queue = sockopt::set_int(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE);
            said("TCP_FASTOPEN", queue);
        }
        match socket.bind(&address) {
            Ok(()) => return Ok(Some(socket)),
            Err(error) => perror("bind", error),
        }
    }
    Ok(None)
}

/// A connected socket, and the address that it is connected to. Fast open takes the first bytes of `input` along.
pub(super) fn connect(options: &Options, input: BorrowedFd<'_>, outgoing: &mut Outgoing) -> Step<(Socket, SockAddr)> {
    for address in addresses(options, 0)? {
        let socket = match open(options, &address) {
            Ok(socket) => socket,
            Err(error) => {
                perror("socket", error);
                continue;
            }
        };
        checks::upper_layer(&socket, Some(options.protocol), "once open")?;
        set_mark(&socket, options)?;
        let (call, connected) = if options.fast_open {
            ("sendto()", fast_open(&socket, &address, input, outgoing)?)
        } else {
            ("connect()", socket.connect(&address))
        };
        match connected {
            Ok(()) => {
                checks::upper_layer(&socket, Some(options.protocol), "once connected")?;
                return Ok((socket, address));
            }
            Err(error) => perror(call, error),
        }
    }
    Err(Exit::NOT_THROUGH)
}

/// Sends the first bytes with the SYN, where the kernel has a cookie for that.
fn fast_open(
    socket: &Socket,
    address: &SockAddr,
    input: BorrowedFd<'_>,
    outgoing: &mut Outgoing,
) -> Step<io::Result<()>> {
    if outgoing.is_fresh() {
        outgoing.refill(input).map_err(failed("read", Exit::INPUT))?;
    }
    let sent = socket.send_to_with_flags(outgoing.bytes(), address, libc::MSG_FASTOPEN);
    Ok(sent.map(|length| outgoing.advance(length)))
}

/// What the connected socket of a client gets, before its transfer.
pub(super) fn set_connected(socket: &Socket, options: &Options) -> Step<()> {
    set_buffers(socket, options)?;
    set_ancillary(socket, options)
}

fn open(options: &Options, address: &SockAddr) -> io::Result<Socket> {
    let protocol = socket2::Protocol::from(options.protocol.number());
    Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, Some(protocol))
}

/// The addresses of the host and port that were asked for.
fn addresses(options: &Options, flags: i32) -> Step<Vec<SockAddr>> {
    // Asked for TCP: to name MPTCP is more than older resolvers know, and the addresses are the same.
    let hints = AddrInfoHints {
        flags,
        address: if options.ipv6 { libc::AF_INET6 } else { libc::AF_INET },
        socktype: libc::SOCK_STREAM,
        protocol: libc::IPPROTO_TCP,
    };
    let fatal = |error: io::Error| {
        // The resolver's own words stand behind those of the crate.
        let text = strerror(&error);
        let text = text.rsplit_once(": ").map_or(text.as_str(), |(_, text)| text);
        die(&format!("Fatal: getaddrinfo({}:{}): {text}\n", options.host, options.port))
    };
    let found = getaddrinfo(Some(&options.host), Some(&options.port), Some(hints));
    let found = found.map_err(|error| fatal(error.into()))?;
    found.map(|info| info.map(|info| info.sockaddr.into())).collect::<io::Result<_>>().map_err(fatal)
}

fn set_transparent(socket: &Socket, ipv6: bool) {
    let (name, level, option) = if ipv6 {
        ("IPV6_TRANSPARENT", libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
    } else {
        ("IP_TRANSPARENT", libc::IPPROTO_IP, libc::IP_TRANSPARENT)
    };
    if let Err(error) = sockopt::set_int(socket, level, option, 1) {
        perror(name, error);
    }
}

fn set_buffers(socket: &Socket, options: &Options) -> Step<()> {
    let buffers = [
        ("set SO_RCVBUF", libc::SO_RCVBUF, options.receive_buffer),
        ("set SO_SNDBUF", libc::SO_SNDBUF, options.send_buffer),
    ];
    for (call, option, bytes) in buffers.into_iter().filter(|(_, _, bytes)| *bytes != 0) {
        sockopt::set_int(socket, libc::SOL_SOCKET, option, bytes).map_err(failed(call, Exit::TROUBLE))?;
    }
    Ok(())
}

fn set_mark(socket: &Socket, options: &Options) -> Step<()> {
    if options.mark == 0 {
        return Ok(());
    }
    sockopt::set_int(socket, libc::SOL_SOCKET, libc::SO_MARK, options.mark.cast_signed())
        .map_err(failed("set SO_MARK", Exit::TROUBLE))
}

fn set_ancillary(socket: &Socket, options: &Options) -> Step<()> {
    let on = |level, option| sockopt::set_int(socket, level, option, 1).map_err(failed("setsockopt", Exit::TROUBLE));
    if options.ancillary.timestamps {
        on(libc::SOL_SOCKET, SO_TIMESTAMPNS_NEW)?;
    }
    if options.ancillary.inq {
        on(libc::IPPROTO_TCP, TCP_INQ)?;
    }
    Ok(())
}
