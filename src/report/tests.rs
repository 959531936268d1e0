//! What a person and a program are told, from the same events.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::json::JsonLines;
use super::terminal::Terminal;
use super::{Bug, Event, Report, Stopped, Summary, words};
use crate::oracle::Kind;
use crate::seed::Seed;

/// The events of a short campaign, all kinds.
pub(super) fn events() -> Vec<Event> {
    let signature = || "corrupt: two blocks swapped".to_owned();
    let file = || PathBuf::from("findings/corrupt-1a2b3c4d.toml");
    let done = |index, verdict, what: &str| Event::CaseDone {
        index,
        seed: Seed(index),
        verdict,
        what: what.to_owned(),
        seconds: 0.25,
        in_flight: 3,
    };
    vec![
        Event::Started {
            seed: Seed(0x12),
            world: "host".to_owned(),
            why: String::new(),
            kernel: "7.0.1 #1 SMP".to_owned(),
            program: None,
            jobs: 8,
            cases: Some(300),
            seconds: None,
            findings: "findings".into(),
        },
        Event::Interrupted { files: vec!["findings/interrupted/0x0000000000000007.toml".into()] },
        done(0, Kind::Pass, ""),
        done(1, Kind::Corrupt, "client>server: 1448 bytes at 65536 and at 66984 are swapped"),
        Event::Finding {
            signature: signature(),
            verdict: Kind::Corrupt,
            what: "client>server: 1448 bytes at 65536 and at 66984 are swapped".to_owned(),
            seed: Seed(1),
            file: file(),
        },
        Event::ShrinkStep { signature: signature(), file: file(), tests: 17, payload: 68_432, faults: 2, lines: 9 },
        Event::Shrunk {
            signature: signature(),
            file: file(),
            tests: 41,
            seconds: 2.5,
            seen: Some("10 of 10".to_owned()),
            budget_spent: false,
        },
        Event::Again { signature: signature(), seed: Seed(2), count: 2 },
        done(3, Kind::Stalled, "no byte moved for 9.25 s"),
        Event::Known { signature: "stalled: both wait".into(), note: "reported".into(), seed: Seed(3), count: 1 },
        Event::Known { signature: "stalled: both wait".into(), note: "reported".into(), seed: Seed(4), count: 2 },
        done(5, Kind::HarnessError, "the agent of this case was killed by signal 9"),
        Event::Trouble {
            seed: Seed(5),
            what: "the agent of this case was killed by signal 9".to_owned(),
            file: Some("findings/trouble/0x0000000000000005.toml".into()),
        },
        Event::Finished(summary()),
    ]
}

/// The events of a replay.
pub(super) fn replay_events() -> Vec<Event> {
    let replayed = |run, verdict, what: &str| Event::Replayed {
        name: "findings/corrupt #1.toml".to_owned(),
        run,
        runs: 3,
        seed: Seed(1),
        verdict,
        what: what.to_owned(),
        signature: verdict.to_string(),
        seconds: 0.04,
        evidence: verdict.is_finding().then(|| format!("kept/1-{run}").into()),
    };
    vec![
        Event::ReplayStarted { world: "uml".to_owned(), kernel: "7.2.13 #1".to_owned(), runs: 3 },
        replayed(1, Kind::Pass, ""),
        replayed(2, Kind::Corrupt, "client>server: 1448 bytes at 65536 and at 66984 are swapped"),
        replayed(3, Kind::Skip, "this kernel gives no socket\nof the case's protocol"),
        Event::ReplayFinished { runs: 3, failed: 1, skipped: 1, trouble: 0, interrupted: false },
    ]
}

fn summary() -> Summary {
    let bug = |verdict, signature: &str, count| Bug {
        signature: signature.to_owned(),
        verdict,
        count,
        seeds: vec![Seed(1)],
        file: None,
        seen: None,
        note: None,
    };
    Summary {
        seed: Seed(0x12),
        world: "host".to_owned(),
        stopped: Stopped::Done,
        cases: 300,
        verdicts: BTreeMap::from([
            (Kind::Pass, 293),
            (Kind::Corrupt, 3),
            (Kind::Stalled, 2),
            (Kind::HarnessError, 1),
            (Kind::Skip, 1),
        ]),
        abandoned: 0,
        seconds: 8.5,
        shrinking_seconds: 2.5,
        findings: vec![
            Bug {
                file: Some("findings/corrupt-1a2b3c4d.toml".into()),
                seen: Some("10 of 10".to_owned()),
                ..bug(Kind::Corrupt, "corrupt: two blocks swapped", 3)
            },
            Bug {
                file: Some("find ings/reset-5e6f7a8b.toml".into()),
                ..bug(Kind::Reset, "reset: ECONNRESET in recv", 0)
            },
        ],
        known: vec![Bug { note: Some("reported".to_owned()), ..bug(Kind::Stalled, "stalled: both wait", 2) }],
        skipped_for: Some("the kernel has no BBR".to_owned()),
        first_trouble: Some("the agent of this case was killed by signal 9".to_owned()),
        digest: Some("0x0123456789abcdef".to_owned()),
    }
}

/// A summary without findings, and what changes it.
fn quiet(change: impl Fn(&mut Summary)) -> Summary {
    let mut summary = Summary {
        cases: 300,
        verdicts: BTreeMap::from([(Kind::Pass, 300)]),
        findings: Vec::new(),
        known: Vec::new(),
        skipped_for: None,
        first_trouble: None,
        shrinking_seconds: 0.0,
        ..summary()
    };
    change(&mut summary);
    summary
}

#[test]
fn a_person_is_told_what_is_worth_a_line() {
    let told: Vec<String> = events().iter().chain(&replay_events()).filter_map(words::of).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_program_is_told_everything() {
    let mut out = Vec::new();
    let mut report = JsonLines::new(&mut out);
    events().iter().chain(&replay_events()).for_each(|event| report.event(event));
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

/// The schema of what is written.
fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Event>()
}

/// `INSTA_UPDATE=always` writes the file anew.
#[test]
fn the_schema_of_the_events_is_the_one_in_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
    let mut schema = serde_json::to_string_pretty(&schema()).unwrap();
    schema.push('\n');
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::write(path, &schema).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == schema,
        "{path} is out of date: run this with INSTA_UPDATE=always"
    );
}

/// Every field of every line is one that the schema has, and no required one is missing.
#[test]
fn what_a_program_is_told_follows_the_schema() {
    let schema = schema().to_value();
    let kinds = schema["oneOf"].as_array().unwrap();
    let mut told = std::collections::BTreeSet::new();
    for event in events().iter().chain(&replay_events()) {
        let line = serde_json::to_value(event).unwrap();
        let kind = kinds.iter().find(|kind| kind["properties"]["event"]["const"] == line["event"]).expect("a kind");
        told.insert(line["event"].to_string());
        let mut parts = vec![kind];
        if let Some(name) = kind["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            parts.push(&schema["$defs"][name]);
        }
        let properties: Vec<&serde_json::Value> = parts.iter().map(|part| &part["properties"]).collect();
        for field in line.as_object().unwrap().keys() {
            assert!(properties.iter().any(|known| known.get(field).is_some()), "{field} of {line}");
        }
        for required in parts.iter().filter_map(|part| part["required"].as_array()).flatten() {
            assert!(line.get(required.as_str().unwrap()).is_some(), "{required} of {line}");
        }
    }
    assert_eq!(told.len(), kinds.len(), "{told:?}");
}

#[test]
fn a_terminal_is_told_the_seed_first_and_no_single_case() {
    let mut out = Vec::new();
    let mut report = Terminal::new(&mut out);
    events().iter().take(5).for_each(|event| report.event(event));
    drop(report);
    let told = String::from_utf8(out).unwrap();
    assert!(told.starts_with("seed 0x0000000000000012, world host"), "{told}");
    assert_eq!(told.lines().count(), 5, "{told}");
}

#[test]
fn a_reader_of_json_lines_that_went_away_ends_nothing() {
    struct Gone;
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    JsonLines::new(Gone).event(&events()[0]);
}

#[test]
fn a_quiet_campaign_is_told_in_a_few_lines() {
    insta::assert_snapshot!(words::of(&Event::Finished(quiet(|_| ()))).unwrap());
}

#[test]
fn the_last_line_says_how_it_ended() {
    let last = |change: &dyn Fn(&mut Summary)| {
        let summary = quiet(change);
        let code = summary.exit_code();
        let text = words::of(&Event::Finished(summary)).unwrap();
        format!("{code}: {}", text.lines().last().unwrap())
    };
    let bug = || self::summary().findings;
    let trouble = |count| move |summary: &mut Summary| summary.verdicts.extend([(Kind::HarnessError, count)]);
    assert_eq!(last(&|_| ()), "0: no findings in 300 cases");
    assert_eq!(last(&|summary| summary.findings = bug()), "1: 2 findings in 300 cases");
    assert_eq!(last(&|summary| summary.known = bug()), "0: nothing new in 300 cases");
    assert_eq!(last(&trouble(3)), "0: no findings in 300 cases");
    assert_eq!(last(&trouble(4)), "3: 4 of 300 cases met trouble of our own: too many to trust the others");
    assert_eq!(last(&|summary| summary.verdicts = [(Kind::Skip, 300)].into()), "4: all of 300 cases skipped");
    let failed = |summary: &mut Summary| summary.stopped = Stopped::Failed("cannot write x: no space left".into());
    assert_eq!(last(&failed), "3: stopped: cannot write x: no space left");
    let interrupted = |summary: &mut Summary| (summary.stopped, summary.abandoned) = (Stopped::Interrupted, 8);
    assert_eq!(last(&interrupted), "0: interrupted after 300 cases, 8 abandoned");
}

#[test]
fn a_single_case_that_met_trouble_proves_nothing() {
    let one = quiet(|summary| (summary.cases, summary.verdicts) = (1, [(Kind::HarnessError, 1)].into()));
    assert_eq!(one.exit_code(), 3);
    let of_two = quiet(|summary| {
        (summary.cases, summary.verdicts) = (2, [(Kind::HarnessError, 1), (Kind::Pass, 1)].into());
    });
    assert_eq!(of_two.exit_code(), 0);
}

#[test]
fn paths_are_written_as_a_shell_takes_them() {
    let shell = |text: &str| super::table::shell(std::path::Path::new(text));
    assert_eq!(shell("findings/a-1.toml"), "findings/a-1.toml");
    assert_eq!(shell("my findings/it's"), r"'my findings/it'\''s'");
}
