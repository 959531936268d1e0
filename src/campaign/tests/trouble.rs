use super::*;
use crate::campaign::Replay;
use crate::case::file;
use crate::report::Stopped;

#[test]
fn a_lost_agent_is_reported_its_case_kept_and_the_campaign_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|_: &Case, run| if run == 30 { Does::Lost } else { Does::Pass });
    let (summary, events) = run(&campaign(folder.path(), 200, world));
    assert_eq!((summary.count(Kind::Pass), summary.count(Kind::HarnessError)), (199, 1));
    assert_eq!(summary.exit_code(), 0, "one case of 200 is not enough to doubt the others");
    let (seed, kept) = events
        .iter()
        .find_map(|event| match event {
            Event::Trouble { seed, what, file } => {
                assert_eq!(what, "the agent of this case was killed by signal 9");
                Some((*seed, file.clone().unwrap()))
            }
            _ => None,
        })
        .unwrap();
    assert_eq!(kept, folder.path().join(format!("findings/trouble/{seed}.toml")));
    assert_eq!(Case { finding: None, ..file::read(&kept).unwrap() }, draw(seed));
}

#[test]
fn trouble_in_more_than_one_case_of_a_hundred_exits_3() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|_: &Case, run| if run % 50 == 3 { Does::Trouble } else { Does::Pass });
    let (summary, _) = run(&campaign(folder.path(), 200, world));
    assert_eq!((summary.count(Kind::HarnessError), summary.exit_code()), (4, 3));
    let trouble = names(&folder.path().join("findings/trouble"));
    assert_eq!(trouble.len(), 8, "four cases and their evidence: {trouble:?}");
}

#[test]
fn a_campaign_in_which_nothing_works_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, _) = run(&campaign(folder.path(), 1000, FakeWorld::new(|_, _| Does::Trouble)));
    let Stopped::Failed(reason) = &summary.stopped else { panic!("{:?}", summary.stopped) };
    assert!(
        reason.starts_with("the first 20 cases all met trouble; the first one: something like trouble"),
        "{reason}"
    );
    assert_eq!((summary.cases, summary.exit_code()), (20, 3));
}

#[test]
fn a_world_that_cannot_run_the_first_case_ends_the_campaign_with_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, _) = run(&campaign(folder.path(), 1000, FakeWorld::new(|_, _| Does::Unable)));
    assert_eq!(summary.stopped, Stopped::Failed("no user namespaces here: echo 1 >somewhere".to_owned()));
    assert_eq!((summary.cases, summary.exit_code()), (1, 3));
}

#[test]
fn a_world_that_cannot_run_a_later_case_skips_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut campaign =
        campaign(folder.path(), 10, FakeWorld::new(|_: &Case, run| if run == 7 { Does::Unable } else { Does::Pass }));
    campaign.options.jobs = 1;
    let (summary, _) = run(&campaign);
    assert_eq!((summary.count(Kind::Skip), summary.exit_code()), (1, 0));
}

#[test]
fn a_campaign_that_skips_everything_exits_4() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, _) = run(&campaign(folder.path(), 10, FakeWorld::new(|_, _| Does::Skip)));
    assert_eq!((summary.exit_code(), summary.skipped_for.as_deref()), (4, Some("something like skip")));
}

#[test]
fn a_panic_in_a_worker_is_trouble_and_nothing_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|_: &Case, run| if run == 3 { Does::Panic } else { Does::Pass });
    let (summary, _) = run(&campaign(folder.path(), 150, world));
    assert_eq!(summary.count(Kind::Pass), 149);
    assert!(summary.first_trouble.unwrap().contains("the fake world falls apart"));
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("findings"), "a file").unwrap();
    let campaign = campaign(folder.path(), 1, FakeWorld::new(|_, _| Does::Pass));
    let error = super::super::run(&campaign, &mut Recorder::default()).unwrap_err().to_string();
    assert!(error.contains("findings/in-flight") && error.contains("choose a folder"), "{error}");
}

#[test]
fn a_disk_that_fails_midway_ends_the_campaign_and_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let findings = folder.path().join("findings");
    let world = FakeWorld::new(move |_: &Case, run| {
        if run == 10 {
            // The other workers still write there.
            while findings.exists() {
                _ = std::fs::remove_dir_all(&findings);
            }
        }
        Does::Pass
    });
    let (summary, events) = run(&campaign(folder.path(), 100, world));
    let Stopped::Failed(reason) = &summary.stopped else { panic!("{:?}", summary.stopped) };
    assert!(reason.contains("findings/in-flight/run-"), "{reason}");
    assert_eq!(summary.exit_code(), 3);
    assert!(matches!(events.last(), Some(Event::Finished(_))), "the summary is told all the same");
}

#[test]
fn a_replay_reports_every_run_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|case: &Case, run| {
        std::thread::sleep(Duration::from_micros(run % 3 * 500));
        if case.client.payload == 1 { CORRUPT } else { Does::Pass }
    });
    let mut cases = vec![Case::default(); 3];
    cases[1].client.payload = 1;
    let replay = Replay {
        world,
        rules: RULES,
        cases: &cases,
        times: 5,
        jobs: 4,
        evidence: Some(folder.path()),
        keep_all: false,
        stop: Arc::default(),
    };
    let mut told = Vec::new();
    assert!(replay.run(&mut |replayed| told.push((replayed.case, replayed.run, replayed.verdict.kind))));
    let kind = |case| if case == 1 { Kind::Corrupt } else { Kind::Pass };
    let expected: Vec<_> = (0..3).flat_map(|case| (0..5).map(move |run| (case, run, kind(case)))).collect();
    assert_eq!(told, expected);
    assert_eq!(names(folder.path()), ["2-1", "2-2", "2-3", "2-4", "2-5"]);
}
