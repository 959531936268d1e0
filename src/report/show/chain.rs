//! The topology of a case, drawn in text:
//!
//! ```text
//!   ns1 ─────────── ns2 ≋≋≋≋≋≋≋≋≋≋≋≋≋≋≋≋ ns3 ─────────── ns4
//!   client, MPTCP       → loss 2 %                       server, TCP
//!                       ← delay 10 ms
//! ```

use super::{paths, phrase};
use crate::case::{Backend, Case, Direction, Host, LinkId, Protocol, Topology};

/// The shortest line of a link, in characters.
const SHORTEST: usize = 10;

/// What a column shows: a word or a line at its top, and text below it.
struct Column {
    top: Top,
    below: Vec<String>,
}

enum Top {
    Host(Host),
    Line(char),
}

/// Draws the chain, or several paths, with the endpoints and whatever the links do below it.
pub fn draw(case: &Case) -> String {
    if case.topology != Topology::Chain {
        return paths::draw(case);
    }
    let hosts = Host::ALL.map(|host| Column { top: Top::Host(host), below: on_host(case, host) });
    let links = LinkId::CHAIN.map(|link| Column {
        top: Top::Line(if case.link(link).is_impaired() { '≋' } else { '─' }),
        below: on_link(case, link),
    });
    let mut columns: Vec<Column> = Vec::new();
    let mut links = links.into_iter();
    for host in hosts {
        columns.push(host);
        columns.extend(links.next());
    }
    lines(&columns)
}

/// What is on a host.
pub fn on_host(case: &Case, host: Host) -> Vec<String> {
    let ends = [("client", &case.client), ("server", &case.server)];
    let here = ends.iter().filter(|(_, endpoint)| endpoint.host == host);
    here.map(|(name, endpoint)| format!("{name}, {}", protocol(endpoint.protocol))).collect()
}

/// The name of a protocol.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Mptcp => "MPTCP",
    }
}

/// What a link does.
pub fn on_link(case: &Case, id: LinkId) -> Vec<String> {
    let link = case.link(id);
    let [forward, backward] = Direction::BOTH.map(|direction| phrase::impairments(link.impairments(direction)));
    let mut below: Vec<String> = Vec::new();
    for both in forward.iter().filter(|said| backward.contains(said)) {
        below.push(format!("⇄ {both}"));
    }
    let only = |arrow: char, these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|said| !others.contains(said)).map(|said| format!("{arrow} {said}")).collect()
    };
    below.extend(only('→', &forward, &backward));
    below.extend(only('←', &backward, &forward));
    if link.backend != Backend::default() {
        below.push(format!("by the kernel's {}", link.backend));
    }
    if link.mtu != 1500 {
        below.push(format!("MTU {}", link.mtu));
    }
    for (device, offloads) in [("left", link.left), ("right", link.right)] {
        below.extend(phrase::offloads(&offloads).map(|off| format!("{off} at the {device}")));
    }
    below
}

fn lines(columns: &[Column]) -> String {
    let mut at = vec![2];
    // What stands below a host may reach below a line that has nothing below itself.
    let mut over = 0;
    for (index, column) in columns.iter().enumerate() {
        let below = column.below.iter().map(|text| text.chars().count() + 2).max().unwrap_or(0).max(over);
        let bare = columns.get(index + 1).is_none_or(|next| next.below.is_empty());
        let width = match column.top {
            Top::Host(_) if bare => 4,
            Top::Host(_) => below.max(4),
            Top::Line(_) => below.max(SHORTEST + 1),
        };
        over = below.saturating_sub(width);
        at.push(at[index] + width);
    }
    let mut text = vec![Vec::new()];
    let (mut from, ends) = (0, at.clone());
    for (index, column) in columns.iter().enumerate() {
        match column.top {
            Top::Host(host) => {
                write(&mut text[0], at[index], &host.to_string());
                from = text[0].len() + 1;
            }
            Top::Line(sign) => {
                let line: String = std::iter::repeat_n(sign, ends[index + 1] - 1 - from).collect();
                write(&mut text[0], from, &line);
            }
        }
        for (row, said) in column.below.iter().enumerate() {
            if text.len() < row + 2 {
                text.push(Vec::new());
            }
            write(&mut text[row + 1], at[index], said);
        }
    }
    text.into_iter().map(|line| line.into_iter().collect::<String>() + "\n").collect()
}

/// Writes `what` into `line` from a place on, with blanks before it.
fn write(line: &mut Vec<char>, at: usize, what: &str) {
    line.resize(at, ' ');
    line.extend(what.chars());
}
