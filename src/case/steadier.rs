//! From a case that fails now and then to nearby cases that may fail every time.
//!
//! An intermittent failure mostly depends on a race: whether a reader finds the queue empty, whether a buffer is full yet,
//! which side sends first. A pause at the right place, more bytes, or a single CPU settles that. A larger case that always
//! fails is worth more than a small one that sometimes does, because shrinking can rely on it.

use std::time::Duration;

use super::strategy::SIZE_MAX;
use super::{Case, Chunks, Endpoint, Pause};

/// How long a rest is: long enough for the other side to do all it can, on a slow machine too.
const REST: Duration = Duration::from_millis(200);

/// How many times as much is sent.
const MORE: u64 = 8;

/// Cases near this one that may fail more surely, the nearest first. All of them run on one CPU.
pub fn candidates(case: &Case) -> Vec<Case> {
    let mut found = Vec::new();
    let single = Case { cpus: 1, ..case.clone() };
    if single != *case {
        found.push(single.clone());
    }
    let sides: [fn(&mut Case) -> &mut Endpoint; 2] = [|case| &mut case.client, |case| &mut case.server];
    for (side, peer) in [(sides[0], sides[1]), (sides[1], sides[0])] {
        let mut own = single.clone();
        let (sends, receives) = (side(&mut own).payload, peer(&mut own).payload);
        let changed = |change: &dyn Fn(&mut Endpoint)| {
            let mut case = single.clone();
            change(side(&mut case));
            case
        };
        if sends > 0 {
            found.push(changed(&|endpoint| rest(&mut endpoint.write, 0)));
        }
        if sends > 1 {
            found.push(changed(&|endpoint| rest(&mut endpoint.write, sends / 2)));
        }
        if receives > 0 {
            found.push(changed(&|endpoint| rest(&mut endpoint.read, 0)));
        }
        if (1..SIZE_MAX).contains(&sends) {
            let more = (sends * MORE).min(SIZE_MAX);
            found.push(changed(&|endpoint| endpoint.payload = more));
            let mut late = changed(&|endpoint| endpoint.payload = more);
            rest(&mut peer(&mut late).read, 0);
            found.push(late);
        }
    }
    found.retain(|candidate| candidate != case && candidate.validate().is_ok());
    found
}

/// Puts a rest at an offset, in its place among the others.
fn rest(chunks: &mut Chunks, at: u64) {
    let place = chunks.pauses.partition_point(|pause| pause.at < at);
    if chunks.pauses.get(place).is_none_or(|pause| pause.at != at) {
        chunks.pauses.insert(place, Pause { at, lasts: REST });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::strategy::{Space, draw};
    use crate::seed::Seed;

    #[test]
    fn every_candidate_is_another_valid_case() {
        for seed in 0..500 {
            let case = draw(&Space::default(), Seed(seed));
            for candidate in candidates(&case) {
                assert_ne!(candidate, case);
                assert_eq!(candidate.validate(), Ok(()), "{candidate:?}");
            }
        }
    }

    #[test]
    fn one_cpu_comes_first_and_a_transfer_of_nothing_has_nothing_to_settle() {
        let mut case = Case { cpus: 2, ..Case::default() };
        assert_eq!(candidates(&case), [Case::default()]);
        case.cpus = 1;
        assert_eq!(candidates(&case), []);
        case.client.payload = 100;
        let found = candidates(&case);
        assert!(found.iter().any(|case| case.client.write.pauses == [Pause { at: 50, lasts: REST }]), "{found:?}");
        assert!(found.iter().any(|case| case.client.payload == 800), "{found:?}");
    }
}
