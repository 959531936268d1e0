//! Oracles: pure functions from a case and what was seen of it to a verdict. No clock, no I/O.
//!
//! Every check has its file and looks for one kind of trouble; [`judge`] asks them in the order in which one trouble
//! explains another. What a case may lead to ([`Expectation`]) is derived from its data alone, and in doubt it is more:
//! a healthy kernel must give no findings, so what is not certain is not checked.

mod budget;
mod bytes;
mod circumstances;
mod conduct;
mod contradictions;
mod counters;
mod disabled;
mod ending;
mod errors;
mod expectation;
mod fails;
mod fallback;
mod fallen_back;
#[cfg(test)]
pub(crate) mod healthy;
mod joins;
mod leaving;
mod leftovers;
mod liveness;
mod losses;
mod memory;
mod middlebox;
#[cfg(test)]
mod properties;
mod rests;
mod silence;
mod slow;
mod splat;
mod told;
mod verdict;

pub use expectation::Expectation;
pub use verdict::{Kind, Verdict};

use crate::case::{Case, Endpoint, LinkId};
use crate::observation::{Breach, End, Observation, Story};
use crate::payload::Sender;

/// Judges what was seen of a case.
pub fn judge(case: &Case, seen: &Observation) -> Verdict {
    let expected = Expectation::of(case);
    let run = Run { case, expected: &expected, seen };
    let verdict = CHECKS.into_iter().find_map(|check| check(&run)).unwrap_or_else(Verdict::pass);
    circumstances::add(&run, verdict)
}

/// The packets by which hosts did not keep to the protocols and which nothing explains, each with its link.
pub fn breaches(case: &Case, seen: &Observation) -> Vec<(LinkId, Breach)> {
    let expected = Expectation::of(case);
    let run = Run { case, expected: &expected, seen };
    conduct::inexcusable(&run).map(|(link, breach)| (link, breach.clone())).collect()
}

/// The checks, each before those whose trouble it explains: a kernel that complains is at fault whatever else went wrong;
/// trouble of ours makes everything else worthless; wrong bytes
/// are wrong however the run ended; an error ends a transfer, and the other end may then wait in vain; and what a broken
/// transfer counts, or leaves behind, is no wonder.
const CHECKS: [fn(&Run<'_>) -> Option<Verdict>; 19] = [
    splat::check,
    trouble,
    disabled::check,
    bytes::check,
    contradictions::check,
    errors::check,
    leaving::check,
    out_of_time,
    liveness::check,
    ending::check,
    conduct::check,
    fallback::check,
    counters::check,
    joins::check,
    fails::check,
    rests::check,
    told::check,
    leftovers::check,
    slow::check,
];

/// What a check looks at.
struct Run<'a> {
    case: &'a Case,
    expected: &'a Expectation,
    seen: &'a Observation,
}

/// Both endpoints, the client first.
const BOTH: [Sender; 2] = [Sender::Client, Sender::Server];

impl<'a> Run<'a> {
    /// What `side` went through.
    fn story(&self, side: Sender) -> &'a Story {
        match side {
            Sender::Client => &self.seen.client,
            Sender::Server => &self.seen.server,
        }
    }

    /// What the case says of `side`.
    fn endpoint(&self, side: Sender) -> &'a Endpoint {
        match side {
            Sender::Client => &self.case.client,
            Sender::Server => &self.case.server,
        }
    }

    /// How much a counter of the host of `side` grew.
    fn counter(&self, side: Sender, name: &str) -> i64 {
        self.seen.hosts.get(&self.endpoint(side).host).and_then(|host| host.counters.get(name)).copied().unwrap_or(0)
    }
}

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
