use super::*;
use crate::case::file;
use crate::report::Stopped;

fn big(case: &Case, _: u64) -> Does {
    if case.client.payload >= 50_000 { CORRUPT } else { Does::Pass }
}

#[test]
fn cases_that_pass_leave_no_files_and_exit_0() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, events) = run(&campaign(folder.path(), 50, FakeWorld::new(|_, _| Does::Pass)));
    assert_eq!((summary.cases, summary.count(Kind::Pass), summary.exit_code()), (50, 50, 0));
    assert_eq!(summary.stopped, Stopped::Done);
    assert!(matches!(events[0], Event::Started { seed: Seed(7), cases: Some(50), .. }));
    assert!(matches!(events.last(), Some(Event::Finished(_))));
    assert_eq!(names(folder.path()), [""; 0], "not even the folder of the findings");
}

#[test]
fn the_same_seed_draws_the_same_cases_whatever_the_workers_do() {
    let seeds = |jobs| {
        let folder = tempfile::tempdir().unwrap();
        let mut campaign = campaign(folder.path(), 40, FakeWorld::new(|_, _| Does::Pass));
        campaign.options.jobs = jobs;
        let done = run(&campaign).1.into_iter().filter_map(|event| match event {
            Event::CaseDone { index, seed, .. } => Some((index, seed)),
            _ => None,
        });
        done.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(seeds(1), seeds(7));
    assert_eq!(seeds(3)[&5], Seed(7).child(5));
}

#[test]
fn a_digest_stands_for_all_that_the_cases_showed_in_whatever_order_they_ended() {
    let digest = |jobs, odd: Option<u64>| {
        let folder = tempfile::tempdir().unwrap();
        let does = move |case: &Case, _| match odd {
            Some(odd) if case.seed == Seed(7).child(odd) => Does::Skip,
            _ => Does::Pass,
        };
        let mut campaign = campaign(folder.path(), 40, Arc::new(Exact(FakeWorld::new(does))));
        campaign.options.jobs = jobs;
        run(&campaign).0.digest.expect("an exact world has one")
    };
    let plain = digest(1, None);
    assert_eq!(digest(7, None), plain);
    let (third, fourth) = (digest(1, Some(3)), digest(7, Some(4)));
    assert!(third != plain && fourth != plain && third != fourth, "{plain} {third} {fourth}");

    let folder = tempfile::tempdir().unwrap();
    let inexact = campaign(folder.path(), 2, FakeWorld::new(|_, _| Does::Pass));
    assert_eq!(run(&inexact).0.digest, None);
}

#[test]
fn a_bug_that_shows_a_hundred_times_is_one_finding_with_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, events) = run(&campaign(folder.path(), 200, FakeWorld::new(big)));
    assert_eq!(summary.exit_code(), 1);
    let [bug] = &summary.findings[..] else { panic!("{:?}", summary.findings) };
    assert_eq!(bug.count, summary.count(Kind::Corrupt));
    assert!(bug.count > 50 && bug.seeds.len() == 20, "{bug:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Finding { .. })).count(), 1);

    let name = bug.file.as_ref().unwrap().file_stem().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("corrupt-"), "{name}");
    assert_eq!(names(&folder.path().join("findings")), [name.clone(), format!("{name}.toml")]);
    assert_eq!(names(&folder.path().join("findings").join(name)), ["faults.toml", "observation.json"]);
}

#[test]
fn evidence_is_kept_of_the_first_hit_and_of_those_that_run_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|_: &Case, _| CORRUPT);
    let mut campaign = campaign(folder.path(), 200, world.clone());
    campaign.options.limits.tests = 0;
    let (summary, events) = run(&campaign);
    assert_eq!(summary.findings[0].count, 200);
    assert!((1..=8).contains(&world.kept.load(Ordering::SeqCst)), "{:?}", world.kept);
    assert!(!events.iter().any(|event| matches!(event, Event::ShrinkStep { .. } | Event::Shrunk { .. })));
}

#[test]
fn a_finding_is_saved_with_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, _) = run(&campaign(folder.path(), 20, FakeWorld::new(big)));
    let case = file::read(summary.findings[0].file.as_ref().unwrap()).unwrap();
    let record = case.finding.unwrap();
    assert_eq!(record.verdict, "Corrupt: something like corrupt: a block");
    assert_eq!(record.signature, "corrupt: a block");
    assert_eq!((record.kernel.as_str(), record.world.as_str()), ("7.0.0-fake #1", "fake"));
    assert_eq!(record.seen.as_deref(), Some("10 of 10"));
}

#[test]
fn an_earlier_finding_of_the_same_name_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(&campaign(folder.path(), 20, FakeWorld::new(big))).0.findings[0].file.clone().unwrap();
    let text = std::fs::read_to_string(&first).unwrap();
    let second = run(&campaign(folder.path(), 20, FakeWorld::new(big))).0.findings[0].file.clone().unwrap();
    assert_ne!(first, second);
    assert_eq!(std::fs::read_to_string(&first).unwrap(), text);
}

#[test]
fn known_findings_are_counted_apart_and_exit_0() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("known.toml");
    std::fs::write(&list, "[[known]]\nsignature = \"corrupt: *\"\nnote = \"reported upstream\"\n").unwrap();
    let mut campaign = campaign(folder.path(), 40, FakeWorld::new(big));
    campaign.options.known.add(&list).unwrap();
    let (summary, events) = run(&campaign);
    assert_eq!((summary.exit_code(), summary.findings.len()), (0, 0));
    let [bug] = &summary.known[..] else { panic!("{:?}", summary.known) };
    assert_eq!((bug.count, bug.note.as_deref()), (summary.count(Kind::Corrupt), Some("reported upstream")));
    assert!(events.iter().any(|event| matches!(event, Event::Known { count: 1, .. })));
    assert_eq!(names(&folder.path().join("findings")), [""; 0]);
}

#[test]
fn a_rare_bug_that_many_cases_show_hides_another_one() {
    const RARE: Does =
        Does::Fail { kind: Kind::Stalled, signature: "Stalled: both (fallen back to TCP, segments that overlap)" };
    let in_one_of = |share: u64| {
        let folder = tempfile::tempdir().unwrap();
        let world =
            FakeWorld::new(move |case: &Case, _| if case.seed.0.is_multiple_of(share) { RARE } else { Does::Pass });
        let mut campaign = campaign(folder.path(), 400, world);
        campaign.options.known = Known::of_kernel("7.2.13 #1");
        campaign.options.limits.tests = 0;
        let (summary, events) = run(&campaign);
        let what = events.into_iter().find_map(|event| match event {
            Event::Finding { what, .. } => Some(what),
            _ => None,
        });
        (summary.known.len(), summary.findings.len(), what.unwrap_or_default())
    };
    let (known, findings, what) = in_one_of(10);
    assert_eq!((known, findings), (1, 1));
    assert!(what.contains("(known, but in 8 of "), "{what}");
    assert_eq!(in_one_of(60), (1, 0, String::new()));
}

#[test]
fn a_case_is_on_disk_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let findings = folder.path().join("findings");
    let world = FakeWorld::new(move |case: &Case, _| {
        let [flight] = &names(&findings.join("in-flight"))[..] else { return Does::Trouble };
        let path = findings.join("in-flight").join(flight).join(format!("{}.toml", case.seed));
        if file::read(&path).is_ok_and(|written| written == *case) { Does::Pass } else { Does::Trouble }
    });
    let (summary, _) = run(&campaign(folder.path(), 50, world));
    assert_eq!(summary.count(Kind::Pass), 50, "{:?}", summary.first_trouble);
}

#[test]
fn cases_of_a_killed_campaign_are_kept_and_those_of_a_living_one_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let findings = folder.path().join("findings");
    let dead = findings.join("in-flight/run-dead");
    std::fs::create_dir_all(dead.join("0x12")).unwrap();
    file::write(&dead.join("0x12.toml"), &Case::default()).unwrap();
    let (living, left) = super::super::store::Store::open(&findings).unwrap();
    living.begin(Seed(5), &Case::default()).unwrap();
    assert_eq!(left, [findings.join("interrupted/0x12.toml")]);
    assert!(!dead.exists() && findings.join("interrupted/0x12").is_dir());

    std::fs::create_dir_all(&dead).unwrap();
    file::write(&dead.join("0x13.toml"), &Case::default()).unwrap();
    let (_, events) = run(&campaign(folder.path(), 1, FakeWorld::new(|_, _| Does::Pass)));
    let kept = findings.join("interrupted/0x13.toml");
    assert!(events.contains(&Event::Interrupted { files: vec![kept.clone()] }), "{events:?}");
    assert_eq!(file::read(&kept).unwrap(), Case::default());
    living.end(Seed(5)).expect("the living campaign's case is still where it was");
}

#[test]
fn the_campaign_ends_with_its_first_finding_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|case: &Case, run| match case.client.payload {
        50_000.. if run % 2 == 0 => CORRUPT,
        50_000.. => Does::Fail { kind: Kind::Stalled, signature: "stalled: both" },
        _ => Does::Pass,
    });
    let mut campaign = campaign(folder.path(), 0, world);
    (campaign.options.cases, campaign.options.until_finding) = (None, true);
    let (summary, _) = run(&campaign);
    assert_eq!((summary.stopped.clone(), summary.exit_code()), (Stopped::Finding, 1));
    assert!(summary.cases < 30, "{}", summary.cases);
    assert_eq!(summary.findings.len(), 1, "what shows beside it is not asked for: {:?}", summary.findings);
}
