//! Whether changes of paths took effect: a path that was removed or made a backup carries no more data, an address is
//! announced once, and the peer hears of each change.

use super::subflows::is_calm;
use crate::case::{Case, Event, Happening, LinkId};
use crate::observation::{Happened, PmEvent, PmEventKind};
use crate::oracle::circumstances::receive_memory;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// The most bytes that a path carries after it was removed or made a backup: what its subflow had queued, retransmissions,
/// and the packets that close it.
const AFTERWARDS: u64 = 512 << 10;

/// A path that has carried this many bytes has a subflow. One that is only just joining may miss the change.
const JOINED: u64 = 4 << 10;

/// A host that has sent as many bytes into it is through with the handshake of the join. Before that the
/// kernel passes the subflow over when the flag of its endpoint changes (net/mptcp/pm.c, mptcp_pm_mp_prio_send_ack),
/// while the peer may be sending data already.
const TAKES_PART: u64 = 1 << 10;

/// Looks at paths and announcements after a transfer that came to an orderly end.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    if !is_calm(run) {
        return None;
    }
    busy_afterwards(run).or_else(|| announced_again(run)).or_else(|| unheard(run))
}

/// While the first path works, a path whose only endpoint was removed, or that has become a backup, carries no more data.
fn busy_afterwards(run: &Run<'_>) -> Option<Verdict> {
    run.seen.events.iter().find_map(|happened| {
        let link = retired(run.case, happened)?;
        let [before, after] =
            [&happened.bytes, &totals(run)].map(|bytes| bytes.get(&link).copied().unwrap_or_default());
        let from = run.case.events.get(happened.event)?.what.host() == Some(run.case.server.host);
        if before.iter().sum::<u64>() < JOINED || before[usize::from(from)] < TAKES_PART {
            return None;
        }
        let more = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).max()?;
        let state = match run.case.events.get(happened.event)?.what {
            Happening::Remove { .. } | Happening::Destroy { .. } => "was removed",
            _ => "became a backup",
        };
        (more > AFTERWARDS).then(|| {
            let looks = format!("a path carried data after it {state}");
            Verdict::of(Kind::CounterBroken, &looks, format!("{looks}: {link}, {more} bytes more"))
        })
    })
}

fn totals(run: &Run<'_>) -> std::collections::BTreeMap<LinkId, [u64; 2]> {
    run.seen.links.iter().map(|(link, story)| (*link, story.bytes)).collect()
}

/// The path that must carry nothing from this event on.
fn retired(case: &Case, happened: &Happened) -> Option<LinkId> {
    let event = case.events.get(happened.event)?;
    let (host, link) = match event.what {
        Happening::Remove { host, link }
        | Happening::Destroy { host, link }
        | Happening::Backup { host, link, on: true } => (host, link),
        _ => return None,
    };
    let first = *case.topology.ways().first()?;
    let only = case.events.iter().filter(|other| other.what.link() == Some(link)).count() == 1;
    let ends = [case.client.host, case.server.host];
    let endpoints = ends.map(|host| case.knobs(host).pm.endpoints);
    let added = case.events.iter().filter_map(|event: &Event| match event.what {
        Happening::Add { endpoint, .. } => Some(endpoint),
        _ => None,
    });
    let mut all = endpoints.iter().flatten().copied().chain(added);
    let owners = ends.iter().zip(&endpoints).filter(|(_, theirs)| theirs.iter().any(|endpoint| endpoint.link == link));
    let alone = owners.map(|(host, _)| *host).eq([host]);
    // Otherwise subflows between other pairs of addresses may cross the path, or it may have to stand in for the first one.
    let plain = all.all(|endpoint| !endpoint.fullmesh && !endpoint.laminar && (endpoint.link != first));
    // No event makes new subflows, or takes the first one away.
    let steady = case
        .events
        .iter()
        .all(|event| !matches!(event.what, Happening::Fullmesh { .. }) && !case.loses_its_first(&event.what));
    (only && alone && plain && steady && link != first && case.topology.ways().contains(&link)).then_some(link)
}

/// If nothing gets lost, each address is announced once: the echo ends the repetition (RFC 8684 section 3.4.1).
fn announced_again(run: &Run<'_>) -> Option<Verdict> {
    // With fast open the announcement may go out before the handshake is complete and be ignored; a full receiver may throw
    // away the echo; and an event may call for another announcement.
    if run.case.client.options.fastopen || receive_memory::has_thrown_away(run) || !run.case.events.is_empty() {
        return None;
    }
    BOTH.into_iter().find_map(|side| {
        let endpoints = run.case.pm_endpoints(run.endpoint(side).host);
        let most = endpoints.filter(|endpoint| endpoint.signal).count() as i64;
        let most = most * i64::from(run.case.rounds.count);
        let [sent, echoes] = ["AddAddrTx", "EchoAdd"].map(|name| run.counter(side, &format!("MPTcpExt.{name}")));
        let unanswered =
            run.counter(side.peer(), "MPTcpExt.AddAddrDrop") + run.counter(side.peer(), "MPTcpExt.EchoAddTxDrop");
        (sent > most && unanswered == 0).then(|| {
            let looks = format!("{} announced an address again", side.name());
            Verdict::of(Kind::CounterBroken, &looks, format!("{looks}: {sent} times for {most}, {echoes} echoes came"))
        })
    })
}

/// If one side removes an address or makes it a backup, the other side hears of it, provided there is time left.
/// MPTcpExt.RmAddr counts the subflows closed for it, not the packets, so it stays put if the subflow is gone already; the
/// path manager's event comes in any case.
fn unheard(run: &Run<'_>) -> Option<Verdict> {
    const EARLY: u64 = 256 << 10;
    let last = run.seen.events.iter().filter(|happened| {
        let what = run.case.events.get(happened.event).map(|event| event.what);
        what.is_some_and(|what| what.retires() || matches!(what, Happening::Backup { .. }))
    });
    let left = |happened: &Happened| {
        let [client, server] = happened.received;
        let due = [run.case.server.payload.saturating_sub(client), run.case.client.payload.saturating_sub(server)];
        due.into_iter().max().unwrap_or(0)
    };
    // A full receiver throws away options together with the data, and an endpoint that has left reads none.
    let missed = receive_memory::has_thrown_away(run) || run.case.ending.leave.is_some();
    if missed || run.case.rounds.count > 1 || !last.clone().all(|happened| left(happened) >= EARLY) {
        return None;
    }
    [("RmAddrTx", "RmAddr"), ("MPPrioTx", "MPPrioRx")].into_iter().find_map(|(told, heard)| {
        BOTH.into_iter().find_map(|side: Sender| {
            let [told, heard_there] =
                [(side, told), (side.peer(), heard)].map(|(side, name)| run.counter(side, &format!("MPTcpExt.{name}")));
            let host = run.seen.hosts.get(&run.endpoint(side.peer()).host);
            let removed = |event: &PmEvent| event.kind == PmEventKind::Removed;
            let hears = host.is_some_and(|host| host.pm_events_lost || host.pm_events.iter().any(removed));
            // The subflow by which it was told may be one that the peer has closed.
            let closes = run
                .case
                .events
                .iter()
                .any(|event| event.what.retires() && event.what.host() == Some(run.endpoint(side.peer()).host));
            (told > 0 && heard_there == 0 && !closes && !(heard == "RmAddr" && hears)).then(|| {
                let looks = format!("{} never heard MPTcpExt.{heard}", side.peer().name());
                Verdict::of(Kind::CounterBroken, &looks, format!("{looks}, which was sent {told} times"))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::case::{
        Case, Event, First, Happening, Host, Knobs, Leave, LinkId, Manner, Moment, PathManager, PmEndpoint, Protocol,
        Topology,
    };
    use crate::observation::{Happened, LinkStory, Observation};
    use crate::oracle::{healthy, judge};
    use crate::payload::Sender;

    use super::{AFTERWARDS, Kind};

    fn case(what: Happening, endpoint: PmEndpoint) -> Case {
        let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.client.payload = 4 << 20;
        case.ending.first = First::Client;
        let pm = PathManager { endpoints: vec![endpoint], ..PathManager::default() };
        let owner = if endpoint.signal { Host::Ns2 } else { Host::Ns1 };
        case.hosts.insert(owner, Knobs { pm, ..Knobs::default() });
        case.events = vec![Event { when: Moment::Client(1000), what }];
        case
    }

    fn joining() -> PmEndpoint {
        PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) }
    }

    fn judged(case: &Case, more: u64, counters: &[(Host, &str)]) -> String {
        let mut seen: Observation = healthy::observation(case);
        let bytes = [(LinkId::Path2, [5000, 0])].into();
        seen.events = vec![Happened { event: 0, received: [0, 1000], bytes, ..Happened::default() }];
        seen.links.insert(LinkId::Path2, LinkStory { bytes: [5000 + more, 0], ..LinkStory::default() });
        for (host, counter) in counters {
            seen.hosts.entry(*host).or_default().counters.insert(format!("MPTcpExt.{counter}"), 2);
        }
        judge(case, &seen).signature
    }

    #[test]
    fn a_path_that_was_taken_away_or_made_a_backup_rests() {
        let remove = case(Happening::Remove { host: Host::Ns1, link: LinkId::Path2 }, joining());
        let backup = case(Happening::Backup { host: Host::Ns1, link: LinkId::Path2, on: true }, joining());
        let used = case(Happening::Backup { host: Host::Ns1, link: LinkId::Path2, on: false }, joining());
        let looks = [&remove, &backup, &used].map(|case| judged(case, AFTERWARDS + 1, &[]));
        let expected = [
            "CounterBroken: a path carried data after it was removed",
            "CounterBroken: a path carried data after it became a backup",
            "Pass",
        ];
        assert_eq!(looks, expected);
        assert_eq!(judged(&remove, AFTERWARDS, &[]), "Pass");
        let joining_then = |before: [u64; 2]| {
            let mut seen = healthy::observation(&backup);
            let bytes = [(LinkId::Path2, before)].into();
            seen.events = vec![Happened { event: 0, received: [0, 1000], bytes, ..Happened::default() }];
            seen.links.insert(LinkId::Path2, LinkStory { bytes: [2 * AFTERWARDS, 0], ..LinkStory::default() });
            judge(&backup, &seen).kind
        };
        assert_eq!([joining_then([300, 0]), joining_then([5000, 0])], [Kind::Pass, Kind::CounterBroken]);
        assert_eq!([joining_then([176, 14724]), joining_then([1100, 14724])], [Kind::Pass, Kind::CounterBroken]);
    }

    #[test]
    fn an_address_is_announced_once_and_changes_reach_the_peer() {
        let remove = Happening::Remove { host: Host::Ns1, link: LinkId::Path2 };
        let told = case(remove, joining());
        assert_eq!(judged(&told, 0, &[(Host::Ns1, "RmAddrTx")]), "CounterBroken: server never heard MPTcpExt.RmAddr");
        let mut small = told.clone();
        small.server.options.rcvbuf = Some(8192);
        let thrown = |case: &Case| {
            let mut seen = healthy::observation(case);
            seen.events = vec![Happened::default()];
            let count = |seen: &mut Observation, host, name: &str| {
                seen.hosts.entry(host).or_default().counters.insert(name.into(), 2);
            };
            count(&mut seen, Host::Ns1, "MPTcpExt.RmAddrTx");
            count(&mut seen, Host::Ns2, "TcpExt.TCPZeroWindowDrop");
            judge(case, &seen).signature
        };
        assert_eq!(thrown(&small), "Pass", "what carried it was thrown away");
        let mut leaving = told.clone();
        leaving.ending.leave = Some(Leave { by: Sender::Client, how: Manner::Linger, sent: 4 << 20, received: 0 });
        assert!(!judged(&leaving, 0, &[(Host::Ns1, "RmAddrTx")]).contains("never heard"));
        assert_eq!(judged(&told, 0, &[(Host::Ns1, "RmAddrTx"), (Host::Ns2, "RmAddr")]), "Pass");
        let prio = |by| {
            let mut both = case(Happening::Backup { host: Host::Ns1, link: LinkId::Path2, on: true }, joining());
            let when = Moment::Client(900);
            both.events.push(Event { when, what: Happening::Destroy { host: by, link: LinkId::Path2 } });
            judged(&both, 0, &[(Host::Ns1, "MPPrioTx")])
        };
        let unheard = "CounterBroken: server never heard MPTcpExt.MPPrioRx";
        assert_eq!([prio(Host::Ns1), prio(Host::Ns2)], [unheard, "Pass"], "it went by one that the server had closed");
        let announced = case(remove, PmEndpoint { signal: true, ..PmEndpoint::on(LinkId::Path2) });
        let announced = Case { events: Vec::new(), ..announced.clone() };
        let again = judged(&announced, 0, &[(Host::Ns2, "AddAddrTx")]);
        assert_eq!(again, "CounterBroken: server announced an address again");
    }
}
