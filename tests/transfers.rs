//! Whatever is drawn arrives: random cases over real namespaces, as a proptest property.
//!
//! A failure is shrunk by proptest with our own steps, and its seed is kept in `proptest-regressions/`.

mod common;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError};
use whitewater::case::strategy::{LinkFilter, Space, cases};
use whitewater::case::{Case, Pairing, Protocol};
use whitewater::oracle::Kind;

/// MPTCP at both ends, on links that do nothing to packets.
fn mptcp_on_plain_links() -> Space {
    let both = Pairing { client: Protocol::Mptcp, server: Protocol::Mptcp };
    Space { pairings: vec![both], links: LinkFilter::Plain, ..Space::default() }
}

/// Runs a case. What this kernel is known for is told, and passes.
fn judged(case: &Case) -> Result<(), TestCaseError> {
    let verdict = common::verdict(case);
    if let Some(note) = common::known().note(&verdict.signature) {
        println!("known: {}: {note}", verdict.signature);
        return Ok(());
    }
    prop_assert_eq!(verdict.kind, Kind::Pass, "{}", verdict.what);
    Ok(())
}

fn config(cases: u32, name: &'static str) -> ProptestConfig {
    ProptestConfig {
        cases,
        // Each step of the search runs a real transfer; a stall costs its whole patience.
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(name))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(100, "proptest-regressions/transfers.txt"))]

    #[test]
    fn every_transfer_arrives_whole_and_ends_in_order(case in cases(&Space::default())) {
        judged(&case)?;
    }
}

proptest! {
    #![proptest_config(config(40, "proptest-regressions/mptcp.txt"))]

    #[test]
    fn mptcp_holds_wherever_nothing_in_the_case_explains_a_fallback(case in cases(&mptcp_on_plain_links())) {
        judged(&case)?;
    }
}
