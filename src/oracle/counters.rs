//! Whether the kernel's counters agree with the case: CounterBroken.
//!
//! Each rule says under which condition, derived from the case, a counter must or must not have moved on a host of an
//! endpoint. A counter that a kernel does not have counts as one that did not move, so rules that demand movement are
//! few.

use super::{BOTH, Kind, Run, Verdict, fallback, losses};
use crate::case::{Action, Protocol, Syncookies};
use crate::payload::Sender;

/// A rule about one counter.
struct Rule {
    /// The counter.
    counter: &'static str,
    /// Whose host it is about.
    side: Side,
    /// Whether it applies to a run.
    when: fn(&Run<'_>) -> bool,
    /// What must hold.
    must: Must,
}

/// Whose host a rule is about.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Each,
    Client,
    Server,
}

/// What a rule demands.
#[derive(Clone, Copy)]
enum Must {
    /// The counter is where it was.
    Rest,
    /// The counter has grown.
    Grow,
}

const RULES: [Rule; 18] = [
    // A damaged packet is the only one whose checksum can be wrong: links carry frames with full checksums.
    Rule { counter: "Tcp.InCsumErrors", side: Side::Each, when: undamaged, must: Must::Rest },
    // TCP's checksum drops what a link damages, so nothing wrong ever reaches the check of a DSS checksum ...
    Rule { counter: "MPTcpExt.DataCsumErr", side: Side::Each, when: always, must: Must::Rest },
    // ... and nobody has a reason to report a failure of it, or to give up mappings for it (RFC 8684 section 3.7).
    Rule { counter: "MPTcpExt.MPFailTx", side: Side::Each, when: always, must: Must::Rest },
    Rule { counter: "MPTcpExt.MPFailRx", side: Side::Each, when: always, must: Must::Rest },
    Rule { counter: "MPTcpExt.InfiniteMapTx", side: Side::Each, when: always, must: Must::Rest },
    // Nobody has configured a second subflow ...
    Rule { counter: "MPTcpExt.MPJoinSynTx", side: Side::Each, when: no_endpoints, must: Must::Rest },
    Rule { counter: "MPTcpExt.MPJoinSynRx", side: Side::Each, when: no_endpoints, must: Must::Rest },
    // ... and where somebody has, both ends know the keys.
    Rule { counter: "MPTcpExt.MPJoinSynAckHMacFailure", side: Side::Each, when: always, must: Must::Rest },
    Rule { counter: "MPTcpExt.MPJoinAckHMacFailure", side: Side::Each, when: always, must: Must::Rest },
    // With several subflows one that is reset for its mappings is hidden from the endpoints.
    Rule { counter: "MPTcpExt.DSSNotMatching", side: Side::Each, when: endpoints, must: Must::Rest },
    Rule { counter: "MPTcpExt.DSSCorruptionReset", side: Side::Each, when: endpoints, must: Must::Rest },
    // Without an MPTCP client no SYN offers MPTCP, and without an MPTCP server no SYN/ACK takes it.
    Rule { counter: "MPTcpExt.MPCapableSYNRX", side: Side::Server, when: tcp_client, must: Must::Rest },
    Rule { counter: "MPTcpExt.MPCapableSYNACKRX", side: Side::Client, when: tcp_server, must: Must::Rest },
    // Between two of them, both happen.
    Rule { counter: "MPTcpExt.MPCapableSYNRX", side: Side::Server, when: surely_mptcp, must: Must::Grow },
    // An orderly end needs no RST, and a connection that falls back to TCP ends like TCP.
    Rule { counter: "Tcp.EstabResets", side: Side::Each, when: plain, must: Must::Rest },
    Rule { counter: "Tcp.OutRsts", side: Side::Each, when: plain, must: Must::Rest },
    Rule { counter: "TcpExt.SyncookiesSent", side: Side::Server, when: no_cookies, must: Must::Rest },
    Rule { counter: "TcpExt.SyncookiesSent", side: Side::Server, when: only_cookies, must: Must::Grow },
];

/// Looks at the counters of both endpoints' hosts after a transfer that came to an orderly end.
///
/// What is not looked at, and why: TcpExt.TCPTimeouts and the retransmission counters (tiny buffers, and MPTCP by
/// itself, make timers fire on clean paths); Tcp.InErrs (moves with a SYN that was sent again); Tcp.OutRsts and
/// Tcp.EstabResets between two MPTCP endpoints, TcpExt.TCPAbort* (how MPTCP closes its subflows is its own affair); MPTcpExt.DSSNotMatching,
/// DSSCorruptionReset, MPRstTx, MPFastcloseTx (their errors reach the endpoints and are judged there);
/// MPTcpExt.MPTCPRetrans, DuplicateData, WinProbe, OFOQueue (MPTCP repairs what it need not).
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    RULES.iter().filter(|rule| (rule.when)(run)).find_map(|rule| broken(run, rule))
}

fn broken(run: &Run<'_>, rule: &Rule) -> Option<Verdict> {
    let Rule { counter, side, must, .. } = rule;
    BOTH.into_iter().filter(|each| side.is(*each)).find_map(|each| {
        let (grown, name) = (run.counter(each, counter), each.name());
        let looks = match must {
            Must::Rest if grown != 0 => format!("{counter} moved at the {name}"),
            Must::Grow if grown <= 0 => format!("{counter} did not move at the {name}"),
            _ => return None,
        };
        Some(Verdict::of(Kind::CounterBroken, &looks, format!("{looks}: {grown:+}")))
    })
}

impl Side {
    fn is(self, side: Sender) -> bool {
        match self {
            Side::Each => true,
            Side::Client => side == Sender::Client,
            Side::Server => side == Sender::Server,
        }
    }
}

fn always(_: &Run<'_>) -> bool {
    true
}

fn undamaged(run: &Run<'_>) -> bool {
    !losses::directions(run.case).any(|impairments| {
        impairments.corrupt > 0.0 || impairments.faults.iter().any(|fault| matches!(fault.action, Action::Flip(_)))
    })
}

fn endpoints(run: &Run<'_>) -> bool {
    let added = run.case.events.iter().any(|event| event.what.host().is_some());
    added || run.case.hosts.values().any(|knobs| !knobs.pm.endpoints.is_empty())
}

fn no_endpoints(run: &Run<'_>) -> bool {
    !endpoints(run)
}

fn tcp_client(run: &Run<'_>) -> bool {
    run.case.client.protocol == Protocol::Tcp
}

fn tcp_server(run: &Run<'_>) -> bool {
    run.case.server.protocol == Protocol::Tcp
}

/// Whether the connection is MPTCP, whatever happens.
pub fn surely_mptcp(run: &Run<'_>) -> bool {
    !run.expected.may_fall_back && !fallback::too_slow(run)
}

/// Nothing is in the way, nothing overtakes, and nobody knocks at a closed port: not a SYN that was sent again after the
/// listener was closed, nor the second acknowledgement of data or a FIN that a hasty timer sent twice (a tail loss probe,
/// RFC 8985 section 7).
fn plain(run: &Run<'_>) -> bool {
    let clean = losses::directions(run.case).all(|impairments| impairments == Default::default());
    let quiet = run.case.cpus == 1 && run.case.refusals == 0 && !fallback::too_slow(run);
    let once = BOTH.into_iter().all(|side| run.counter(side, "Tcp.RetransSegs") == 0);
    clean && quiet && once && !run.case.is_mptcp()
}

/// With cookies on overflow only, the length of the listener's queue decides: that is not in the case.
fn no_cookies(run: &Run<'_>) -> bool {
    run.case.knobs(run.case.server.host).syncookies == Syncookies::Off
}

fn only_cookies(run: &Run<'_>) -> bool {
    run.case.knobs(run.case.server.host).syncookies == Syncookies::Always
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Host, Impairments, Knobs, LinkId};
    use crate::oracle::{healthy, judge};

    fn counted(case: &Case, host: Host, counter: &str, grown: i64) -> String {
        let mut seen = healthy::observation(case);
        seen.hosts.entry(host).or_default().counters.insert(counter.into(), grown);
        judge(case, &seen).signature
    }

    fn pairing(client: Protocol, server: Protocol) -> Case {
        let mut case = Case::default();
        case.server.host = Host::Ns2;
        case.client.protocol = client;
        case.server.protocol = server;
        case
    }

    fn cookies(syncookies: Syncookies) -> Case {
        let mut case = pairing(Protocol::Tcp, Protocol::Tcp);
        case.hosts.insert(Host::Ns2, Knobs { syncookies, ..Knobs::default() });
        case
    }

    #[test]
    fn a_wrong_checksum_needs_a_damaging_link() {
        let mut case = pairing(Protocol::Tcp, Protocol::Tcp);
        let broken = "CounterBroken: Tcp.InCsumErrors moved at the server";
        assert_eq!(counted(&case, Host::Ns2, "Tcp.InCsumErrors", 1), broken);
        case.links.entry(LinkId::Ns1Ns2).or_default().forward = Impairments { corrupt: 0.1, ..Impairments::default() };
        assert_eq!(counted(&case, Host::Ns2, "Tcp.InCsumErrors", 1), "Pass");
    }

    #[test]
    fn what_mptcp_never_needs_never_moves() {
        let mut case = pairing(Protocol::Mptcp, Protocol::Mptcp);
        case.cpus = 2;
        case.links.entry(LinkId::Ns1Ns2).or_default().forward = Impairments { corrupt: 0.1, ..Impairments::default() };
        for counter in ["DataCsumErr", "MPFailTx", "MPFailRx", "InfiniteMapTx", "MPJoinSynTx", "MPJoinSynRx"] {
            let broken = format!("CounterBroken: MPTcpExt.{counter} moved at the client");
            assert_eq!(counted(&case, Host::Ns1, &format!("MPTcpExt.{counter}"), 1), broken);
        }
    }

    #[test]
    fn mptcp_is_neither_offered_nor_taken_by_tcp() {
        let case = pairing(Protocol::Tcp, Protocol::Mptcp);
        let broken = "CounterBroken: MPTcpExt.MPCapableSYNRX moved at the server";
        assert_eq!(counted(&case, Host::Ns2, "MPTcpExt.MPCapableSYNRX", 1), broken);
        let case = pairing(Protocol::Mptcp, Protocol::Tcp);
        let broken = "CounterBroken: MPTcpExt.MPCapableSYNACKRX moved at the client";
        assert_eq!(counted(&case, Host::Ns1, "MPTcpExt.MPCapableSYNACKRX", 1), broken);
    }

    #[test]
    fn mptcp_is_offered_where_both_ends_have_it() {
        let mut case = pairing(Protocol::Mptcp, Protocol::Mptcp);
        let broken = "CounterBroken: MPTcpExt.MPCapableSYNRX did not move at the server";
        assert_eq!(counted(&case, Host::Ns2, "MPTcpExt.MPCapableSYNRX", 0), broken);
        case.cpus = 2;
        assert_eq!(counted(&case, Host::Ns2, "MPTcpExt.MPCapableSYNRX", 0), "Pass");
    }

    #[test]
    fn a_plain_case_needs_no_reset() {
        let case = pairing(Protocol::Mptcp, Protocol::Tcp);
        let broken = "CounterBroken: Tcp.OutRsts moved at the client";
        assert_eq!(counted(&case, Host::Ns1, "Tcp.OutRsts", 1), broken);
        let refused = Case { refusals: 1, ..case.clone() };
        let racing = Case { cpus: 2, ..case.clone() };
        let mut delayed = case;
        delayed.links.entry(LinkId::Ns1Ns2).or_default().forward.delay = std::time::Duration::from_millis(1);
        for excused in [refused, racing, delayed, pairing(Protocol::Mptcp, Protocol::Mptcp)] {
            assert_eq!(counted(&excused, Host::Ns1, "Tcp.OutRsts", 1), "Pass");
        }
    }

    #[test]
    fn syn_cookies_follow_their_knob() {
        let moved = |syncookies, grown| counted(&cookies(syncookies), Host::Ns2, "TcpExt.SyncookiesSent", grown);
        assert_eq!(moved(Syncookies::Off, 1), "CounterBroken: TcpExt.SyncookiesSent moved at the server");
        assert_eq!(moved(Syncookies::Always, 0), "CounterBroken: TcpExt.SyncookiesSent did not move at the server");
        for (syncookies, grown) in [(Syncookies::Off, 0), (Syncookies::Always, 2), (Syncookies::OnOverflow, 1)] {
            assert_eq!(moved(syncookies, grown), "Pass");
        }
    }
}
