//! Whatever is drawn arrives: random cases in every world, as a proptest property.
//!
//! What is drawn is fixed by a seed, so that no run of the suite depends on chance; `WHITEWATER_TEST_SEED` chooses another.
//! A failure is shrunk by proptest with our own steps, and its seed is kept in `proptest-regressions/`.

mod common;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed, TestCaseError};
use whitewater::campaign::Known;
use whitewater::case::strategy::{LinkFilter, Space, cases};
use whitewater::case::{Case, Pairing, Protocol};
use whitewater::oracle::{Kind, judge};
use whitewater::world::World;
use whitewater::world::uml::UmlOptions;

/// Names another seed for what is drawn.
const SEED_VARIABLE: &str = "WHITEWATER_TEST_SEED";
/// The seed, where none is named.
const SEED: u64 = 1;

/// MPTCP at both ends, on links that do nothing to packets.
fn mptcp_on_plain_links() -> Space {
    let both = Pairing { client: Protocol::Mptcp, server: Protocol::Mptcp };
    Space { pairings: vec![both], links: LinkFilter::Plain, ..Space::default() }
}

/// Runs a case in a world. What its kernel is known for is told, and passes, and so does what cannot be decided: a transfer
/// that still moved when its time was over.
fn judged(world: &dyn World, case: &Case) -> Result<(), TestCaseError> {
    let known = Known::of_kernel(&world.kernel());
    common::asking::again(world.is_exact(), || {
        let verdict = judge(case, &world.run(case, &|_| None).map_err(|error| error.to_string())?);
        match (verdict.kind, known.note(&verdict.signature)) {
            (Kind::Pass, _) => {}
            (Kind::Skip, _) => println!("undecided: {}", verdict.what),
            (_, Some(note)) => println!("known: {}: {note}", verdict.signature),
            _ => return Err(format!("{}, in the {} world: {}", verdict.signature, world.name(), verdict.what)),
        }
        Ok(())
    })
    .map_err(TestCaseError::fail)
}

/// Runs `count` cases that are drawn from `space` in a world.
fn all_arrive(world: &dyn World, space: &Space, count: u32, failures: &'static str) {
    let seed = std::env::var(SEED_VARIABLE).map_or(SEED, |text| text.parse().expect("a seed is a number"));
    println!("{count} cases in the {} world, {SEED_VARIABLE}={seed}", world.name());
    let config = ProptestConfig {
        cases: count,
        // Each step of the search runs a real transfer; a stall costs its whole patience.
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(failures))),
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    proptest!(config, |(case in cases(space))| judged(world, &case)?);
}

#[test]
fn every_transfer_arrives_whole_and_ends_in_order() {
    all_arrive(common::host_world(), &Space::default(), 60, "proptest-regressions/transfers.txt");
}

#[test]
fn mptcp_holds_wherever_nothing_in_the_case_explains_a_fallback() {
    all_arrive(common::host_world(), &mptcp_on_plain_links(), 30, "proptest-regressions/mptcp.txt");
}

#[test]
fn the_same_holds_on_a_deterministic_kernel() {
    let Some(world) = common::uml_world(UmlOptions::default()) else { return };
    all_arrive(&world, &Space::default(), 100, "proptest-regressions/transfers.txt");
    all_arrive(&world, &mptcp_on_plain_links(), 40, "proptest-regressions/mptcp.txt");
}
