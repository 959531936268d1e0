use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::RngSeed;

use super::*;
use crate::case::strategy::{Group, LinkFilter, Space, cases, draw};
use crate::case::{Action, Backend, Fault, Host, Impairments, Link, LinkId, Loss, Packet, Pairing, Protocol};
use crate::seed::Seed;

/// Shrinks `case` and counts the tests it takes.
fn shrink(case: Case, fails: impl Fn(&Case) -> bool) -> (Case, usize) {
    assert!(fails(&case));
    let mut tree = CaseTree::new(case);
    let mut tests = 0;
    let mut more = tree.simplify();
    while more {
        tests += 1;
        more = if fails(&tree.current()) { tree.simplify() } else { tree.complicate() };
    }
    assert!(!tree.simplify() && !tree.complicate(), "an exhausted tree stays exhausted");
    (tree.current(), tests)
}

fn impaired() -> Space {
    Space { links: LinkFilter::Impaired, ..Space::default() }
}

fn drawn(space: &Space, wanted: impl Fn(&Case) -> bool) -> impl Iterator<Item = Case> {
    (0..).map(move |index| draw(space, Seed(3).child(index))).filter(move |case| wanted(case))
}

#[test]
fn the_plainest_case_has_no_candidates() {
    assert_eq!(weight(&Case::default()), 0);
    assert_eq!(candidates(&Case::default()), []);
}

#[test]
fn a_case_that_always_fails_shrinks_to_the_plainest_at_once() {
    let space = impaired();
    for case in drawn(&space, |_| true).take(100) {
        let (seed, (minimal, tests)) = (case.seed, shrink(case, |_| true));
        assert_eq!(minimal, Case { seed, ..Case::default() });
        assert!(tests <= 4, "{tests} tests");
    }
}

#[test]
fn a_size_and_a_loss_that_matter_are_all_that_is_left() {
    let lossy = |case: &Case| case.links.get(&LinkId::Ns2Ns3).is_some_and(|link| link.forward.loss.is_some());
    let fails = |case: &Case| case.client.payload >= 1448 && lossy(case) && case.path().contains(&LinkId::Ns2Ns3);
    let space = impaired();
    let mut counts = Vec::new();
    for case in drawn(&space, fails).take(50) {
        let (minimal, tests) = shrink(case, fails);
        counts.push(tests);
        assert_eq!((minimal.client.host, minimal.server.host), (Host::Ns2, Host::Ns3));
        assert_eq!((minimal.client.payload, minimal.server.payload), (1448, 0));
        assert_eq!(minimal.pairing(), Pairing::default());
        let link = &minimal.links[&LinkId::Ns2Ns3];
        assert!(matches!(link.forward.loss, Some(Loss::Independent(_))));
        let only_loss = Impairments { loss: link.forward.loss, ..Impairments::default() };
        assert_eq!((&link.forward, &link.backward), (&only_loss, &Impairments::default()));
    }
    counts.sort_unstable();
    println!("tests: median {}, most {}", counts[counts.len() / 2], counts[counts.len() - 1]);
    assert!(counts[counts.len() / 2] <= 80 && counts[counts.len() - 1] <= 120, "{counts:?}");
}

#[test]
fn a_stalled_reader_keeps_its_pause_and_its_buffer() {
    let fails = |case: &Case| {
        let options = &case.server.options;
        case.client.protocol == Protocol::Mptcp
            && options.rcvbuf.is_some_and(|bytes| bytes <= 16_384 && case.client.payload > 3 * u64::from(bytes))
            && case.server.read.pauses.iter().any(|pause| pause.lasts >= Duration::from_millis(100))
    };
    let space = Space::default();
    let mut counts = Vec::new();
    for case in drawn(&space, fails).take(20) {
        let (minimal, tests) = shrink(case, fails);
        counts.push(tests);
        assert!(minimal.is_loopback() && minimal.links.is_empty() && minimal.hosts.is_empty());
        assert_eq!(minimal.server.read.pauses.len(), 1);
        assert_eq!(minimal.server.protocol, Protocol::Tcp);
        assert_eq!(minimal.client.payload, 3 * u64::from(minimal.server.options.rcvbuf.unwrap()) + 1);
    }
    counts.sort_unstable();
    println!("tests: median {}, most {}", counts[counts.len() / 2], counts[counts.len() - 1]);
    assert!(counts[counts.len() - 1] <= 200, "{counts:?}");
}

#[test]
fn two_faults_of_many_are_found() {
    let fault = |cell| Fault { flow: 0, packet: Packet::Cell(cell), carriage: 0, action: Action::Drop };
    let mut case = Case::default();
    case.server.host = Host::Ns2;
    case.client.payload = 1 << 20;
    case.links.entry(LinkId::Ns1Ns2).or_default().forward.faults = (0..200).map(fault).collect();
    let faults = |case: &Case| case.link(LinkId::Ns1Ns2).forward.faults;
    let fails = |case: &Case| [fault(17), fault(141)].iter().all(|wanted| faults(case).contains(wanted));
    let (minimal, tests) = shrink(case, fails);
    assert_eq!(faults(&minimal), [fault(17), fault(141)]);
    println!("tests: {tests}");
    assert!(tests <= 100, "{tests} tests");
}

#[test]
fn the_way_back_is_mirrored() {
    let mut case = Case::default();
    (case.client.host, case.server.host) = (Host::Ns4, Host::Ns2);
    case.links.entry(LinkId::Ns2Ns3).or_default().backward.delay = Duration::from_millis(5);
    let towards_server = |case: &Case| {
        case.path().into_iter().any(|id| !case.link(id).impairments(case.client_direction()).delay.is_zero())
    };
    let (minimal, _) = shrink(case, towards_server);
    assert_eq!((minimal.client.host, minimal.server.host), (Host::Ns1, Host::Ns2));
    assert!(minimal.link(LinkId::Ns1Ns2).forward.delay > Duration::ZERO);
}

#[test]
fn random_impairments_become_faults_but_delay_and_rate_stay() {
    // Faults that were drawn stay as well; here only what the random ones become is looked at. What netem did is not known.
    let groups = Group::ALL.into_iter().filter(|group| !matches!(group, Group::Faults | Group::Netem)).collect();
    let space = Space { links: LinkFilter::Impaired, groups, ..Space::default() };
    let fault = |cell| Fault { flow: 0, packet: Packet::Cell(cell), carriage: 1, action: Action::Drop };
    for case in drawn(&space, |_| true).take(200) {
        let id = case.path()[0];
        let faults = [(id, [vec![fault(1), fault(2)], vec![]])].into();
        let explicit = explicit(&case, &faults);
        assert_eq!(explicit.link(id).forward.faults, [fault(1), fault(2)]);
        for (id, link) in &explicit.links {
            let before = case.link(*id);
            assert_eq!((link.mtu, link.left, link.right), (before.mtu, before.left, before.right));
            for (now, before) in [(&link.forward, &before.forward), (&link.backward, &before.backward)] {
                let Impairments { delay, rate, renumber, .. } = *before;
                let kept = Impairments { delay, rate, renumber, ..Impairments::default() };
                assert_eq!(&Impairments { faults: vec![], ..now.clone() }, &kept);
            }
        }
        assert_eq!(explicit.validate(), Ok(()));
    }
}

#[test]
fn a_link_of_the_kernel_first_becomes_one_of_ours() {
    let mut case = Case::default();
    case.server.host = Host::Ns2;
    let link = case.links.entry(LinkId::Ns1Ns2).or_default();
    (link.backend, link.forward.delay) = (Backend::Netem, Duration::from_millis(5));
    assert_eq!(explicit(&case, &BTreeMap::new()), case, "nobody knows what netem did");
    let (minimal, _) = shrink(case.clone(), |case| case.link(LinkId::Ns1Ns2).is_impaired());
    assert_eq!(minimal.link(LinkId::Ns1Ns2).backend, Backend::UserSpace);
    let (minimal, _) = shrink(case, Case::has_netem);
    assert_eq!(minimal.link(LinkId::Ns1Ns2), Link { backend: Backend::Netem, ..Link::default() });
}

proptest! {
    // Nothing is kept: the case that a failure prints is the smallest that this very code can make.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn every_candidate_is_valid_and_simpler(case in cases(&Space::default().with_netem())) {
        for candidate in candidates(&case) {
            prop_assert!(weight(&candidate) < weight(&case));
            prop_assert_eq!(candidate.validate(), Ok(()));
            prop_assert_eq!(candidate.seed, case.seed);
            let path = candidate.path();
            prop_assert!(!candidate.is_loopback() || candidate.links.is_empty());
            prop_assert!(candidate.links.keys().all(|id| path.contains(id)));
        }
    }

    #[test]
    fn shrinking_ends_whichever_candidates_fail(case in cases(&impaired()), picks in prop::collection::vec(any::<Index>(), 64)) {
        let mut now = case;
        let mut steps = 0;
        loop {
            let candidates = candidates(&now);
            if candidates.is_empty() {
                break;
            }
            now = picks[steps % picks.len()].get(&candidates).clone();
            steps += 1;
            prop_assert!(steps < 1000, "{:?}", now);
        }
        prop_assert_eq!(weight(&now), 0);
    }

    #[test]
    fn shrinking_ends_even_by_the_smallest_steps(case in cases(&Space { size_max: 100, ..impaired() })) {
        let mut now = case;
        let mut steps = 0;
        while let Some(last) = candidates(&now).pop() {
            now = last;
            steps += 1;
            prop_assert!(steps < 2000, "{:?}", now);
        }
        prop_assert_eq!(weight(&now), 0);
    }
}
