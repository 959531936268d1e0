//! Random cases, each run twice: nothing may differ, whatever they draw.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use whitewater::case::strategy::{self, Space};
use whitewater::oracle::judge;
use whitewater::seed::Seed;
use whitewater::world::WorldError;
use whitewater::world::uml::{UmlOptions, UmlWorld};

/// How many cases, if this variable does not ask for another number.
const CASES: u64 = 40;
const CASES_VARIABLE: &str = "WHITEWATER_DETERMINISM_CASES";
/// The campaign that they are drawn from.
const CAMPAIGN: Seed = Seed(2026);

#[test]
fn random_cases_run_alike_twice() {
    let Some(world) = common::uml_world(UmlOptions::default()) else { return };
    let cases = std::env::var(CASES_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);

    let next = AtomicU64::new(0);
    let seen: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let count = |what: String| *seen.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..world.cpus() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= cases {
                        return;
                    }
                    count(twice(&world, index));
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let each = began.elapsed() / u32::try_from(2 * cases).expect("a reasonable number of cases");
    println!("{cases} cases twice, {each:?} of wall time a run: {seen:#?}");
    assert!(!seen.keys().any(|what| what.starts_with("differs")), "{seen:#?}");
}

/// Runs a case twice and says what came of it.
fn twice(world: &UmlWorld, index: u64) -> String {
    let case = strategy::draw(&Space::default(), CAMPAIGN.child(index));
    match (world.fingerprint(&case), world.fingerprint(&case)) {
        (Ok((seen, one)), Ok((_, two))) if one == two => {
            let verdict = judge(&case, &seen);
            if verdict.kind.is_finding() {
                println!("case {index} of campaign {CAMPAIGN}, seed {}: {verdict:?}", case.seed);
            }
            verdict.signature
        }
        (Err(WorldError::Unable(text)), Err(WorldError::Unable(_))) => format!("unable: {text}"),
        (Ok(_), Ok(_)) => format!("differs: case {index}"),
        (one, two) => format!("differs: case {index} came to {one:?} and {two:?}"),
    }
}
