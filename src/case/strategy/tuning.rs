//! Draws more kernel settings of hosts and more socket options, before and in the middle of a transfer.

use super::draw::Draw;
use crate::case::{Case, Change, Protocol, SocketOption, Sysctl, Way};

/// Draws settings of the endpoints' hosts, and options of their sockets.
pub(super) fn draw(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "tuning");
    for _ in 0..draw.even(0, 2) {
        let host = draw.pick(&[case.client.host, case.server.host]);
        let (sysctl, value) = some_sysctl(&mut draw);
        case.hosts.entry(host).or_default().sysctls.insert(sysctl, value);
    }
    // A host that refuses MPTCP makes for a short case.
    if draw.chance(0.03) {
        let ends = [&case.client, &case.server];
        if let Some(end) = ends.into_iter().find(|end| end.protocol == Protocol::Mptcp) {
            case.hosts.entry(end.host).or_default().sysctls.insert(Sysctl::MptcpEnabled, 0);
        }
    }
    for end in [&mut case.client, &mut case.server] {
        for _ in 0..draw.pick(&[0, 0, 1, 2]) {
            let option = draw.pick(&[
                SocketOption::SoMark,
                SocketOption::SoPriority,
                SocketOption::SoKeepalive,
                SocketOption::IpTos,
                SocketOption::TcpQuickack,
                SocketOption::TcpWindowClamp,
            ]);
            end.options.extra.insert(option, some_value(&mut draw, option));
        }
    }
}

/// Draws changes in the middle of the transfer.
pub(super) fn changes(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "changes");
    let (client, server) = (case.client.payload, case.server.payload);
    for (end, sends, receives) in [(&mut case.client, client, server), (&mut case.server, server, client)] {
        if !draw.chance(0.4) {
            continue;
        }
        for _ in 0..draw.even(1, 4) {
            let (option, of) = draw.pick(&[
                (SocketOption::SoSndbuf, Way::Sent),
                (SocketOption::SoRcvbuf, Way::Received),
                (SocketOption::TcpWindowClamp, Way::Received),
                (SocketOption::TcpCork, Way::Sent),
                (SocketOption::TcpCork, Way::Sent),
                (SocketOption::TcpNodelay, Way::Sent),
                (SocketOption::TcpQuickack, Way::Received),
            ]);
            let at = draw.even(0, if of == Way::Sent { sends } else { receives });
            end.changes.push(Change { at, of, option, value: some_value(&mut draw, option) });
        }
        end.changes.sort_by_key(|change| change.at);
    }
}

fn some_sysctl(draw: &mut Draw) -> (Sysctl, u32) {
    let (sysctl, values) = draw.pick(&[
        (Sysctl::TcpAutocorking, &[0][..]),
        (Sysctl::TcpDsack, &[0]),
        (Sysctl::TcpEarlyRetrans, &[0]),
        (Sysctl::TcpEcn, &[0, 1]),
        (Sysctl::TcpFrto, &[0]),
        (Sysctl::TcpLimitOutputBytes, &[4096, 65_536]),
        (Sysctl::TcpMinTsoSegs, &[1, 16]),
        (Sysctl::TcpModerateRcvbuf, &[0]),
        (Sysctl::TcpNotsentLowat, &[1, 4096, 131_072]),
        (Sysctl::TcpRecovery, &[0, 2, 4]),
        (Sysctl::TcpReordering, &[1, 30]),
        (Sysctl::TcpShrinkWindow, &[1]),
        (Sysctl::TcpSlowStartAfterIdle, &[0]),
    ]);
    (sysctl, draw.pick(values))
}

fn some_value(draw: &mut Draw, option: SocketOption) -> u32 {
    match option {
        SocketOption::SoSndbuf | SocketOption::SoRcvbuf => {
            draw.bounded(&[1, 4608, 16_384, 65_536, 212_992], 4608, 1 << 20) as u32
        }
        SocketOption::TcpWindowClamp => draw.bounded(&[4096, 16_384, 65_535], 4096, 1 << 20) as u32,
        SocketOption::SoMark => draw.even(1, 255) as u32,
        SocketOption::SoPriority => draw.even(1, 6) as u32,
        SocketOption::IpTos => draw.pick(&[0x08, 0x10, 0xb8]),
        SocketOption::SoKeepalive => 1,
        SocketOption::TcpNodelay | SocketOption::TcpCork | SocketOption::TcpQuickack => draw.even(0, 1) as u32,
    }
}
