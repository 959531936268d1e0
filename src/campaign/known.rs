//! Known findings, which are reported separately.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::Deserialize;

use crate::case::{Record, file};

/// Signatures of known findings, each with a note.
///
/// A `*` in a signature matches anything, and ` | ` separates several signatures of one bug.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    notes: BTreeMap<String, Note>,
    borrowed: Option<Series>,
}

/// The first two numbers of a kernel's release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    major: u32,
    minor: u32,
}

impl fmt::Display for Series {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

impl Series {
    /// That of a kernel which calls itself so; 0.0 where it names no numbers.
    fn of(kernel: &str) -> Series {
        let mut numbers = kernel.split(|character: char| !character.is_ascii_digit());
        let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or_default();
        Series { major: next(), minor: next() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    text: String,
    /// Whether it is built into the program, rather than given by the user.
    built_in: bool,
}

/// A file of known findings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as known findings: {reason}", path.display())]
pub struct KnownError {
    path: PathBuf,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    known: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    signature: String,
    #[serde(default)]
    note: String,
}

/// The known bugs of kernels: the case files of `cases/known/`.
const BUILT_IN: &[&str] = &[
    include_str!("../../cases/known/both-windows-stall-6.18.toml"),
    include_str!("../../cases/known/both-windows-stall-7.2.toml"),
    include_str!("../../cases/known/checksum-retransmission-splat-7.2.toml"),
    include_str!("../../cases/known/checksum-stall-6.18.toml"),
    include_str!("../../cases/known/checksum-stall-7.2.toml"),
    include_str!("../../cases/known/data-fin-unheeded-6.18.toml"),
    include_str!("../../cases/known/data-fin-unheeded-7.2.toml"),
    include_str!("../../cases/known/fallback-fin-stall-6.18.toml"),
    include_str!("../../cases/known/fallback-fin-stall-7.2.toml"),
    include_str!("../../cases/known/fallback-enotconn.toml"),
    include_str!("../../cases/known/fallback-handshake-enotconn-7.2.toml"),
    include_str!("../../cases/known/fallback-hole.toml"),
    include_str!("../../cases/known/fallback-stall.toml"),
    include_str!("../../cases/known/fallback-one-early.toml"),
    include_str!("../../cases/known/fallback-overlap-6.18.toml"),
    include_str!("../../cases/known/fallback-overlap-enotconn-7.2.toml"),
    include_str!("../../cases/known/fallback-overlap-hole-7.2.toml"),
    include_str!("../../cases/known/fallback-truncation.toml"),
    include_str!("../../cases/known/fallback-unread-7.2.toml"),
    include_str!("../../cases/known/fastopen-extra-7.2.toml"),
    include_str!("../../cases/known/fastopen-stripped-truncation-6.18.toml"),
    include_str!("../../cases/known/fastopen-stripped-truncation-7.2.toml"),
    include_str!("../../cases/known/fastopen-stall.toml"),
    include_str!("../../cases/known/fastopen-refused-repeat-7.2.toml"),
    include_str!("../../cases/known/fastopen-refused-stall-7.2.toml"),
    include_str!("../../cases/known/fastopen-stall-7.2.toml"),
    include_str!("../../cases/known/fastopen-dss-corruption-6.18.toml"),
    include_str!("../../cases/known/fastopen-dss-corruption-7.2.toml"),
    include_str!("../../cases/known/fastopen-unsent-6.18.toml"),
    include_str!("../../cases/known/fastopen-unsent-7.2.toml"),
    include_str!("../../cases/known/fastopen-inq.toml"),
    include_str!("../../cases/known/fastopen-inq-7.2.toml"),
    include_str!("../../cases/known/fastopen-one-early-7.2.toml"),
    include_str!("../../cases/known/join-late-6.18.toml"),
    include_str!("../../cases/known/keepalive-fallback-7.2.toml"),
    include_str!("../../cases/known/left-after-close-6.18.toml"),
    include_str!("../../cases/known/left-after-fallback-7.2.toml"),
    include_str!("../../cases/known/merge-beyond-mapping-7.2.toml"),
    include_str!("../../cases/known/one-sided-fallback-6.18.toml"),
    include_str!("../../cases/known/one-sided-fallback-7.2.toml"),
    include_str!("../../cases/known/one-sided-fallback-loss-6.18.toml"),
    include_str!("../../cases/known/one-sided-fallback-loss-7.2.toml"),
    include_str!("../../cases/known/peek-hole-7.2.toml"),
    include_str!("../../cases/known/rcvlowat-stall-7.2.toml"),
    include_str!("../../cases/known/rcvlowat-stall.toml"),
    include_str!("../../cases/known/rcvlowat-window-7.2.toml"),
    include_str!("../../cases/known/several-subflows-stall-6.18.toml"),
    include_str!("../../cases/known/several-subflows-stall-7.2.toml"),
    include_str!("../../cases/known/refused-join-7.2.toml"),
    include_str!("../../cases/known/removed-first-stall-7.2.toml"),
    include_str!("../../cases/known/removed-join-7.2.toml"),
    include_str!("../../cases/known/removed-stall-7.2.toml"),
    include_str!("../../cases/known/reset-unreaped-7.2.toml"),
    include_str!("../../cases/known/reused-data-fin-7.2.toml"),
    include_str!("../../cases/known/shrink-window-stall-7.2.toml"),
    include_str!("../../cases/known/shut-below-a-segment-7.2.toml"),
    include_str!("../../cases/known/syncookie-hole.toml"),
];

impl Known {
    /// The known bugs of a kernel with this name (as `uname -rv` prints it): the cases of `cases/known/` that were seen on
    /// a kernel of the same series, such as 6.18. If there are none, those of the nearest series, preferably an older one.
    pub fn of_kernel(kernel: &str) -> Known {
        let cases = BUILT_IN.iter().filter_map(|text| file::parse(text, Path::new("cases/known")).ok());
        let records: Vec<Record> = cases.filter_map(|case| case.finding).collect();
        let own = Series::of(kernel);
        let all = || records.iter().map(|record| Series::of(&record.kernel));
        let older = all().filter(|series| *series <= own).max();
        let Some(nearest) = older.or_else(|| all().min()) else { return Known::default() };
        let note = |text: Option<String>| Note { text: text.unwrap_or_default(), built_in: true };
        let fitting = records.into_iter().filter(|record| Series::of(&record.kernel) == nearest);
        Known {
            notes: fitting.map(|record| (record.signature, note(record.note))).collect(),
            borrowed: (nearest != own).then_some(nearest),
        }
    }

    /// The series of another kernel whose known bugs these are, where the kernel's own has none.
    pub fn borrowed(&self) -> Option<Series> {
        self.borrowed
    }

    /// Adds the known findings at `path`:
    ///
    /// - a list, in TOML: `[[known]]` tables, each with a `signature` and perhaps a `note`;
    /// - or a saved case, whose record names the signature and the note;
    /// - or a folder of such files (those that end in `.toml`; folders in it are left alone).
    pub fn add(&mut self, path: &Path) -> Result<(), KnownError> {
        let bad = |reason: String| KnownError { path: path.to_owned(), reason };
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(|error| bad(error.to_string()))? {
                let entry = entry.map_err(|error| bad(error.to_string()))?.path();
                if entry.extension().is_some_and(|extension| extension == "toml") {
                    self.add(&entry)?;
                }
            }
            return Ok(());
        }
        let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| bad(error.to_string()))?;
        if table.contains_key("known") {
            let list: List = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
            let note = |text| Note { text, built_in: false };
            self.notes.extend(list.known.into_iter().map(|entry| (entry.signature, note(entry.note))));
            return Ok(());
        }
        let case = file::read(path).map_err(|error| {
            bad(format!(
                "it has no [[known]] table (each with a signature and a note), and it is no case file: {error}"
            ))
        })?;
        let record = case.finding.ok_or_else(|| bad("it is a case without a finding".to_owned()))?;
        self.notes.insert(record.signature, Note { text: record.note.unwrap_or_default(), built_in: false });
        Ok(())
    }

    /// The note on this signature, if it is known.
    pub fn note(&self, signature: &str) -> Option<&str> {
        self.find(signature).map(|note| note.text.as_str())
    }

    /// Whether it is known to this program alone: a bug of the kernel that few cases meet. What its user has listed may be as
    /// frequent as it likes.
    pub fn is_rare(&self, signature: &str) -> bool {
        self.find(signature).is_some_and(|note| note.built_in)
    }

    fn find(&self, signature: &str) -> Option<&Note> {
        let mut fitting = self.notes.iter().filter(|(known, _)| matches(known, signature)).map(|(_, note)| note);
        let first = fitting.next()?;
        Some(fitting.find(|note| !note.built_in).filter(|_| first.built_in).unwrap_or(first))
    }
}

/// Whether `text` matches one of the patterns between ` | `.
fn matches(patterns: &str, text: &str) -> bool {
    patterns.split(" | ").any(|pattern| is_like(pattern, text))
}

/// Whether `text` matches `pattern`, in which a `*` matches anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((beginning, rest)) => text.strip_prefix(beginning).is_some_and(|text| {
            text.char_indices().map(|(at, _)| &text[at..]).chain([""]).any(|text| is_like(rest, text))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in
            [("a", "a"), ("*", ""), ("a*", "ab"), ("* b (*c)", "x b (y, c)"), ("a*a", "aa"), ("b | a*", "ab")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*a", "a"), ("* b (*c)", "x b (c, y)"), ("*b", "ba")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn every_known_case_is_built_in_and_says_what_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/known");
        let files = fs::read_dir(folder).expect("the folder is there").filter_map(Result::ok);
        let files = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "toml"));
        assert_eq!(files.count(), BUILT_IN.len());
        for text in BUILT_IN {
            let case = file::parse(text, Path::new("cases/known")).expect("a known case can be read");
            let record = case.finding.expect("it says what was found");
            assert!(record.note.is_some_and(|note| !note.is_empty()), "{} has a note", record.signature);
            let known = Known::of_kernel(&record.kernel);
            assert!(known.note(record.signature.split(" | ").next().unwrap_or_default()).is_some());
        }
    }

    #[test]
    fn a_series_of_which_nothing_is_known_borrows_from_the_nearest_one() {
        let borrowed = |kernel| Known::of_kernel(kernel).borrowed().map(|series| series.to_string());
        let from = |series: &str| Some(series.to_owned());
        assert_eq!(borrowed("7.2.13 #1"), None);
        assert_eq!(
            (borrowed("7.3.0-rc1"), borrowed("7.1.2"), borrowed("6.12.5")),
            (from("7.2"), from("6.18"), from("6.18"))
        );
        assert_eq!(Known::of_kernel("7.3.0-rc1").notes, Known::of_kernel("7.2.13").notes);
        assert_ne!(Known::of_kernel("6.18.44").notes, Known::of_kernel("7.2.13").notes);
    }

    #[test]
    fn lists_cases_and_folders_of_them_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let list = "[[known]]\nsignature = \"stalled: *\"\nnote = \"reported\"\n[[known]]\nsignature = \"leak: x\"\n";
        fs::write(folder.path().join("list.toml"), list).unwrap();
        let record = Record { signature: "reset: y".into(), note: Some("fixed in 7.1".into()), ..Record::default() };
        file::write(&folder.path().join("case.toml"), &Case { finding: Some(record), ..Case::default() }).unwrap();

        let mut known = Known::default();
        known.add(folder.path()).unwrap();
        assert_eq!(known.note("stalled: both wait"), Some("reported"));
        assert_eq!(known.note("leak: x"), Some(""));
        assert_eq!(known.note("leak: xy"), None);
        assert_eq!(known.note("reset: y"), Some("fixed in 7.1"));
    }

    #[test]
    fn a_file_that_is_neither_list_nor_finding_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain.toml");
        file::write(&path, &Case::default()).unwrap();
        let error = Known::default().add(&path).unwrap_err().to_string();
        assert!(error.contains("plain.toml") && error.contains("without a finding"), "{error}");
        fs::write(&path, "[[known]]\nsignatur = 1\n").unwrap();
        let error = Known::default().add(&path).unwrap_err().to_string();
        assert!(error.contains("signatur"), "{error}");
    }
}
