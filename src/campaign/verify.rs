//! The end of a shrinking: makes sure that what is saved replays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bench::{Bench, Repeated, discard};
use super::shrink::{Ended, Failure};
use super::store::Place;
use crate::world::World;

/// How often a shrunk case is run before its file is called done.
pub const VERIFY_RUNS: u32 = 10;

/// Where this many runs at once take less than this, they are run once more, one after the other.
const QUICK: Duration = Duration::from_secs(2);

/// Where no case fails every time: how many failures fewer than the best a smaller case may have. A difference of so
/// few runs is more likely chance than the case.
const CHANCE: u32 = 2;

/// Finds the smallest case of the trail that fails in all of [`VERIFY_RUNS`] runs, and saves it: the last one if that
/// does, else it goes back in growing steps, and then forward to the last one that does. Where none does, the smallest
/// that fails about as often as the best is saved. Says how often it failed, such as `10 of 10`.
pub fn verify(bench: &mut Bench<'_>, trail: &[Failure], place: &Place) -> Result<String, Ended> {
    let mut seen = BTreeMap::new();
    let last = trail.len() - 1;
    let (mut sure, mut unsure) = (None, trail.len());
    let (mut index, mut step) = (last, 1);
    loop {
        if fails_every_time(bench, trail, index, &mut seen)? {
            sure = Some(index);
            break;
        }
        unsure = index;
        if index == 0 {
            break;
        }
        index = index.saturating_sub(step);
        step *= 2;
    }
    if let Some(mut low) = sure {
        while unsure - low > 1 {
            let middle = low + (unsure - low) / 2;
            if fails_every_time(bench, trail, middle, &mut seen)? { low = middle } else { unsure = middle }
        }
        sure = Some(low);
    }
    let chosen = sure.unwrap_or_else(|| {
        let best = seen.values().map(|repeated| repeated.failed).max().unwrap_or(0);
        let near = |repeated: &&Repeated| repeated.failed + CHANCE >= best && repeated.failed > 0;
        seen.iter().rev().find(|(_, repeated)| near(repeated)).map_or(last, |(index, _)| *index)
    });
    save(bench.world(), &trail[chosen], chosen == last, &mut seen, chosen, place)
}

/// Whether this is what [`verify`] says of a case that failed every time.
pub fn is_sure(seen: &str) -> bool {
    seen.split_once(" of ").is_some_and(|(failed, runs)| failed == runs)
}

fn fails_every_time(
    bench: &mut Bench<'_>,
    trail: &[Failure],
    index: usize,
    seen: &mut BTreeMap<usize, Repeated>,
) -> Result<bool, Ended> {
    let begin = Instant::now();
    let mut repeated = bench.repeat(&trail[index].case, bench.runs(VERIFY_RUNS))?;
    let mut sure = repeated.failed == repeated.runs;
    // A machine that does nothing else has other timings, and is what a replay will mostly meet.
    if sure && begin.elapsed() < QUICK && !bench.world().is_exact() {
        repeated.failed = 0;
        for _ in 0..VERIFY_RUNS {
            let once = bench.repeat(&trail[index].case, 1)?;
            repeated.failed += once.failed;
            discard(once.failure.and_then(|failure| failure.evidence));
        }
        sure = repeated.failed == repeated.runs;
    }
    seen.insert(index, repeated);
    Ok(sure)
}

fn save(
    world: &dyn World,
    failure: &Failure,
    is_last: bool,
    seen: &mut BTreeMap<usize, Repeated>,
    chosen: usize,
    place: &Place,
) -> Result<String, Ended> {
    let repeated = seen.remove(&chosen).expect("only a case that was run is chosen");
    let rate = format!("{} of {}", repeated.failed, repeated.runs);
    place.write(&failure.recorded(world, Some(rate.clone())))?;
    // The last one's evidence is in place already.
    match repeated.failure.and_then(|failure| failure.evidence) {
        Some(evidence) if !is_last => place.take_evidence(&evidence)?,
        evidence => discard(evidence),
    }
    for other in std::mem::take(seen).into_values() {
        discard(other.failure.and_then(|failure| failure.evidence));
    }
    Ok(rate)
}
