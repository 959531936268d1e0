//! Whether a connection used the paths that its path managers were configured with, and no others.

use std::time::Duration;

use super::counters;
use crate::case::{Case, Direction, First, Impairments, LinkId, PmEndpoint, Syncookies};
use crate::oracle::expectation::silence;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// A transfer of this many bytes in one direction lasts longer than a join takes.
const LONG: u64 = 1 << 20;
/// Within this time the kernel's worker gets its turn.
const TURN: Duration = Duration::from_millis(1);
/// The most bytes that a backup carries while another path works: handshakes, acknowledgements, and data sent before the
/// backup flag arrives.
const BACKUP_MOST: u64 = 128 << 10;

/// Looks at subflows and paths after a transfer that came to an orderly end.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    too_many(run).or_else(|| missing(run)).or_else(|| backup(run))
}

/// A connection never has many more subflows than its limit. The kernel checks the limit once for each announced address,
/// and then makes a subflow to it from each of its own endpoints (net/mptcp/pm_kernel.c, mptcp_pm_nl_add_addr_received).
fn too_many(run: &Run<'_>) -> Option<Verdict> {
    BOTH.into_iter().find_map(|side| {
        let pm = run.case.knobs(run.endpoint(side).host).pm;
        // A path manager in user space sets its own limits.
        if pm.userspace {
            return None;
        }
        let peer = run.case.knobs(run.endpoint(side.peer()).host).pm;
        // A host that makes no subflow itself only accepts joins, one at a time.
        let only_accepts = run.case.events.is_empty()
            && !peer.userspace
            && pm.endpoints.iter().all(|endpoint| !endpoint.subflow && !endpoint.fullmesh)
            && peer.endpoints.iter().all(|endpoint| !endpoint.signal);
        let own = if only_accepts { 0 } else { pm.endpoints.len() };
        let limit = pm.subflow_limit().saturating_add(u8::try_from(own).unwrap_or(u8::MAX));
        let subflows = run.story(side).mptcp?.subflows;
        let name = side.name();
        (subflows > limit).then(|| {
            let what = format!("the {name} has {subflows} further subflows where {limit} are allowed");
            Verdict::of(Kind::CounterBroken, &format!("{name} has more subflows than its limit"), what)
        })
    })
}

/// If nothing is in the way and the path managers ask for subflows, the server accepts one.
fn missing(run: &Run<'_>) -> Option<Verdict> {
    let joined = run.counter(Sender::Server, "MPTcpExt.MPJoinAckRx") > 0;
    (is_smooth(run) && is_long(run.case) && lasts(run) && asks(run.case) && !joined).then(|| {
        let looks = "nobody joined although the path managers ask for it";
        Verdict::of(Kind::CounterBroken, looks, looks.to_owned())
    })
}

/// Whether both ends keep their sending side open for longer than a join takes. After a shutdown an end neither joins nor
/// accepts joins (net/mptcp/pm.c and subflow.c require the state ESTABLISHED).
fn is_long(case: &Case) -> bool {
    let (client, server) = (case.client.payload >= LONG, case.server.payload >= LONG);
    match case.ending.first {
        First::Both => client && server,
        First::Client => client,
        First::Server => server,
    }
}

/// Whether the transfer took longer than the handshakes of the connection and of a join, and the kernel's worker got its
/// turn: in virtual time two busy endpoints may move a mebibyte without giving it one.
fn lasts(run: &Run<'_>) -> bool {
    run.seen.timings.transfer >= 4 * silence::round_trip(run.case) + TURN
}

/// Whether the path managers certainly make a further subflow.
fn asks(case: &Case) -> bool {
    let [client, server] = [&case.client, &case.server].map(|endpoint| case.knobs(endpoint.host));
    let first = case.topology.ways().first();
    let elsewhere = |endpoint: &&PmEndpoint| Some(&endpoint.link) != first;
    // The other end may have no address of the other family.
    let usual = |endpoint: &&PmEndpoint| elsewhere(endpoint) && !endpoint.other_family;
    let by_client = client.pm.endpoints.iter().filter(usual).any(|endpoint| endpoint.subflow) && server.join_initial;
    let announced = server.pm.endpoints.iter().filter(usual).any(|endpoint| endpoint.signal && endpoint.port.is_none())
        && !case.bound;
    // Limits and SYN cookies are the only other reasons not to join.
    let allowed = client.pm.subflow_limit() > 0 && server.pm.subflow_limit() > 0;
    let cookies = server.syncookies == Syncookies::Always;
    allowed && !cookies && (by_client || announced && client.pm.accept_limit() > 0)
}

/// A path with nothing but backup subflows carries hardly anything while the first path, which is no backup, works.
fn backup(run: &Run<'_>) -> Option<Verdict> {
    let stale = BOTH.into_iter().any(|side| run.counter(side, "MPTcpExt.SubflowStale") > 0);
    if !is_smooth(run) || stale {
        return None;
    }
    let link = run.case.topology.ways().iter().find(|way| is_backup(run.case, **way) && busy(run, **way))?;
    let carried = run.seen.links.get(link)?.bytes;
    let looks = "a backup path carried data while another path worked";
    Some(Verdict::of(Kind::CounterBroken, looks, format!("{looks}: {link} {} and {} bytes", carried[0], carried[1])))
}

/// Whether all subflows on `way` are backups, and those of the first path are not.
fn is_backup(case: &Case, way: LinkId) -> bool {
    let [client, server] = [case.client.host, case.server.host].map(|host| case.knobs(host).pm.endpoints);
    let first = case.topology.ways()[0];
    let of_first = client.iter().chain(&server).any(|endpoint| endpoint.link == first && endpoint.backup);
    let meshed = client.iter().any(|endpoint| endpoint.fullmesh || endpoint.laminar);
    let own = client.iter().find(|endpoint| endpoint.link == way);
    let theirs = server.iter().any(|endpoint| endpoint.link == way);
    way != first && !of_first && !meshed && !theirs && own.is_some_and(|endpoint| endpoint.subflow && endpoint.backup)
}

fn busy(run: &Run<'_>, link: LinkId) -> bool {
    run.seen.links.get(&link).is_some_and(|story| story.bytes.iter().any(|bytes| *bytes > BACKUP_MOST))
}

/// Whether the links only delay, nothing happens to paths, nobody leaves early, and the connection is certainly MPTCP.
fn is_smooth(run: &Run<'_>) -> bool {
    let stays = run.case.ending.leave.is_none();
    stays && run.case.events.is_empty() && counters::surely_mptcp(run) && is_calm(run)
}

/// Whether the links only delay packets, and no event interrupts them.
pub fn is_calm(run: &Run<'_>) -> bool {
    run.case.events.iter().all(|event| event.what.outage().is_none()) && is_calm_but_for_outages(run)
}

/// Whether the links do nothing but take their time, whatever keeps packets from them altogether for a while.
pub fn is_calm_but_for_outages(run: &Run<'_>) -> bool {
    let only_delays =
        |impairments: &Impairments| *impairments == Impairments { delay: impairments.delay, ..Impairments::default() };
    let links = run.case.topology.links().iter().map(|id| run.case.link(*id));
    let smooth = |link: crate::case::Link| Direction::BOTH.iter().all(|way| only_delays(link.impairments(*way)));
    let fallen_back = BOTH.into_iter().any(|side| run.story(side).mptcp.is_none_or(|state| state.fallback));
    run.case.is_mptcp() && run.case.cpus == 1 && !fallen_back && links.into_iter().all(smooth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Host, Knobs, Loss, PathManager, Protocol, Topology};
    use crate::observation::{LinkStory, Observation};
    use crate::oracle::{healthy, judge};

    fn joined(endpoint: PmEndpoint) -> Case {
        let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.client.payload = LONG;
        case.ending.first = First::Client;
        let pm = PathManager { endpoints: vec![endpoint], ..PathManager::default() };
        case.hosts.insert(Host::Ns1, Knobs { pm, ..Knobs::default() });
        case
    }

    fn judged(case: &Case, change: impl FnOnce(&mut Observation)) -> String {
        let mut seen = healthy::observation(case);
        change(&mut seen);
        judge(case, &seen).signature
    }

    fn alone(seen: &mut Observation) {
        seen.hosts.entry(Host::Ns2).or_default().counters.remove("MPTcpExt.MPJoinAckRx");
    }

    #[test]
    fn a_join_that_nothing_hinders_happens() {
        let endpoint = PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) };
        let case = joined(endpoint);
        let missing = "CounterBroken: nobody joined although the path managers ask for it";
        assert_eq!((judged(&case, |_| ()).as_str(), judged(&case, alone).as_str()), ("Pass", missing));
        let mut lossy = case.clone();
        lossy.links.entry(LinkId::Path2).or_default().forward.loss = Some(Loss::Independent(0.1));
        let mut short = case.clone();
        short.client.payload = 1000;
        let mut shut = case.clone();
        shut.ending.first = First::Both;
        let unflagged = joined(PmEndpoint::on(LinkId::Path2));
        let mut refused = case;
        refused.hosts.entry(Host::Ns2).or_default().pm.subflows = Some(0);
        for excused in [lossy, short, shut, unflagged, refused] {
            assert_eq!(judged(&excused, alone), "Pass");
        }
        let over = |after: u64| {
            let mut slow = joined(endpoint);
            slow.links.entry(LinkId::Path2).or_default().forward.delay = Duration::from_millis(10);
            let ends = |seen: &mut Observation| {
                alone(seen);
                seen.timings.transfer = Duration::from_millis(after);
            };
            judged(&slow, ends)
        };
        assert_eq!((over(5).as_str(), over(50).as_str()), ("Pass", missing));
    }

    #[test]
    fn no_limit_is_exceeded() {
        let case = joined(PmEndpoint { subflow: true, ..PmEndpoint::on(LinkId::Path2) });
        let three = |seen: &mut Observation| seen.server.mptcp.iter_mut().for_each(|state| state.subflows = 3);
        assert_eq!(judged(&case, three), "CounterBroken: server has more subflows than its limit");
        // A server that makes none itself is held to it, whatever it announces; one that may make some is given more.
        let mut announcing = case.clone();
        let server = announcing.server.host;
        let path = |signal, subflow| PmEndpoint { signal, subflow, ..PmEndpoint::on(LinkId::Path2) };
        announcing.hosts.entry(server).or_default().pm.endpoints = vec![path(true, false)];
        assert_eq!(judged(&announcing, three), "CounterBroken: server has more subflows than its limit");
        announcing.hosts.entry(server).or_default().pm.endpoints = vec![path(false, true)];
        assert_eq!(judged(&announcing, three), "Pass");
    }

    #[test]
    fn a_backup_rests_while_another_path_works() {
        let flagged = |backup| joined(PmEndpoint { subflow: true, backup, ..PmEndpoint::on(LinkId::Path2) });
        let busy = |seen: &mut Observation| {
            let story = LinkStory { bytes: [1000, 2 * BACKUP_MOST], ..LinkStory::default() };
            seen.links.insert(LinkId::Path2, story);
        };
        assert_eq!(judged(&flagged(true), busy), "CounterBroken: a backup path carried data while another path worked");
        assert_eq!(judged(&flagged(false), busy), "Pass");
    }
}
