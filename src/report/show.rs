//! Cases and findings in words and pictures, for people. Pure: text out of plain data.
//!
//! A case is described by what makes it different from the plainest one, so a shrunk case is a few lines.

mod chain;
mod finding;
mod paths;
mod phrase;
mod transfer;

use crate::case::Case;
use crate::observation::Observation;
use crate::oracle::Verdict;

/// A case in words, with its topology drawn above them.
///
/// ```
/// let mut case = whitewater::case::Case::default();
/// case.client.payload = 65536;
/// let text = whitewater::report::show::describe(&case);
/// assert!(text.contains("client  sends 64 KiB"));
/// ```
pub fn describe(case: &Case) -> String {
    tame(&format!("{}\n{}", chain::draw(case), rows(&transfer::rows(case))))
}

/// What a run showed, in words: the verdict, what both endpoints went through, what the links did, what the kernel
/// counted, and the sockets that matter.
pub fn describe_verdict(verdict: &Verdict, case: &Case, seen: &Observation) -> String {
    tame(&finding::describe(verdict, case, seen))
}

/// Takes control characters out: a file from a stranger must not steer the terminal.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Rows of a word and what there is to say about it, one below the other. An empty word goes on with the one above.
fn rows(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(word, _)| word.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(word, text)| format!("  {word:width$}  {text}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests;
