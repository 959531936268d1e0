//! Whether the kernel's counters agree with the case: CounterBroken.
//!
//! Each rule says under which condition, derived from the case, a counter must or must not have moved on a host of an
//! endpoint. A counter that a kernel does not have counts as one that did not move, so rules that demand movement are
//! few.

use super::fallback;
use crate::case::{Action, Protocol, Syncookies};
use crate::oracle::expectation::{losses, middlebox};
use crate::oracle::{BOTH, Kind, Run, Verdict};
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

/// A row: the counter stays where it is.
const fn rest(counter: &'static str, side: Side, when: fn(&Run<'_>) -> bool) -> Rule {
    Rule { counter, side, when, must: Must::Rest }
}

/// A row: the counter grows.
const fn grow(counter: &'static str, side: Side, when: fn(&Run<'_>) -> bool) -> Rule {
    Rule { counter, side, when, must: Must::Grow }
}

/// The rows, from the kernel's source (net/mptcp, net/ipv4) and RFC 8684; each held in campaigns on 6.18 and 7.2.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    // A damaged packet is the only one whose checksum can be wrong: links carry frames with full checksums.
    rest("Tcp.InCsumErrors", Side::Each, undamaged),
    // TCP's checksum drops what a link damages, so nothing wrong ever reaches the check of a DSS checksum, but for what a
    // middlebox has made look right ...
    rest("MPTcpExt.DataCsumErr", Side::Each, unaltered),
    // ... and nobody has a reason to report a failure of it, or to give up mappings for it (RFC 8684 section 3.7).
    rest("MPTcpExt.MPFailTx", Side::Each, unaltered),
    rest("MPTcpExt.MPFailRx", Side::Each, unaltered),
    rest("MPTcpExt.InfiniteMapTx", Side::Each, unaltered),
    // Mappings come whole, in order and once with the bytes that they are about (subflow.c: get_mapping_status).
    rest("MPTcpExt.DSSNotMatching", Side::Each, untouched),
    rest("MPTcpExt.DSSNoMatchTCP", Side::Each, untouched),
    rest("MPTcpExt.DSSCorruptionFallback", Side::Each, untouched),
    rest("MPTcpExt.DSSCorruptionReset", Side::Each, untouched),

    // TCP puts the bytes of a subflow in order, so the data of a single one are (protocol.c: mptcp_data_queue_ofo).
    rest("MPTcpExt.OFOQueue", Side::Each, one_untouched_subflow),
    rest("MPTcpExt.OFOQueueTail", Side::Each, one_untouched_subflow),
    rest("MPTcpExt.OFOMerge", Side::Each, one_untouched_subflow),
    rest("MPTcpExt.NoDSSInWindow", Side::Each, one_untouched_subflow),
    // TCP keeps what comes twice to itself: data comes twice only where MPTCP sent it again, or probed with it.
    rest("MPTcpExt.DuplicateData", Side::Client, server_sent_data_once),
    rest("MPTcpExt.DuplicateData", Side::Server, client_sent_data_once),
    // Two subflows may disagree about the window that they share; one holds its lock (options.c: mptcp_set_rwin).
    rest("MPTcpExt.RcvWndConflict", Side::Each, one_subflow),
    rest("MPTcpExt.RcvWndConflictUpdate", Side::Each, one_subflow),
    // The only subflow is never stale: there is no other one to move to (pm.c: mptcp_pm_subflow_chk_stale).
    rest("MPTcpExt.SubflowStale", Side::Each, one_subflow),
    rest("MPTcpExt.SubflowRecover", Side::Each, one_subflow),

    // Nobody has configured a second subflow ...
    rest("MPTcpExt.MPJoinSynTx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynTxCreatSkErr", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynTxBindErr", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynTxConnectErr", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynBackupRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynAckRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinSynAckBackupRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinAckRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinRejected", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinNoTokenFound", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinPortSynRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinPortSynAckRx", Side::Each, one_subflow),
    rest("MPTcpExt.MPJoinPortAckRx", Side::Each, one_subflow),
    rest("MPTcpExt.MismatchPortSynRx", Side::Each, one_subflow),
    rest("MPTcpExt.MismatchPortAckRx", Side::Each, one_subflow),
    // ... nor an address to announce, to take back or to prefer (pm.c).
    rest("MPTcpExt.MPCapableEndpAttempt", Side::Each, one_subflow),
    rest("MPTcpExt.AddAddr", Side::Each, one_subflow),
    rest("MPTcpExt.AddAddrTx", Side::Each, one_subflow),
    rest("MPTcpExt.AddAddrTxDrop", Side::Each, one_subflow),
    rest("MPTcpExt.AddAddrDrop", Side::Each, one_subflow),
    rest("MPTcpExt.EchoAdd", Side::Each, one_subflow),
    rest("MPTcpExt.EchoAddTx", Side::Each, one_subflow),
    rest("MPTcpExt.EchoAddTxDrop", Side::Each, one_subflow),
    rest("MPTcpExt.PortAdd", Side::Each, one_subflow),
    rest("MPTcpExt.RmAddr", Side::Each, one_subflow),
    rest("MPTcpExt.RmAddrDrop", Side::Each, one_subflow),
    rest("MPTcpExt.RmAddrTx", Side::Each, one_subflow),
    rest("MPTcpExt.RmAddrTxDrop", Side::Each, one_subflow),
    rest("MPTcpExt.RmSubflow", Side::Each, one_subflow),
    rest("MPTcpExt.MPPrioTx", Side::Each, one_subflow),
    rest("MPTcpExt.MPPrioRx", Side::Each, one_subflow),
    // Where somebody has, both ends know the keys (subflow.c).
    rest("MPTcpExt.MPJoinSynAckHMacFailure", Side::Each, unaltered),
    rest("MPTcpExt.MPJoinAckHMacFailure", Side::Each, unaltered),

    // Without an MPTCP client no SYN offers MPTCP, and without an MPTCP server no SYN/ACK takes it.
    rest("MPTcpExt.MPCapableSYNTX", Side::Client, tcp_client),
    rest("MPTcpExt.MPCapableSYNRX", Side::Server, tcp_client),
    rest("MPTcpExt.MPCapableSYNACKRX", Side::Client, tcp_server),
    rest("MPTcpExt.MPCapableACKRX", Side::Server, tcp_client),
    rest("MPTcpExt.MPCapableACKRX", Side::Server, tcp_server),
    // Neither does one that has lost its options on the way.
    rest("MPTcpExt.MPCapableSYNRX", Side::Server, hidden_client),
    rest("MPTcpExt.MPCapableSYNACKRX", Side::Client, hidden_server),
    // Between two of them, all of it happens.
    grow("MPTcpExt.MPCapableSYNTX", Side::Client, surely_mptcp),
    grow("MPTcpExt.MPCapableSYNRX", Side::Server, surely_mptcp),
    grow("MPTcpExt.MPCapableSYNACKRX", Side::Client, surely_mptcp),
    grow("MPTcpExt.MPCapableACKRX", Side::Server, surely_mptcp),
    // A SYN gives MPTCP up only once it was sent again (ctrl.c: mptcp_active_detect_blackhole).
    rest("MPTcpExt.MPCapableSYNTXDrop", Side::Client, syn_sent_once),
    rest("MPTcpExt.MPCapableSYNTXDisabled", Side::Client, syn_sent_once),
    rest("MPTcpExt.Blackhole", Side::Client, syn_sent_once),
    // Tokens are drawn anew until one is free; a fallback that is refused ends in a reset (protocol.c, subflow.c).
    rest("MPTcpExt.MPFallbackTokenInit", Side::Each, always),
    rest("MPTcpExt.FallbackFailed", Side::Each, surely_mptcp),
    // An endpoint that has sent and read everything has no reason to reset or to abort.
    rest("MPTcpExt.MPRstTx", Side::Each, orderly_mptcp),
    rest("MPTcpExt.MPRstRx", Side::Each, orderly_mptcp),
    rest("MPTcpExt.MPFastcloseTx", Side::Each, orderly_mptcp),
    rest("MPTcpExt.MPFastcloseRx", Side::Each, orderly_mptcp),

    // An orderly end needs no RST, and a connection that falls back to TCP ends like TCP.
    rest("Tcp.EstabResets", Side::Each, plain),
    rest("Tcp.OutRsts", Side::Each, plain),
    // Data in a SYN is taken where the server asks for it, and nowhere else.
    rest("TcpExt.TCPFastOpenPassive", Side::Server, no_fast_open),
    rest("TcpExt.SyncookiesSent", Side::Server, no_cookies),
    rest("TcpExt.SyncookiesRecv", Side::Server, no_cookies),
    grow("TcpExt.SyncookiesSent", Side::Server, only_cookies),
    grow("TcpExt.SyncookiesRecv", Side::Server, only_cookies),
];

/// Looks at the counters of both endpoints' hosts after a transfer that came to an orderly end.
///
/// What is not looked at, and why: TcpExt.TCPTimeouts and the retransmission counters (tiny buffers, and MPTCP by
/// itself, make timers fire on clean paths); Tcp.InErrs (moves with a SYN that was sent again); Tcp.OutRsts and
/// Tcp.EstabResets between two MPTCP endpoints, TcpExt.TCPAbort* (how MPTCP closes its subflows is its own affair);
/// MPTcpExt.MPTCPRetrans and WinProbe (its timer fires on clean paths, too, where a reader rests or the machine is slow: in 24
/// of 300 such cases); SndWndShared and RcvWndShared (a single subflow shares windows with its connection).
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

/// Whether nothing in the case leads to a second subflow.
fn one_subflow(run: &Run<'_>) -> bool {
    let added = run.case.events.iter().any(|event| event.what.host().is_some());
    !added && run.case.hosts.values().all(|knobs| knobs.pm.endpoints.is_empty())
}

/// Whether no middlebox and no single fault changes what MPTCP says: what comes is what was sent.
fn untouched(run: &Run<'_>) -> bool {
    let whole = |action: Action| {
        matches!(action, Action::Drop | Action::Flip(_) | Action::Duplicate | Action::Late(_) | Action::Early(_))
    };
    losses::directions(run.case).all(|impairments| {
        !middlebox::disturb_mptcp(&impairments) && impairments.faults.iter().all(|fault| whole(fault.action))
    })
}

fn one_untouched_subflow(run: &Run<'_>) -> bool {
    one_subflow(run) && untouched(run)
}

/// Whether MPTCP at the server's host has neither sent data again nor probed a closed window with data already sent.
fn server_sent_data_once(run: &Run<'_>) -> bool {
    one_untouched_subflow(run) && sent_data_once(run, Sender::Server)
}

/// The same of the client's host.
fn client_sent_data_once(run: &Run<'_>) -> bool {
    one_untouched_subflow(run) && sent_data_once(run, Sender::Client)
}

fn sent_data_once(run: &Run<'_>, side: Sender) -> bool {
    ["MPTcpExt.MPTCPRetrans", "MPTcpExt.WinProbe"].iter().all(|counter| run.counter(side, counter) == 0)
}

fn syn_sent_once(run: &Run<'_>) -> bool {
    run.counter(Sender::Client, "TcpExt.TCPSynRetrans") == 0
}

/// Whether MPTCP was in nothing's way, and both endpoints came to the end of both streams.
fn orderly_mptcp(run: &Run<'_>) -> bool {
    // A join that comes too late is reset.
    let ends = run.case.ending.leave.is_none() && !run.case.rounds.reuse && one_subflow(run);
    ends && surely_mptcp(run) && BOTH.into_iter().all(|side| run.story(side).shut_down && run.story(side).end_of_stream)
}

fn undamaged(run: &Run<'_>) -> bool {
    !middlebox::flip(run.case) && !losses::directions(run.case).any(|impairments| impairments.corrupt > 0.0)
}

fn unaltered(run: &Run<'_>) -> bool {
    !middlebox::alter(run.case)
}

fn hidden_client(run: &Run<'_>) -> bool {
    middlebox::hide_client(run.case)
}

fn hidden_server(run: &Run<'_>) -> bool {
    middlebox::hide_client(run.case) || middlebox::hide_server(run.case)
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
    clean && quiet && once && !run.case.is_mptcp() && run.case.ending.leave.is_none() && !run.case.rounds.reuse
}

/// With cookies on overflow only, the length of the listener's queue decides: that is not in the case.
fn no_cookies(run: &Run<'_>) -> bool {
    run.case.knobs(run.case.server.host).syncookies == Syncookies::Off
}

fn no_fast_open(run: &Run<'_>) -> bool {
    !(run.case.client.options.fastopen && run.case.server.options.fastopen)
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
    fn a_single_subflow_keeps_its_data_in_order_and_joins_nobody() {
        let mut case = pairing(Protocol::Mptcp, Protocol::Mptcp);
        case.links.entry(LinkId::Ns1Ns2).or_default().forward =
            Impairments { duplicate: 0.1, ..Impairments::default() };
        for counter in
            ["OFOQueue", "OFOQueueTail", "NoDSSInWindow", "RcvWndConflict", "AddAddrTx", "RmAddrDrop", "SubflowStale"]
        {
            let broken = format!("CounterBroken: MPTcpExt.{counter} moved at the client");
            assert_eq!(counted(&case, Host::Ns1, &format!("MPTcpExt.{counter}"), 1), broken);
        }
    }

    #[test]
    fn data_that_comes_twice_was_sent_twice() {
        let case = pairing(Protocol::Mptcp, Protocol::Mptcp);
        let twice = |sent_again: Option<&str>| {
            let mut seen = healthy::observation(&case);
            seen.hosts.entry(Host::Ns2).or_default().counters.insert("MPTcpExt.DuplicateData".into(), 1);
            let client = &mut seen.hosts.entry(Host::Ns1).or_default().counters;
            client.extend(sent_again.map(|counter| (counter.to_owned(), 1)));
            judge(&case, &seen).signature
        };
        assert_eq!(twice(None), "CounterBroken: MPTcpExt.DuplicateData moved at the server");
        assert_eq!(twice(Some("MPTcpExt.MPTCPRetrans")), "Pass");
        assert_eq!(twice(Some("MPTcpExt.WinProbe")), "Pass");
    }

    #[test]
    fn a_syn_that_was_sent_once_gives_nothing_up() {
        let case = pairing(Protocol::Mptcp, Protocol::Tcp);
        let broken = "CounterBroken: MPTcpExt.Blackhole moved at the client";
        assert_eq!(counted(&case, Host::Ns1, "MPTcpExt.Blackhole", 1), broken);
    }

    #[test]
    fn an_orderly_end_needs_no_fastclose() {
        let mut case = pairing(Protocol::Mptcp, Protocol::Mptcp);
        let broken = "CounterBroken: MPTcpExt.MPFastcloseTx moved at the client";
        assert_eq!(counted(&case, Host::Ns1, "MPTcpExt.MPFastcloseTx", 1), broken);
        case.cpus = 2;
        assert_eq!(counted(&case, Host::Ns1, "MPTcpExt.MPFastcloseTx", 1), "Pass");
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
