//! Every saved case still does what it did: those in `cases/` pass, those in `cases/known/` pass or show what their
//! record says.

mod common;

use std::path::Path;

use whitewater::case::file;
use whitewater::oracle::Kind;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn mended_cases_pass() {
    let files = common::case_files(&folder("cases"));
    assert!(!files.is_empty(), "cases/ holds at least one case");
    for path in files {
        let case = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let verdict = common::verdict(&case);
        assert_eq!(verdict.kind, Kind::Pass, "{}: {}", path.display(), verdict.what);
    }
}

#[test]
fn known_cases_show_nothing_new() {
    for path in common::case_files(&folder("cases/known")) {
        let case = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let record =
            case.finding.clone().unwrap_or_else(|| panic!("{}: a known case says what it shows", path.display()));
        assert!(record.note.is_some(), "{}: a known case says what is known", path.display());
        let verdict = common::verdict(&case);
        assert!(
            verdict.kind == Kind::Pass || common::known().note(&verdict.signature).is_some(),
            "{}: {} instead of {}",
            path.display(),
            verdict.what,
            record.signature
        );
    }
}
