//! Simpler cases: the steps by which a failing case shrinks.
//!
//! [`candidates`] lists what a case can be reduced to, the boldest first: whole groups back to their plainest, then the
//! place of the transfer, its parts, single fields, payload sizes by halving distances, lists chunk by chunk, and last
//! the remaining numbers. Every candidate is valid, and strictly simpler by one measure ([`weight`]), so shrinking
//! always ends, whichever candidates are taken. The seed stays: everything random that remains is drawn as before.
//!
//! [`CaseTree`] walks the candidates as a proptest value tree. Property tests, the campaign and `whitewater shrink` all
//! shrink by it. [`explicit`] turns random impairments into the faults they came to, which then shrink one by one.

mod explicit;
mod parts;
mod paths;
mod place;
mod steps;
mod tree;
mod weight;

pub use explicit::explicit;
pub use tree::CaseTree;
pub use weight::weight;

use super::Case;

/// Cases that are strictly simpler than `case`, the boldest first.
pub fn candidates(case: &Case) -> Vec<Case> {
    steps::of(case).iter().filter_map(|step| step.apply(case)).collect()
}

#[cfg(test)]
mod tests;
