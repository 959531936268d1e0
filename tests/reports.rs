//! What `run` and `replay` tell programs: KTAP, JSON lines, JUnit XML.

mod common;

use std::path::Path;

use common::run;

#[test]
fn a_run_is_told_as_ktap_and_junit_and_its_case_again_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["run", "--cases", "3", "--size-max", "4KiB", "--seed", "5", "--pairing", "tcp>tcp"];
    let more = ["--format", "ktap", "--junit", "report.xml"];
    let (code, out, people) = run(&[&flags[..], &more].concat(), folder.path());
    assert_eq!(code, 0, "{out}{people}");
    assert!(out.starts_with("KTAP version 1\n# seed 0x0000000000000005, world "), "{out}");
    assert!(out.ends_with("# no findings in 3 cases\n1..3\n"), "{out}");
    let tests: Vec<&str> = out.lines().filter(|line| line.starts_with("ok ")).collect();
    assert_eq!(tests.len(), 3, "{out}");
    assert!(people.ends_with("no findings in 3 cases\n"), "{people}");
    let xml = std::fs::read_to_string(folder.path().join("report.xml")).unwrap();
    assert!(xml.contains(r#"tests="3""#) && xml.contains(r#"failures="0""#), "{xml}");
    replayed(folder.path(), tests[0].split_whitespace().nth(5).expect("a seed"));
}

fn replayed(folder: &Path, seed: &str) {
    let flags = ["replay", "--seed", seed, "--size-max", "4KiB", "--pairing", "tcp>tcp", "--times", "2"];
    let (code, out, people) = run(&[&flags[..], &["--format", "json"]].concat(), folder);
    assert_eq!((code, people.lines().count()), (0, 3), "{out}{people}");
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    assert_eq!(names, ["replay-started", "replayed", "replayed", "replay-finished"]);
    assert_eq!((events[1]["seed"].as_str(), events[2]["run"].as_u64()), (Some(seed), Some(2)));
}
