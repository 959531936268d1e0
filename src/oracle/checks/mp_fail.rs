//! Whether MPTCP reports wrong checksums (MP_FAIL, RFC 8684 section 3.7) if, and only if, packets were altered.

use crate::case::{Action, Case};
use crate::oracle::expectation::losses;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::Sender;

/// Looks at the counters of both ends.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let counted = |side: Sender, name: &str| run.counter(side, &format!("MPTcpExt.{name}"));
    BOTH.into_iter().find_map(|side| {
        let [wrong, sent, received] = ["DataCsumErr", "MPFailTx", "MPFailRx"].map(|name| counted(side, name));
        let sent_by_peer = counted(side.peer(), "MPFailTx");
        let name = side.name();
        // An alteration spoils one mapping, once: a retransmission is intact, and the subflow, or the checking, has ended.
        if let Some(most) = changes(run.case).filter(|most| wrong > *most) {
            let looks = format!("{name} found more wrong checksums than packets were changed");
            return Some(broken(&looks, format!("{looks}: {wrong} for {most}")));
        }
        // A received MP_FAIL may be answered with one, when the connection goes on without mappings.
        if sent > wrong + received {
            let looks = format!("{name} told of a failure that it had no reason for");
            return Some(broken(&looks, format!("{looks}: {sent} sent, {wrong} wrong checksums, {received} received")));
        }
        (received > sent_by_peer && !doubles(run.case)).then(|| {
            let looks = format!("{name} heard of a failure that nobody told of");
            broken(&looks, format!("{looks}: {received} received, {sent_by_peer} sent"))
        })
    })
}

fn broken(looks: &str, what: String) -> Verdict {
    Verdict::of(Kind::CounterBroken, looks, what)
}

/// How many packets may be altered with valid TCP checksums; `None` if a rule has no limit.
fn changes(case: &Case) -> Option<i64> {
    let mut most = 0;
    for impairments in losses::directions(case) {
        most += impairments.faults.iter().filter(|fault| matches!(fault.action, Action::Alter(_))).count() as i64;
        for rule in impairments.rules.iter().filter(|rule| matches!(rule.action, Action::Alter(_))) {
            // Packets are counted for each subflow.
            let subflows = i64::from(case.topology.paths()) + case.events.len() as i64;
            most += i64::from(rule.times?) * i64::from(case.rounds.count) * subflows;
        }
    }
    Some(most)
}

/// Whether a packet may arrive twice.
fn doubles(case: &Case) -> bool {
    losses::directions(case).any(|impairments| {
        impairments.duplicate > 0.0
            || impairments.faults.iter().any(|fault| fault.action == Action::Duplicate)
            || impairments.rules.iter().any(|rule| matches!(rule.action, Action::Duplicate | Action::Split(_)))
    })
}

#[cfg(test)]
mod tests {
    use crate::case::{Action, Case, Host, LinkId, Pick, Protocol, Rule, Topology};
    use crate::oracle::{healthy, judge};

    #[test]
    fn failures_are_reported_once_for_each_alteration() {
        let mut case = Case { topology: Topology::Parallel(2), ..Case::default() };
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.hosts.entry(Host::Ns1).or_default().mptcp_checksum = true;
        case.links.entry(LinkId::Path2).or_default().forward.rules = vec![Rule::once(Pick::Data(9), Action::Alter(1))];
        let judged = |of_client: &[(&str, i64)], of_server: &[(&str, i64)]| {
            let mut seen = healthy::observation(&case);
            for (host, counted) in [(Host::Ns1, of_client), (Host::Ns2, of_server)] {
                let counters = &mut seen.hosts.entry(host).or_default().counters;
                counters.extend(counted.iter().map(|(name, value)| (format!("MPTcpExt.{name}"), *value)));
            }
            judge(&case, &seen).signature
        };
        assert_eq!(judged(&[("MPFailRx", 1)], &[("DataCsumErr", 1), ("MPFailTx", 1)]), "Pass");
        let unheard = judged(&[], &[("DataCsumErr", 1), ("MPFailTx", 1)]);
        assert_eq!(unheard, "Pass", "the reset that carries it may come late");
        let told = judged(&[("MPFailRx", 1)], &[("MPFailTx", 1)]);
        assert_eq!(told, "CounterBroken: server told of a failure that it had no reason for");
        let heard = judged(&[("MPFailRx", 1)], &[]);
        assert_eq!(heard, "CounterBroken: client heard of a failure that nobody told of");
        let many = judged(&[], &[("DataCsumErr", 9)]);
        assert_eq!(many, "CounterBroken: server found more wrong checksums than packets were changed");
    }
}
