//! What the middleboxes of a case, and single faults of the same kinds, may lead to.

use crate::case::{Action, Case, Direction, Impairments, LinkId, Packet, Pick, Strip, TcpOption};

/// Which packets something is done to, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// SYNs or SYN/ACKs alone.
    Opening,
    /// Others, or all.
    Anywhere,
}

/// What middleboxes and single faults do to packets on these links.
fn done(case: &Case, links: &[LinkId]) -> Vec<(Where, Action)> {
    let ways = links.iter().flat_map(|id| Direction::BOTH.map(|way| case.link(*id).impairments(way).clone()));
    ways.flat_map(|Impairments { rules, faults, .. }| {
        let rules = rules.into_iter().map(|rule| (of_pick(rule.on), rule.action));
        let faults = faults.into_iter().map(|fault| (of_packet(fault.packet), fault.action));
        rules.chain(faults).collect::<Vec<_>>()
    })
    .collect()
}

/// The links on which the connection itself is at stake. Trouble on a further path ends a subflow, and the connection goes on
/// by the first one, unless an event keeps that from working.
fn vital(case: &Case) -> Vec<LinkId> {
    let hindered = case.events.iter().any(|event| event.what.outage().is_some() || case.loses_its_first(&event.what));
    if hindered || !case.is_mptcp() { case.path() } else { case.first_way() }
}

fn of_pick(pick: Pick) -> Where {
    if matches!(pick, Pick::Syn | Pick::SynAck) { Where::Opening } else { Where::Anywhere }
}

fn of_packet(packet: Packet) -> Where {
    if matches!(packet, Packet::Syn | Packet::SynAck) { Where::Opening } else { Where::Anywhere }
}

/// Whether `impairments` have middleboxes that may bring an MPTCP connection back to TCP. A lower MSS, a mark, a split
/// segment, two of one mapping merged, and options that are not MPTCP's are nothing to MPTCP.
pub fn disturb_mptcp(impairments: &Impairments) -> bool {
    impairments.rules.iter().any(|rule| match rule.action {
        Action::Strip(Strip { option, .. }) => option.is_mptcp(),
        Action::Clamp(_) | Action::Mark | Action::Split(_) => false,
        Action::Merge(merge) => merge.options.loses(),
        _ => true,
    })
}

/// Whether a RST of none of the two ends may end the connection.
pub fn cut(case: &Case) -> bool {
    done(case, &vital(case)).into_iter().any(|(_, action)| action.resets())
}

/// Whether options of MPTCP may be missing from packets of a connection that has agreed on MPTCP.
///
/// An end that misses a mapping falls back to TCP, or resets the subflow where it is too late for that (RFC 8684, section
/// 3.7). What it cannot do is tell its peer: the option that would say so is missing as well.
pub fn strip_midway(case: &Case) -> bool {
    let hidden = hide_client(case) || hide_server(case);
    case.is_mptcp()
        && !hidden
        && done(case, &vital(case)).into_iter().any(|(place, action)| match action {
            Action::Strip(Strip { option, .. }) => option.is_mptcp() && place == Where::Anywhere,
            // Of two mappings one is left.
            Action::Merge(merge) => merge.options.loses(),
            _ => false,
        })
}

/// Whether payload is changed under right checksums of TCP.
pub fn alter(case: &Case) -> bool {
    alters(case, &case.path())
}

/// The same where the connection itself is at stake: it has a single subflow, or it is the first that is concerned.
pub fn alter_the_first(case: &Case) -> bool {
    alters(case, &vital(case))
}

fn alters(case: &Case, links: &[LinkId]) -> bool {
    done(case, links).into_iter().any(|(_, action)| matches!(action, Action::Alter(_)))
}

/// Whether segments are merged and a mapping is lost over it: what is left does not cover the whole.
pub fn merge_over(case: &Case) -> bool {
    let loses = |action| matches!(action, Action::Merge(merge) if merge.options.loses());
    done(case, &case.path()).into_iter().any(|(_, action)| loses(action))
}

/// Whether bits are flipped one by one.
pub fn flip(case: &Case) -> bool {
    done(case, &case.path()).into_iter().any(|(_, action)| matches!(action, Action::Flip(_)))
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
    case.first_way().into_iter().any(|id| {
        case.link(id).impairments(direction).rules.iter().any(|rule| {
            let hides =
                matches!(rule.action, Action::Strip(Strip { option: TcpOption::MpCapable | TcpOption::Mptcp, .. }));
            hides && rule.is_certain() && (rule.on == on || rule.on == Pick::Any)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Host, LinkId, Protocol, Removal, Rule};
    use crate::observation::{End, MptcpState};
    use crate::oracle::{Expectation, Kind, healthy, judge};

    fn case(direction: Direction, on: Pick, option: TcpOption) -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        let strip = Action::Strip(Strip { option, by: Removal::Nops });
        case.links.entry(LinkId::Ns1Ns2).or_default().impairments_mut(direction).rules = vec![Rule::always(on, strip)];
        case
    }

    use Direction::{Backward, Forward};
    use TcpOption::{Dss, MpCapable, Timestamps};

    #[test]
    fn mptcp_is_hidden_only_by_what_meets_every_opening_packet() {
        assert!(hide_client(&case(Forward, Pick::Syn, MpCapable)));
        assert!(hide_server(&case(Backward, Pick::SynAck, MpCapable)));
        let mut now_and_then = case(Forward, Pick::Syn, MpCapable);
        now_and_then.links.get_mut(&LinkId::Ns1Ns2).unwrap().forward.rules[0].chance = 0.5;
        let others = [
            now_and_then,
            case(Backward, Pick::Syn, MpCapable),
            case(Forward, Pick::Syn, Timestamps),
            case(Forward, Pick::ThirdAck, MpCapable),
        ];
        assert!(others.iter().all(|case| !hide_client(case) && !hide_server(case)));
    }

    #[test]
    fn options_of_tcp_explain_no_fallback_and_those_of_mptcp_do() {
        let may_fall_back = |on, option| Expectation::of(&case(Forward, on, option)).may_fall_back;
        assert!(!may_fall_back(Pick::Syn, Timestamps));
        assert!(may_fall_back(Pick::Syn, MpCapable) && may_fall_back(Pick::Data(9), Dss));
    }

    #[test]
    fn a_reset_on_a_further_path_excuses_no_broken_connection() {
        let mut case = Case { topology: crate::case::Topology::Parallel(2), ..Case::default() };
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        let reset = vec![Rule::once(Pick::Data(9), Action::Reset(crate::case::Towards::Both))];
        case.links.entry(LinkId::Path2).or_default().forward.rules = reset.clone();
        assert!(!cut(&case));
        case.links.entry(LinkId::Path1).or_default().forward.rules = reset;
        assert!(cut(&case));
    }

    #[test]
    fn a_server_must_not_see_what_was_taken_out() {
        let case = case(Forward, Pick::Syn, MpCapable);
        // The healthy run of a case counts MP_CAPABLE at the server.
        let verdict = judge(&case, &healthy::observation(&case));
        assert_eq!(verdict.signature, "CounterBroken: MPTcpExt.MPCapableSYNRX moved at the server");
    }

    #[test]
    fn a_stall_without_options_is_undecided_and_one_after_a_fallback_is_found() {
        let case = case(Forward, Pick::Ack, Dss);
        let mut seen = healthy::observation(&case);
        seen.end = End::Stalled { idle: Default::default() };
        assert_eq!(judge(&case, &seen).kind, Kind::Skip);
        seen.client.mptcp = Some(MptcpState { fallback: true, ..MptcpState::default() });
        assert!(judge(&case, &seen).signature.ends_with("(one end alone fallen back to TCP, middlebox against DSS)"));
    }
}
