//! Oracles: pure functions from a case and what was seen of it to a verdict. No clock, no I/O.
//!
//! Each of the `checks` has a file of its own and looks for one kind of trouble; [`judge`] runs them in an order in which
//! earlier trouble explains later trouble. What a case may lead to ([`Expectation`]) is derived from its data alone. It errs
//! on the generous side: a healthy kernel must give no findings, so what is not certain is not checked. `circumstances`
//! adds to a finding's signature what makes it a different bug.

mod checks;
mod circumstances;
mod expectation;
#[cfg(test)]
pub(crate) mod healthy;
#[cfg(test)]
mod properties;
mod verdict;

pub use expectation::Expectation;
pub use verdict::{Kind, Verdict};

use crate::case::{Case, Endpoint, LinkId};
use crate::observation::{Breach, Observation, Story};
use crate::payload::Sender;

/// Judges what was seen of a case.
pub fn judge(case: &Case, seen: &Observation) -> Verdict {
    let expected = Expectation::of(case);
    let run = Run { case, expected: &expected, seen };
    let verdict = checks::IN_ORDER.into_iter().find_map(|check| check(&run)).unwrap_or_else(Verdict::pass);
    circumstances::add(&run, verdict)
}

/// The packets by which hosts broke the protocols and which nothing explains, each with its link.
pub fn breaches(case: &Case, seen: &Observation) -> Vec<(LinkId, Breach)> {
    let expected = Expectation::of(case);
    let run = Run { case, expected: &expected, seen };
    checks::conduct::inexcusable(&run).map(|(link, breach)| (link, breach.clone())).collect()
}

/// What a check looks at.
struct Run<'a> {
    case: &'a Case,
    expected: &'a Expectation,
    seen: &'a Observation,
}

/// Both endpoints, the client first.
const BOTH: [Sender; 2] = [Sender::Client, Sender::Server];

impl<'a> Run<'a> {
    /// What the endpoint of `side` did and saw.
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
