//! Which transfers a walk has, in the order of the script.

use std::net::IpAddr;

use super::Terms;
use crate::case::{Address, Case, Family, Host, LinkId, Pairing, Protocol, Receiving, Rounds, Syncookies, Sysctl};
use crate::topology::{Side, connect_target, v4, v6};

/// One transfer of a walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// What it is called: its group, then who talks to whom, as the script has it.
    pub name: String,
    /// The case.
    pub case: Case,
}

/// Where an address is: a link and the side of it.
type Place = (LinkId, Side);

/// Every address, by the host that has it.
const PLACES: [Place; 6] = [
    (LinkId::Ns1Ns2, Side::Left),
    (LinkId::Ns1Ns2, Side::Right),
    (LinkId::Ns2Ns3, Side::Left),
    (LinkId::Ns2Ns3, Side::Right),
    (LinkId::Ns3Ns4, Side::Left),
    (LinkId::Ns3Ns4, Side::Right),
];

/// `net.ipv4.tcp_fastopen` of a client and of a server.
const SENDS_DATA: u32 = 1;
const TAKES_DATA: u32 = 2;

const MPTCP: Pairing = Pairing { client: Protocol::Mptcp, server: Protocol::Mptcp };
const TO_TCP: Pairing = Pairing { client: Protocol::Mptcp, server: Protocol::Tcp };
const FROM_TCP: Pairing = Pairing { client: Protocol::Tcp, server: Protocol::Mptcp };
const TCP: Pairing = Pairing { client: Protocol::Tcp, server: Protocol::Tcp };

/// The walk of the script of today.
pub fn walk(terms: &Terms) -> Vec<Leg> {
    let mut walk = Walk { terms, legs: Vec::new() };
    for family in walk.families() {
        walk.at_home(&format!("loopback {family}"), family, |_| {});
    }
    for sender in Host::ALL {
        for place in PLACES {
            for family in walk.families() {
                walk.across("multihosts", sender, place, family);
            }
        }
    }
    for (name, receive) in [("saveWithPeek", Receiving::SaveWithPeek), ("saveAfterPeek", Receiving::SaveAfterPeek)] {
        for family in walk.families() {
            walk.at_home(&format!("peek mode: {name}"), family, |case| {
                (case.client.io.receive, case.server.io.receive) = (receive, receive);
            });
        }
    }
    for family in walk.families() {
        // In a fresh network nobody has a cookie: the second transfer to the same address has.
        walk.fast_open("MPTFO cold", family, 1);
        walk.fast_open("MPTFO warm", family, 2);
    }
    for family in walk.families() {
        walk.transparent(&format!("tproxy {family}"), family);
    }
    for family in walk.families() {
        let again = |case: &mut Case| case.rounds = Rounds { count: 3, reuse: true };
        walk.at_home("full disconnect", family, again);
    }
    walk.legs
}

/// The walk of the script of 2019: 72 transfers over IPv4, among them every host to itself.
pub fn classic(terms: &Terms) -> Vec<Leg> {
    let mut walk = Walk { terms, legs: Vec::new() };
    for sender in Host::ALL {
        for place in PLACES {
            for pairing in [MPTCP, TO_TCP, FROM_TCP] {
                walk.add("classic", sender, place, Family::V4, pairing, |_| {});
            }
        }
    }
    walk.legs
}

struct Walk<'a> {
    terms: &'a Terms,
    legs: Vec<Leg>,
}

impl Walk<'_> {
    fn families(&self) -> Vec<Family> {
        if self.terms.v4_only { vec![Family::V4] } else { vec![Family::V4, Family::V6] }
    }

    /// ns1 to itself, with each pairing.
    fn at_home(&mut self, group: &str, family: Family, change: impl Fn(&mut Case)) {
        for pairing in self.pairings(true) {
            self.add(group, Host::Ns1, PLACES[0], family, pairing, &change);
        }
    }

    /// A sender to an address of another host.
    fn across(&mut self, group: &str, sender: Host, place: Place, family: Family) {
        if host_of(place) == sender {
            return;
        }
        // No delay and no reordering between ns1 and ns2: there the script looks at SYN cookies.
        let cookies = |case: &mut Case| {
            if case.client.host == Host::Ns1 {
                case.hosts.entry(Host::Ns2).or_default().syncookies = Syncookies::Always;
            }
        };
        for pairing in self.pairings(false) {
            self.add(group, sender, place, family, pairing, cookies);
        }
    }

    /// ns2 to ns1, this many times, with data in the SYN.
    fn fast_open(&mut self, group: &str, family: Family, rounds: u8) {
        let open_fast = |case: &mut Case| {
            case.rounds.count = rounds;
            (case.client.options.fastopen, case.server.options.fastopen) = (true, true);
            for (host, value) in [(Host::Ns1, TAKES_DATA), (Host::Ns2, SENDS_DATA)] {
                case.hosts.entry(host).or_default().sysctls.insert(Sysctl::TcpFastopen, value);
            }
        };
        for pairing in self.pairings(false) {
            self.add(group, Host::Ns2, PLACES[0], family, pairing, open_fast);
        }
    }

    /// ns1 to ns4, where ns2 takes the connection: over MPTCP alone.
    fn transparent(&mut self, group: &str, family: Family) {
        let stand_in = |case: &mut Case| case.address = Address::Beyond;
        self.add(group, Host::Ns1, PLACES[1], family, MPTCP, stand_in);
    }

    fn pairings(&self, at_home: bool) -> Vec<Pairing> {
        let mut pairings = vec![MPTCP];
        if at_home || self.terms.tcp > 0 {
            pairings.extend([TO_TCP, FROM_TCP]);
        }
        if self.terms.tcp > 1 {
            pairings.push(TCP);
        }
        pairings
    }

    fn add(
        &mut self,
        group: &str,
        sender: Host,
        place: Place,
        family: Family,
        pairing: Pairing,
        change: impl Fn(&mut Case),
    ) {
        let mut case = self.terms.case(self.legs.len() as u64);
        case.family = family;
        (case.client.host, case.server.host) = (sender, host_of(place));
        (case.client.protocol, case.server.protocol) = (pairing.client, pairing.server);
        case.address = address(&case, place);
        change(&mut case);
        case.hosts.retain(|_, knobs| *knobs != Default::default());
        self.legs.push(Leg { name: name(group, &case), case });
    }
}

fn host_of((link, side): Place) -> Host {
    side.host(link)
}

/// How the client of `case` comes to call the address at `place`. A host that calls itself has one of its own addresses
/// and the loopback's for that: the second stands for all others, which go the same way.
fn address(case: &Case, (link, side): Place) -> Address {
    let wanted: IpAddr = match case.family {
        Family::V6 => v6(link, side).into(),
        Family::V4 | Family::V4Mapped => v4(link, side).into(),
    };
    let reaches = |address: &Address| connect_target(&Case { address: *address, ..case.clone() }) == wanted;
    [Address::Near, Address::Far].into_iter().find(reaches).unwrap_or(Address::Near)
}

/// `multihosts: ns1 MPTCP -> ns4 (10.0.3.1) MPTCP`.
fn name(group: &str, case: &Case) -> String {
    let loud = |protocol: Protocol| protocol.to_string().to_uppercase();
    format!(
        "{group}: {} {} -> {} ({}) {}",
        case.client.host,
        loud(case.client.protocol),
        case.server.host,
        connect_target(case),
        loud(case.server.protocol)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::matrix::Mode;
    use crate::seed::Seed;

    fn terms() -> Terms {
        Terms::draw(Seed(1))
    }

    fn names(legs: &[Leg]) -> Vec<&str> {
        legs.iter().map(|leg| leg.name.as_str()).collect()
    }

    #[test]
    fn the_walk_is_that_of_the_script() {
        insta::assert_snapshot!(names(&walk(&terms())).join("\n"));
    }

    #[test]
    fn ipv4_alone_is_half_of_it() {
        let [both, half] = [false, true].map(|v4_only| walk(&Terms { v4_only, ..terms() }).len());
        assert_eq!(both, 2 * half);
    }

    #[test]
    fn pairings_with_tcp_go_over_the_wire_on_demand() {
        let lengths = [0, 1, 2].map(|tcp| {
            let legs = walk(&Terms { tcp, ..terms() });
            legs.iter().filter(|leg| leg.name.starts_with("multihosts")).count()
        });
        assert_eq!(lengths, [36, 108, 144]);
    }

    #[test]
    fn the_classic_walk_has_72_transfers() {
        let legs = classic(&Terms::classic(Seed(1)));
        assert_eq!(legs.len(), 72);
        assert!(legs.iter().all(|leg| leg.case.family == Family::V4));
        let at_home = legs.iter().filter(|leg| leg.case.is_loopback()).count();
        assert_eq!(at_home, 18);
    }

    #[test]
    fn every_case_is_valid_and_its_own() {
        let modes = [Mode::Mmap, Mode::Sendfile, Mode::Splice].map(|mode| walk(&Terms { mode, ..terms() }));
        let more = [walk(&Terms { tcp: 2, checksum: true, ..terms() }), classic(&Terms::classic(Seed(2)))];
        for legs in modes.into_iter().chain(more) {
            let seeds: BTreeSet<Seed> = legs.iter().map(|leg| leg.case.seed).collect();
            assert_eq!(seeds.len(), legs.len());
            for leg in &legs {
                assert_eq!(leg.case.validate(), Ok(()), "{}", leg.name);
            }
        }
    }

    #[test]
    fn syn_cookies_are_for_what_ns1_sends_to_ns2() {
        for leg in walk(&terms()) {
            let always = leg.case.knobs(Host::Ns2).syncookies == Syncookies::Always;
            let walks = leg.case.client.host == Host::Ns1 && !leg.case.is_loopback();
            assert_eq!(always, walks && leg.case.address != Address::Beyond, "{}", leg.name);
        }
    }
}
