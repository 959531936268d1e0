//! What this machine can do: checks that change nothing. An error says what is missing and how to get it.

use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getegid, geteuid};
use socket2::{Domain, Protocol, Type};

use super::{NetError, namespace, proc, sysctl};
use crate::sys::process::{ForkResult, exit_now, fork};
use crate::sys::tun;

/// What to do where `/dev/net/tun` cannot be used.
pub(super) const TUN_WAY_OUT: &str = "as root, `modprobe tun` and `chmod 0666 /dev/net/tun`; without it, links use packet \
                                      sockets";

/// Whether an agent can have a user namespace and a network namespace of its own. A forked child tries.
pub fn can_user_namespace() -> Result<(), NetError> {
    let failed = |error: io::Error| NetError::new("try a user namespace in a child", error);
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let (mut words, sayer) = io::pipe().map_err(failed)?;
    match fork().map_err(failed)? {
        ForkResult::Child => {
            let outcome = namespace::enter_user_namespace(uid, gid);
            exit_now(outcome.map_or_else(|error| say(sayer, &error), |()| 0))
        }
        ForkResult::Parent { child } => {
            drop(sayer);
            let text = io::read_to_string(&mut words).map_err(failed)?;
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => Ok(()),
                Ok(_) => Err(NetError::new("try a user namespace in a child", io::Error::other(text))),
                Err(errno) => Err(failed(errno.into())),
            }
        }
    }
}

/// Says an error to the parent; the exit code that goes with it.
fn say(mut to: io::PipeWriter, error: &NetError) -> i32 {
    use io::Write;
    // Without words, the exit code still tells.
    let _ = write!(to, "{error}");
    1
}

/// Whether TAP devices can be made: `/dev/net/tun` opens.
pub fn can_tun() -> Result<(), NetError> {
    tun::open().map(drop).map_err(|error| NetError::new(format!("open {}", tun::PATH), error).way_out(TUN_WAY_OUT))
}

/// Whether this kernel opens MPTCP sockets (CONFIG_MPTCP and net.mptcp.enabled).
pub fn has_mptcp() -> Result<(), NetError> {
    socket2::Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).map(drop).map_err(|error| {
        NetError::new("open an MPTCP socket", error)
            .way_out("as root, `sysctl -w net.mptcp.enabled=1`, or a kernel with CONFIG_MPTCP=y")
    })
}

/// Whether this kernel has IPv6.
pub fn has_ipv6() -> Result<(), NetError> {
    socket2::Socket::new(Domain::IPV6, Type::STREAM, None).map(drop).map_err(|error| {
        NetError::new("open an IPv6 socket", error)
            .way_out("boot without `ipv6.disable=1`, or a kernel with CONFIG_IPV6=y")
    })
}

/// Whether sockets can be listed (sock_diag).
pub fn has_sock_diag() -> Result<(), NetError> {
    Socket::new(NETLINK_SOCK_DIAG).map(drop).map_err(|error| {
        NetError::new("open a sock_diag socket", error).way_out("a kernel with CONFIG_INET_DIAG (`modprobe tcp_diag`)")
    })
}

/// The congestion controls that a socket in any namespace may choose, such as `reno` and `cubic`. More may be loadable by
/// root: `modprobe tcp_bbr`, then `sysctl net.ipv4.tcp_allowed_congestion_control`.
pub fn congestion_controls() -> Result<Vec<String>, NetError> {
    let names = sysctl::get("net.ipv4.tcp_allowed_congestion_control")?;
    Ok(names.split_ascii_whitespace().map(str::to_owned).collect())
}

/// The kernel's release and version, as `uname -rv` shows them.
pub fn kernel() -> Result<String, NetError> {
    let part = |name: &str| {
        let path = format!("/proc/sys/kernel/{name}");
        let text = proc::read(&path).map_err(|error| NetError::new(format!("read {path}"), error))?;
        Ok(text.trim_end().to_owned())
    };
    Ok(format!("{} {}", part("osrelease")?, part("version")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_linux_has_is_found() {
        assert!(congestion_controls().expect("sysctl").contains(&"reno".to_owned()));
        assert!(kernel().expect("uname").starts_with(|digit: char| digit.is_ascii_digit()));
    }

    #[test]
    fn every_no_has_its_reason() {
        for answer in [can_user_namespace(), can_tun(), has_mptcp(), has_ipv6(), has_sock_diag()] {
            if let Err(error) = answer {
                assert!(error.to_string().contains("; "), "no way out: {error}");
            }
        }
    }
}
