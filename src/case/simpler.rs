//! Simpler cases: the steps by which a failing case shrinks.

mod tree;

pub use tree::CaseTree;

use super::Case;

/// Cases that are strictly simpler than `case`, the boldest first.
pub fn candidates(_case: &Case) -> Vec<Case> {
    Vec::new()
}
