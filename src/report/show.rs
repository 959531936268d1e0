//! Cases and findings in words and pictures, for people. Pure: text out of plain data.
//!
//! A case is described by what makes it different from the plainest one, so a shrunk case is a few lines.

mod chain;
mod finding;
mod ladder;
mod middlebox;
mod paths;
mod phrase;
mod transfer;

use crate::case::Case;
use crate::link::log::read::Captured;
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

/// The packets of a run as ladders, one for each of `links` that carried any, on one axis of time; then how both endpoints
/// ended. `all`: no packet is folded away.
pub fn describe_packets(links: &[Captured], case: &Case, seen: Option<&Observation>, all: bool) -> String {
    let role = |host: &str| {
        let ends = [("client", case.client.host), ("server", case.server.host)];
        ends.into_iter().find(|(_, at)| at.to_string() == host).map(|(role, _)| role)
    };
    let mut text = ladder::draw(links, &role, all);
    if let Some(seen) = seen {
        text.push('\n');
        text.push_str(&finding::ends(case, seen));
    }
    tame(&text)
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
