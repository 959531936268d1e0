//! The checks: each looks at a run for one kind of trouble.

mod bytes;
pub(super) mod conduct;
mod contradictions;
mod counters;
mod disabled;
mod ending;
mod errors;
mod fallback;
pub(super) mod leave;
mod leftovers;
mod liveness;
mod mp_fail;
mod path_changes;
mod path_events;
mod slow;
mod splat;
mod stranded;
mod subflows;

use super::{Run, Verdict};
use crate::observation::End;

/// The checks. Earlier ones explain the trouble that later ones would see: a kernel that complains is at fault whatever else
/// went wrong; trouble of our own makes everything else worthless; wrong bytes are wrong however the run ended; after an
/// error at one end the other may wait in vain; and what a broken transfer counts or leaves behind proves nothing.
pub(super) const IN_ORDER: [fn(&Run<'_>) -> Option<Verdict>; 20] = [
    splat::check,
    trouble,
    disabled::check,
    bytes::check,
    contradictions::check,
    errors::check,
    leave::check,
    out_of_time,
    liveness::check,
    ending::check,
    conduct::check,
    fallback::check,
    counters::check,
    subflows::check,
    mp_fail::check,
    path_changes::check,
    path_events::check,
    leftovers::check,
    slow::check,
    stranded::check,
];

/// Trouble of ours: the run is worthless as evidence.
fn trouble(run: &Run<'_>) -> Option<Verdict> {
    run.seen.trouble.first().map(|trouble| Verdict::harness_error(trouble))
}

/// A run whose time was over while bytes still moved: undecided.
fn out_of_time(run: &Run<'_>) -> Option<Verdict> {
    (run.seen.end == End::OutOfTime).then(|| {
        let budget = humantime::format_duration(run.expected.budget);
        Verdict::skip(&format!("bytes still moved when the time for the whole case was over ({budget})"))
    })
}
