//! The observation of a healthy run of any case, for tests to break.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::case::{Case, Direction, Host, Impairments, LinkId, Protocol, Syncookies};
use crate::observation::{End, HostStory, LinkStory, MptcpState, Observation, Story, Timings};

/// MPTCP between two hosts, over a link with these impairments on the way to the server.
pub fn mptcp_across(forward: Impairments) -> Case {
    let mut case = Case::default();
    case.server.host = Host::Ns2;
    (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
    case.links.entry(LinkId::Ns1Ns2).or_default().forward = forward;
    case
}

/// What a healthy kernel shows of `case`.
pub fn observation(case: &Case) -> Observation {
    let mut hosts: BTreeMap<Host, HostStory> = Host::ALL.map(|host| (host, HostStory::default())).into();
    let mut count = |host: Host, counter: &str, grown: i64| {
        *hosts.entry(host).or_default().counters.entry(counter.into()).or_default() += grown;
    };
    count(case.client.host, "Tcp.ActiveOpens", 1 + i64::from(case.refusals));
    count(case.server.host, "Tcp.PassiveOpens", 1);
    if case.client.protocol == Protocol::Mptcp {
        count(case.client.host, "MPTcpExt.MPCapableSYNTX", 1);
    }
    if case.is_mptcp() {
        count(case.server.host, "MPTcpExt.MPCapableSYNRX", 1);
        count(case.server.host, "MPTcpExt.MPCapableACKRX", 1);
        count(case.client.host, "MPTcpExt.MPCapableSYNACKRX", 1);
    }
    if case.is_mptcp() && case.hosts.values().any(|knobs| !knobs.pm.endpoints.is_empty()) {
        count(case.client.host, "MPTcpExt.MPJoinSynTx", 1);
        count(case.server.host, "MPTcpExt.MPJoinSynRx", 1);
        count(case.server.host, "MPTcpExt.MPJoinAckRx", 1);
    }
    if case.knobs(case.server.host).syncookies == Syncookies::Always {
        count(case.server.host, "TcpExt.SyncookiesSent", 1);
        count(case.server.host, "TcpExt.SyncookiesRecv", 1);
    }
    let links = case.path().into_iter().map(|id| {
        let impaired =
            Direction::BOTH.iter().any(|direction| *case.link(id).impairments(*direction) != Default::default());
        let carrier = if impaired { "tap" } else { "veth" };
        (id, LinkStory { carrier: carrier.into(), packets: 12, ..LinkStory::default() })
    });
    let state = |protocol: Protocol| match protocol {
        Protocol::Tcp => None,
        Protocol::Mptcp if case.is_mptcp() => Some(MptcpState { remote_key: true, ..MptcpState::default() }),
        Protocol::Mptcp => Some(MptcpState { fallback: true, ..MptcpState::default() }),
    };
    let story = |sent, received, protocol| Story {
        connected: true,
        sent,
        received,
        shut_down: true,
        end_of_stream: true,
        state: "done".into(),
        rounds: case.rounds.count,
        mptcp: state(protocol),
        ..Story::default()
    };
    Observation {
        end: End::Finished,
        client: Story {
            refused: case.refusals,
            ..story(case.client.payload, case.server.payload, case.client.protocol)
        },
        server: story(case.server.payload, case.client.payload, case.server.protocol),
        links: links.collect(),
        hosts,
        events: Vec::new(),
        trouble: Vec::new(),
        kernel_log: Vec::new(),
        kernel: "6.18.44 #1 SMP".into(),
        timings: Timings {
            setup: Duration::from_millis(3),
            transfer: Duration::from_millis(12),
            settle: Duration::from_millis(1),
            silence: Duration::ZERO,
            exact: false,
        },
    }
}
