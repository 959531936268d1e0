//! What the middleboxes of a case, and single faults of the same kinds, may lead to.

use super::losses;
use crate::case::{Action, Case, Direction, Impairments, Packet, Pick, Strip, TcpOption};

/// Which packets something is done to, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// SYNs or SYN/ACKs alone.
    Opening,
    /// Others, or all.
    Anywhere,
}

/// What middleboxes and single faults do to the packets of the connection, but for shifts.
fn done(case: &Case) -> impl Iterator<Item = (Where, Action)> {
    losses::directions(case).flat_map(|Impairments { rules, faults, .. }| {
        let rules = rules.into_iter().map(|rule| (of_pick(rule.on), rule.action));
        let faults = faults.into_iter().map(|fault| (of_packet(fault.packet), fault.action));
        rules.chain(faults).collect::<Vec<_>>()
    })
}

fn of_pick(pick: Pick) -> Where {
    if matches!(pick, Pick::Syn | Pick::SynAck) { Where::Opening } else { Where::Anywhere }
}

fn of_packet(packet: Packet) -> Where {
    if matches!(packet, Packet::Syn | Packet::SynAck) { Where::Opening } else { Where::Anywhere }
}

/// Whether `impairments` have middleboxes that may bring an MPTCP connection back to TCP. A lower MSS, a mark, a split
/// segment and options that are not MPTCP's are nothing to MPTCP.
pub fn disturb_mptcp(impairments: &Impairments) -> bool {
    impairments.rules.iter().any(|rule| match rule.action {
        Action::Strip(Strip { option, .. }) => option.is_mptcp(),
        Action::Clamp(_) | Action::Mark | Action::Split(_) => false,
        _ => true,
    })
}

/// Whether a RST of none of the two ends may end the connection.
pub fn cut(case: &Case) -> bool {
    done(case).any(|(_, action)| action.resets())
}

/// Whether options of MPTCP may be missing from packets of a connection that has agreed on MPTCP.
///
/// An end that misses a mapping falls back to TCP, or resets the subflow where it is too late for that (RFC 8684, section
/// 3.7). What it cannot do is tell its peer: the option that would say so is missing as well.
pub fn strip_midway(case: &Case) -> bool {
    let client = hide_client(case) || hide_server(case);
    case.is_mptcp()
        && !client
        && done(case).any(|(place, action)| match action {
            Action::Strip(Strip { option, .. }) => option.is_mptcp() && place == Where::Anywhere,
            _ => false,
        })
}

/// Whether payload is changed under right checksums of TCP.
pub fn alter(case: &Case) -> bool {
    done(case).any(|(_, action)| matches!(action, Action::Alter(_)))
}

/// Whether bits are flipped one by one.
pub fn flip(case: &Case) -> bool {
    done(case).any(|(_, action)| matches!(action, Action::Flip(_)))
}

/// Whether no SYN of the client reaches the server with MP_CAPABLE.
pub fn hide_client(case: &Case) -> bool {
    hides(case, case.client_direction(), Pick::Syn)
}

/// Whether no SYN/ACK of the server reaches the client with MP_CAPABLE.
pub fn hide_server(case: &Case) -> bool {
    hides(case, case.client_direction().reverse(), Pick::SynAck)
}

/// Whether MP_CAPABLE is taken out of every packet that `on` picks and that goes in `direction`.
fn hides(case: &Case, direction: Direction, on: Pick) -> bool {
    case.path().into_iter().any(|id| {
        case.link(id).impairments(direction).rules.iter().any(|rule| {
            let hides =
                matches!(rule.action, Action::Strip(Strip { option: TcpOption::MpCapable | TcpOption::Mptcp, .. }));
            hides && rule.is_certain() && (rule.on == on || rule.on == Pick::Any)
        })
    })
}
