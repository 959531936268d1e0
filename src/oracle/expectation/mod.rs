//! What a case may lead to, derived from its data alone.

pub(super) mod budget;
pub(super) mod losses;
pub(super) mod middlebox;
pub(super) mod silence;

use std::time::Duration;

use crate::case::{Case, Direction, Family, Happening, Impairments, LinkId, SocketOption, Sysctl};
use crate::observation::CallError;

/// What may happen in a case, and how long its parts may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How long no byte may move before the links are healed, after which they pass everything at once. At most as long as
    /// `patience`, and equal to it on an unimpaired path.
    pub quiet: Duration,
    /// How long no byte may move, including the time before the healing, before the transfer counts as stalled. The agent
    /// counts it in ticks for which its own CPU was available, so a busy machine gets more time.
    pub patience: Duration,
    /// How long the whole transfer may take before the run is given up undecided. If this is shorter than the patience, the
    /// case can pass and can show wrong bytes, but cannot show a stall.
    pub budget: Duration,
    /// How long sockets may take to go away once both endpoints have closed them: a FIN may have to be sent again, and
    /// the timer for that may have backed off before the links were healed.
    pub settle: Duration,
    /// Whether MPTCP may fall back to TCP, or try to.
    pub may_fall_back: bool,
    /// Whether the connection itself may end up as TCP: trouble on a further path alone only ends a subflow.
    pub may_become_tcp: bool,
    /// Whether the kernel may give up the connection (ETIMEDOUT and what follows from it).
    pub may_time_out: bool,
    /// Whether the peer may not notice that an endpoint has left, or the connection may be reset before it was accepted.
    pub may_miss_the_end: bool,
    /// Whether something on the way may reset the connection.
    pub may_be_cut: bool,
    /// Whether the connection may lose all its subflows, and end for that reason.
    pub may_be_orphaned: bool,
    /// Whether MPTCP options may be missing in a situation where MPTCP can only answer with a RST.
    pub may_reset: bool,
    /// Whether a packet damaged on the way may draw an ICMPv6 error that ends the connect.
    pub may_fail_to_connect: bool,
    /// Whether a connect may find no route, because its path is down at that moment.
    pub may_lack_a_route: bool,
    /// Whether the client's first write connects, and so fails with the errors of a connect.
    pub connects_by_writing: bool,
}

/// After this long without an answer a kernel may give up: a listener forgets a SYN that it has answered after 63 s
/// (net.ipv4.tcp_synack_retries = 5), long before a connect (131 s, tcp_syn_retries = 6 after 4 linear ones) or a
/// connection with data under way (924 s, tcp_retries2 = 15) ends.
const KERNEL_PATIENCE: Duration = Duration::from_secs(60);

/// A SYN is sent again after 1 s, and again after 2 s; from the third time on it asks for TCP only
/// (net.mptcp.syn_retrans_before_tcp_fallback = 2). Round trips from here on come near it.
const SLOW_HANDSHAKE: Duration = Duration::from_millis(900);

impl Expectation {
    /// What `case` may lead to.
    pub fn of(case: &Case) -> Expectation {
        let patience = silence::patience(case);
        Expectation {
            quiet: silence::quiet(case),
            patience,
            budget: budget::of(case, patience),
            settle: settle(case),
            may_fall_back: may_fall_back(case, &case.path()),
            may_become_tcp: may_fall_back(case, &case.first_way()),
            may_time_out: silence::blackout(case) > KERNEL_PATIENCE,
            may_miss_the_end: case.ending.leave.is_some()
                && (is_disturbed(case, &case.path())
                    || holds_third_packet(case)
                    || middlebox::cut(case)
                    || losses::directions(case).any(|way| way.rate.is_some())),
            may_be_cut: middlebox::cut(case),
            may_be_orphaned: may_be_orphaned(case),
            may_reset: middlebox::strip_midway(case) || middlebox::alter_the_first(case),
            may_fail_to_connect: may_fail_to_connect(case),
            may_lack_a_route: may_lack_a_route(case),
            connects_by_writing: case.client.options.fastopen,
        }
    }

    /// Whether something in the case explains this error of a call.
    ///
    /// By design, an MPTCP connection that can no longer fall back is reset when packets are lost or reordered around its
    /// handshake. That is not excused: to a program it is a connection that broke although the network only did what
    /// networks do.
    pub fn explains(&self, error: &CallError) -> bool {
        match error.errno.as_str() {
            // A host that has given up answers late packets with a RST.
            "ETIMEDOUT" | "ECONNRESET" | "EPIPE" if self.may_time_out => true,
            "ETIMEDOUT" | "ECONNRESET" | "EPIPE" | "ENOTCONN" if self.may_be_orphaned => true,
            "ECONNRESET" | "EPIPE" | "ENOTCONN" | "ECONNREFUSED" | "ECONNABORTED" if self.may_be_cut => true,
            "ECONNRESET" | "EPIPE" | "ENOTCONN" | "EBADMSG" if self.may_reset => true,
            "EHOSTUNREACH" | "ENETUNREACH" if self.may_lack_a_route && self.connects(error) => true,
            "EHOSTUNREACH" | "EPROTO" | "ENETUNREACH" | "ECONNREFUSED" | "EMSGSIZE" | "EACCES" => {
                self.may_fail_to_connect && self.connects(error)
            }
            _ => false,
        }
    }

    /// Whether a call that failed is one that connects.
    fn connects(&self, error: &CallError) -> bool {
        error.call == "connect" || self.connects_by_writing
    }
}

/// How long the FINs, and MPTCP's DATA_FINs, of a closed connection may take after the links were healed: as long as the
/// timers had backed off to, plus what a clean case is allowed.
fn settle(case: &Case) -> Duration {
    (silence::CLEAN + silence::by_links(case)).min(budget::MAX)
}

/// Whether an MPTCP connection of `case` may end up as TCP.
///
/// It may if one end does not ask for MPTCP, or if packets of the handshake and the first data may be lost, reordered,
/// delayed or duplicated. A constant delay, an MTU and offloads do none of that. SYN cookies carry MPTCP, and ends that
/// disagree about DSS checksums use them (RFC 8684 section 3.1). Two CPUs count, because veth then reorders by itself. So
/// does TCP Fast Open: data in the SYN that the server does not accept is sent again with a mapping, but without the
/// MP_CAPABLE that the server waits for.
fn may_fall_back(case: &Case, links: &[LinkId]) -> bool {
    !case.is_mptcp()
        || case.client.options.fastopen
        || is_disturbed(case, links)
        || silence::round_trip(case) > SLOW_HANDSHAKE
}

/// Whether packets may be lost, reordered, delayed or duplicated on these links.
fn is_disturbed(case: &Case, links: &[LinkId]) -> bool {
    let disturbed = |impairments: &Impairments| {
        impairments.jitter.is_some()
            || impairments.reorder.is_some()
            || impairments.duplicate > 0.0
            || !impairments.outages.is_empty()
            || !impairments.faults.is_empty()
            || losses::takes(impairments)
            || impairments.rate.is_some()
            || middlebox::disturb_mptcp(impairments)
    };
    let ways = links.iter().flat_map(|id| Direction::BOTH.map(|way| case.link(*id).impairments(way).clone()));
    case.cpus > 1 || !case.events.is_empty() || ways.into_iter().any(|impairments| disturbed(&impairments))
}

/// Whether the client may delay the acknowledgement that completes the handshake. If it resets the connection before, there
/// was never one that the server could accept.
fn holds_third_packet(case: &Case) -> bool {
    case.client.smallest(SocketOption::TcpQuickack) == Some(0)
}

/// Whether a flipped bit may end a connect.
///
/// An IPv6 header has no checksum of its own, and TCP's covers neither the hop limit nor anything before the packet reaches
/// TCP. So a SYN with a damaged hop limit, next header or address can draw an ICMPv6 error, which makes Linux give up the
/// connect (net/ipv6/tcp_ipv6.c, tcp_v6_err). On an established connection such errors change nothing.
fn may_fail_to_connect(case: &Case) -> bool {
    let flips =
        |impairments: &Impairments| (impairments.corrupt > 0.0 && !impairments.spare_handshake) || impairments.flips();
    case.family == Family::V6 && losses::directions(case).any(|impairments| flips(&impairments))
}

/// Whether an event removes the first subflow of the connection, and something else may end the others.
fn may_be_orphaned(case: &Case) -> bool {
    // A join that losses or an outage make late is refused, too, once an end has shut down.
    let rough = losses::directions(case)
        .any(|way| !(way.rules.is_empty() && way.faults.is_empty() && way.outages.is_empty()) || way.loss.is_some());
    let hasty = case.hosts.values().any(|knobs| knobs.sysctls.contains_key(&Sysctl::MptcpCloseTimeout));
    // A change of fullmesh ends the subflows of its endpoint and makes them anew (net/mptcp/pm_kernel.c, mptcp_pm_nl_fullmesh).
    let ends = |what: &Happening| what.retires() || matches!(what, Happening::Fullmesh { .. });
    let retired = case.events.iter().filter(|event| ends(&event.what)).count();
    // A client takes a subflow for established before its server has refused it.
    let refused = [case.client.host, case.server.host].into_iter().any(|host| {
        let knobs = case.knobs(host);
        knobs.pm.subflow_limit() == 0 || !knobs.join_initial
    });
    case.events.iter().any(|event| case.loses_its_first(&event.what))
        && (rough || hasty || refused || retired > 1 || case.rounds.count > 1)
}

/// Whether an event may have taken down the path that the connection begins on, and its route with it, before a connect.
fn may_lack_a_route(case: &Case) -> bool {
    let first = case.topology.ways().first();
    case.events.iter().any(|event| matches!(event.what, Happening::Down { link, .. } if Some(&link) == first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Action, Event, Fault, Host, Jitter, Knobs, LinkId, Moment, Outage, Packet, Reorder, Topology};
    use crate::oracle::healthy::mptcp_across;

    #[test]
    fn a_plain_case_may_do_nothing_but_pass() {
        let expected = Expectation::of(&mptcp_across(Impairments::default()));
        assert!(!(expected.may_fall_back || expected.may_time_out || expected.may_fail_to_connect));
        assert_eq!(expected.quiet, expected.patience);
    }

    #[test]
    fn whatever_disturbs_the_first_packets_may_cause_a_fallback() {
        let plain = Impairments::default;
        let second = Duration::from_secs(1);
        let late = Fault { flow: 0, packet: Packet::Ack(0), carriage: 0, action: Action::Late(second) };
        let disturbing = [
            Impairments { corrupt: 0.1, ..plain() },
            Impairments { duplicate: 0.1, ..plain() },
            Impairments { delay: second, ..plain() },
            Impairments { jitter: Some(Jitter::Uniform(second)), ..plain() },
            Impairments { reorder: Some(Reorder { probability: 0.1, correlation: 0.0, gap: 0 }), ..plain() },
            Impairments { outages: vec![Outage { from: Duration::ZERO, to: second }], ..plain() },
            Impairments { faults: vec![late], ..plain() },
        ];
        for impairments in disturbing {
            assert!(Expectation::of(&mptcp_across(impairments.clone())).may_fall_back, "{impairments:?}");
        }
        let harmless = Impairments { delay: Duration::from_millis(300), ..plain() };
        assert!(!Expectation::of(&mptcp_across(harmless)).may_fall_back);
    }

    #[test]
    fn a_connection_may_lose_all_its_subflows_where_no_other_is_let_in() {
        let orphaned = |link, change: fn(&mut Knobs)| {
            let mut case = Case { topology: Topology::Parallel(2), ..mptcp_across(Impairments::default()) };
            let what = Happening::Remove { host: Host::Ns1, link };
            case.events = vec![Event { when: Moment::Client(1), what }];
            change(case.hosts.entry(Host::Ns2).or_default());
            Expectation::of(&case).may_be_orphaned
        };
        assert!(orphaned(LinkId::Path1, |knobs| knobs.pm.subflows = Some(0)));
        assert!(orphaned(LinkId::Path1, |knobs| knobs.join_initial = false));
        assert!(!orphaned(LinkId::Path1, |_| ()));
        assert!(!orphaned(LinkId::Path2, |knobs| knobs.pm.subflows = Some(0)));
        let mut meshed = Case { topology: Topology::Parallel(2), ..mptcp_across(Impairments::default()) };
        let (host, link) = (Host::Ns1, LinkId::Path2);
        let first = Happening::Remove { host, link: LinkId::Path1 };
        let happens = [first, Happening::Fullmesh { host, link, on: false }];
        meshed.events = happens.map(|what| Event { when: Moment::Client(1), what }).into();
        assert!(Expectation::of(&meshed).may_be_orphaned);
        let late = |change: fn(&mut Impairments)| {
            let mut case = Case { topology: Topology::Parallel(2), ..mptcp_across(Impairments::default()) };
            let what = Happening::Destroy { host: Host::Ns1, link: LinkId::Path1 };
            case.events = vec![Event { when: Moment::Client(1), what }];
            change(&mut case.links.entry(LinkId::Path2).or_default().forward);
            Expectation::of(&case).may_be_orphaned
        };
        assert!(late(|way| way.outages = vec![Outage { from: Duration::ZERO, to: Duration::from_millis(205) }]));
        assert!(!late(|way| way.delay = Duration::from_millis(9)));
    }

    #[test]
    fn no_chance_of_loss_alone_excuses_a_timeout() {
        let mut case = mptcp_across(Impairments { corrupt: 0.5, ..Impairments::default() });
        case.client.host = Host::Ns4;
        for id in LinkId::CHAIN {
            case.links.entry(id).or_default().forward.corrupt = 0.5;
            case.links.entry(id).or_default().backward.corrupt = 0.5;
        }
        assert!(!Expectation::of(&case).may_time_out);
    }
}
