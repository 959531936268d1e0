//! What holds for the judgement of every case.

use std::time::Duration;

use proptest::option;
use proptest::prelude::*;

use super::{Expectation, healthy, judge};
use crate::case::{
    Case, Host, Impairments, Jitter, Knobs, Link, LinkId, Loss, Outage, Pattern, Protocol, Rate, Syncookies,
};
use crate::observation::End;

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Mptcp)]
}

fn host() -> impl Strategy<Value = Host> {
    (0..4usize).prop_map(|index| Host::ALL[index])
}

fn millis() -> impl Strategy<Value = Duration> {
    (0..5_000u64).prop_map(Duration::from_millis)
}

fn impairments() -> impl Strategy<Value = Impairments> {
    let loss = prop_oneof![
        (0.0..=1.0).prop_map(Loss::Independent),
        (0.0..=1.0, 0..9u32).prop_map(|(probability, carriages)| Loss::Cells { probability, carriages }),
    ];
    let rate = (0..10_000u32, 0..1_000u32).prop_map(|(kbit, queue)| Rate { kbit, queue });
    let outages = prop::collection::vec((millis(), millis()).prop_map(|(from, to)| Outage { from, to }), 0..4);
    (option::of(loss), option::of(rate), option::of(millis().prop_map(Jitter::Normal)), outages, millis(), 0.0..0.1)
        .prop_map(|(loss, rate, jitter, outages, delay, corrupt)| Impairments {
            loss,
            rate,
            jitter,
            outages,
            delay,
            corrupt,
            ..Impairments::default()
        })
}

fn cases() -> impl Strategy<Value = Case> {
    let hosts = (host(), host(), protocol(), protocol());
    let sizes = (any::<u32>(), any::<u32>(), any::<u32>(), 0..3u8, 1..3u8);
    let links = prop::collection::btree_map((0..3usize).prop_map(|index| LinkId::CHAIN[index]), impairments(), 0..3);
    let cookies = prop_oneof![Just(Syncookies::Off), Just(Syncookies::OnOverflow), Just(Syncookies::Always)];
    (hosts, sizes, links, cookies).prop_map(|(hosts, (sent, answered, chunk, refusals, cpus), links, syncookies)| {
        let mut case = Case { refusals, cpus, ..Case::default() };
        (case.client.host, case.server.host, case.client.protocol, case.server.protocol) = hosts;
        (case.client.payload, case.server.payload) = (sent.into(), answered.into());
        case.client.write.pattern = Pattern::Fixed(chunk);
        case.hosts.insert(case.server.host, Knobs { syncookies, ..Knobs::default() });
        for (id, forward) in links {
            case.links.insert(id, Link { forward, ..Link::default() });
        }
        case
    })
}

proptest! {
    #[test]
    fn a_healthy_run_of_any_case_passes(case in cases()) {
        let verdict = judge(&case, &healthy::observation(&case));
        prop_assert_eq!(verdict.signature, "Pass");
    }

    #[test]
    fn trouble_of_ours_is_never_a_finding(case in cases()) {
        let mut seen = healthy::observation(&case);
        seen.end = End::Stalled { idle: Duration::from_secs(9) };
        seen.client.received += 1;
        prop_assert!(judge(&case, &seen).kind.is_finding());
        seen.trouble.push("ns1-ns2: the relay lost 3 packets".into());
        prop_assert!(!judge(&case, &seen).kind.is_finding());
    }

    #[test]
    fn patience_outlasts_the_quiet_and_the_quiet_outlasts_the_outages(case in cases()) {
        let expected = Expectation::of(&case);
        prop_assert!(expected.patience >= expected.quiet);
        for id in case.path() {
            for outage in &case.link(id).forward.outages {
                prop_assert!(expected.quiet >= outage.to.saturating_sub(outage.from));
            }
        }
    }

    #[test]
    fn wrong_bytes_are_found_in_any_case(case in cases(), more in 1..9u64) {
        let mut seen = healthy::observation(&case);
        seen.server.received += more;
        let verdict = judge(&case, &seen);
        prop_assert!(verdict.signature.starts_with("Extra: client>server"), "{}", verdict.signature);
    }
}
