//! Whether the path manager events that the kernel sent make sense, by themselves and next to its counters.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::subflows::is_calm;
use crate::observation::{PmEvent, PmEventKind};
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Looks at the events of both ends.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    BOTH.into_iter().find_map(|side| {
        let host = run.seen.hosts.get(&run.endpoint(side).host)?;
        if host.pm_events_lost {
            return None;
        }
        out_of_turn(&host.pm_events, side).or_else(|| miscounted(run, &host.pm_events, side))
    })
}

fn broken(looks: &str, what: String) -> Verdict {
    Verdict::of(Kind::CounterBroken, looks, what)
}

/// A connection, as far as its events go.
#[derive(Default)]
struct Connection {
    established: bool,
    closed: bool,
    /// Each subflow by its two ends, and whether it is closed.
    subflows: BTreeMap<(SocketAddr, SocketAddr), bool>,
}

/// No event of a connection comes before its beginning, after its end, or twice.
fn out_of_turn(events: &[PmEvent], side: Sender) -> Option<Verdict> {
    use PmEventKind::*;
    let mut connections: BTreeMap<u32, Connection> = BTreeMap::new();
    // A connection that has fallen back to TCP has no token any more.
    for event in events.iter().filter(|event| event.token != 0) {
        let ends = event.local.zip(event.remote);
        let twice = match event.kind {
            Created => {
                connections.insert(event.token, Connection::default());
                false
            }
            Established | Closed | SubflowEstablished | SubflowClosed | Announced => {
                let Some(connection) = connections.get_mut(&event.token) else {
                    // A refused connect closes a connection that was never created.
                    if event.kind == Closed {
                        continue;
                    }
                    let looks = format!("{} was told of an unknown connection", side.name());
                    return Some(broken(&looks, format!("{looks}: {event:?}")));
                };
                let over = connection.closed;
                let again = match event.kind {
                    Established => std::mem::replace(&mut connection.established, true),
                    Closed => std::mem::replace(&mut connection.closed, true),
                    SubflowEstablished => ends.is_some_and(|ends| connection.subflows.insert(ends, false).is_some()),
                    SubflowClosed => ends.is_some_and(|ends| connection.subflows.insert(ends, true) == Some(true)),
                    _ => false,
                };
                again || (over && event.kind == SubflowEstablished)
            }
            _ => false,
        };
        if twice {
            let looks = format!("{} was told {:?} out of turn", side.name(), event.kind);
            return Some(broken(&looks, format!("{looks}: {event:?}")));
        }
    }
    None
}

/// There are no more events than packets that cause them. (MPTcpExt.RmAddr counts closed subflows, not packets, so it
/// cannot be compared with Removed.)
fn miscounted(run: &Run<'_>, events: &[PmEvent], side: Sender) -> Option<Verdict> {
    let told = |kind| events.iter().filter(|event| event.kind == kind).count() as i64;
    let counted = |name: &str| run.counter(side, &format!("MPTcpExt.{name}"));
    let joined = match side {
        Sender::Client => "MPJoinSynAckRx",
        Sender::Server => "MPJoinAckRx",
    };
    let at_most = [(PmEventKind::SubflowEstablished, joined), (PmEventKind::Announced, "AddAddr")];
    let more = at_most.into_iter().find(|(kind, name)| told(*kind) > counted(name));
    if let Some((kind, name)) = more {
        let looks = format!("{} was told {kind:?} more often than MPTcpExt.{name} moved", side.name());
        return Some(broken(&looks, format!("{looks}: {} and {}", told(kind), counted(name))));
    }
    let silent = is_calm(run) && told(PmEventKind::Established) > 0 && counted(joined) > 0;
    (silent && told(PmEventKind::SubflowEstablished) == 0).then(|| {
        let looks = format!("{} was not told of a join", side.name());
        broken(&looks, format!("{looks}: MPTcpExt.{joined} {:+}", counted(joined)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Host, Protocol, Topology};
    use crate::oracle::{healthy, judge};

    fn event(kind: PmEventKind) -> PmEvent {
        let end = |text: &str| Some(text.parse().expect("an address"));
        PmEvent {
            kind,
            token: 7,
            local: end("10.0.12.1:5000"),
            remote: end("10.0.11.2:80"),
            local_id: None,
            remote_id: None,
            backup: false,
            error: None,
        }
    }

    fn judged(kinds: &[PmEventKind], joined: i64) -> String {
        let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.hosts.entry(Host::Ns1).or_default().pm.endpoints =
            vec![crate::case::PmEndpoint::on(crate::case::LinkId::Path2)];
        let mut seen = healthy::observation(&case);
        let host = seen.hosts.entry(Host::Ns1).or_default();
        host.pm_events = kinds.iter().map(|kind| event(*kind)).collect();
        host.counters.insert("MPTcpExt.MPJoinSynAckRx".into(), joined);
        judge(&case, &seen).signature
    }

    #[test]
    fn events_come_in_turn_once_and_with_their_packets() {
        use PmEventKind::*;
        let life = [Created, Established, SubflowEstablished, SubflowClosed, Closed];
        assert_eq!(judged(&life, 1), "Pass");
        assert_eq!(judged(&life[4..], 0), "Pass", "a refused connect");
        assert_eq!(judged(&life[1..], 1), "CounterBroken: client was told of an unknown connection");
        let twice = [Created, Established, SubflowEstablished, SubflowClosed, SubflowClosed];
        assert_eq!(judged(&twice, 1), "CounterBroken: client was told SubflowClosed out of turn");
        let late = [Created, Established, Closed, SubflowEstablished];
        assert_eq!(judged(&late, 1), "CounterBroken: client was told SubflowEstablished out of turn");
        let more = "CounterBroken: client was told SubflowEstablished more often than MPTcpExt.MPJoinSynAckRx moved";
        assert_eq!(judged(&life, 0), more);
        assert_eq!(judged(&[Created, Established, Closed], 1), "CounterBroken: client was not told of a join");
    }
}
