//! Verdicts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run of a case showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The kind.
    pub kind: Kind,
    /// What was seen, in one line. Empty for [`Kind::Pass`].
    pub what: String,
    /// What groups findings of one bug: the kind and what it looked like, without offsets, times and addresses; behind it,
    /// in parentheses, the circumstances that make it another bug.
    pub signature: String,
}

impl Verdict {
    /// All as it should be.
    pub fn pass() -> Verdict {
        Verdict { kind: Kind::Pass, what: String::new(), signature: Kind::Pass.to_string() }
    }

    /// A run that cannot be decided, and why.
    pub fn skip(why: &str) -> Verdict {
        Verdict::of(Kind::Skip, &scrub(why), why.to_owned())
    }

    /// Trouble of our own.
    pub fn harness_error(what: &str) -> Verdict {
        Verdict::of(Kind::HarnessError, &scrub(what), what.to_owned())
    }

    /// A verdict: what it looks like (for the signature: without offsets, sizes, times, ports and hosts), and what was
    /// seen in one line.
    pub fn of(kind: Kind, looks: &str, what: String) -> Verdict {
        Verdict { kind, what, signature: format!("{kind}: {looks}") }
    }

    /// The same verdict with the circumstances under which it came about.
    pub(super) fn under(mut self, circumstances: &[&str]) -> Verdict {
        if !circumstances.is_empty() {
            self.signature.push_str(&format!(" ({})", circumstances.join(", ")));
        }
        self
    }

    /// Whether it looks like the findings with this signature, whatever the circumstances.
    pub fn resembles(&self, signature: &str) -> bool {
        looks(&self.signature) == looks(signature)
    }
}

/// A signature without circumstances.
fn looks(signature: &str) -> &str {
    signature.split_once(" (").map_or(signature, |(looks, _)| looks)
}

/// The first line of `text` with every number replaced, so that texts that differ only in them are the same.
fn scrub(text: &str) -> String {
    let mut scrubbed = String::new();
    for character in text.lines().next().unwrap_or_default().chars() {
        if !character.is_ascii_digit() {
            scrubbed.push(character);
        } else if !scrubbed.ends_with('#') {
            scrubbed.push('#');
        }
    }
    scrubbed
}

/// The kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Kind {
    /// All as it should be.
    Pass,
    /// Wrong bytes arrived.
    Corrupt,
    /// The stream ended before its last byte.
    Truncated,
    /// The stream went on after its last byte.
    Extra,
    /// No progress although the network would have let it.
    Stalled,
    /// An endpoint met an error that nothing in the case explains.
    Reset,
    /// MPTCP fell back to TCP for no reason in the case.
    UnexpectedFallback,
    /// A counter of the kernel moved, or failed to, against what the case implies.
    CounterBroken,
    /// A host sent what its protocols do not let it send, by the packets themselves.
    ProtocolBroken,
    /// Something was left over.
    Leak,
    /// The transfer rested for longer than anything in the case explains.
    Slow,
    /// The kernel complained.
    Splat,
    /// A foreign program crashed.
    Crashed,
    /// Trouble of our own: never a finding.
    HarnessError,
    /// This machine, or the time there was, could not decide the case.
    Skip,
}

impl Kind {
    /// Whether a verdict of this kind is a finding.
    pub fn is_finding(self) -> bool {
        !matches!(self, Kind::Pass | Kind::HarnessError | Kind::Skip)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_differs_only_in_numbers_has_one_signature() {
        let [one, two] = ["ns1-ns2: 12 short writes", "ns3-ns4: 3 short writes"].map(Verdict::harness_error);
        assert_eq!(one.signature, two.signature);
        assert_eq!(one.signature, "HarnessError: ns#-ns#: # short writes");
        assert_eq!(one.what, "ns1-ns2: 12 short writes");
    }

    #[test]
    fn only_what_the_tested_system_did_is_a_finding() {
        assert!(Kind::Leak.is_finding());
        assert!(![Kind::Pass, Kind::HarnessError, Kind::Skip].iter().any(|kind| kind.is_finding()));
    }
}
