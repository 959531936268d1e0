use std::time::Instant;

use super::*;
use crate::case::file;
use crate::report::Stopped;

#[test]
fn time_ends_the_drawing() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|_: &Case, _| {
        std::thread::sleep(Duration::from_millis(1));
        Does::Pass
    });
    let mut campaign = campaign(folder.path(), 0, world);
    (campaign.options.cases, campaign.options.time) = (None, Some(Duration::from_millis(100)));
    let (summary, _) = run(&campaign);
    assert_eq!(summary.stopped, Stopped::TimeOver);
    assert!(summary.cases > 10 && summary.abandoned == 0, "{summary:?}");
    assert!(summary.seconds < 5.0);
}

#[test]
fn an_interrupt_abandons_running_cases_and_reports_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new(|_: &Case, run| if run < 10 { Does::Pass } else { Does::Hang });
    let campaign = campaign(folder.path(), 1000, world.clone());
    let stop = Arc::clone(&campaign.stop);
    let interrupter = std::thread::spawn(move || {
        while world.hanging.load(Ordering::SeqCst) < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let begin = Instant::now();
    let (summary, events) = run(&campaign);
    interrupter.join().unwrap();
    assert_eq!((summary.stopped.clone(), summary.cases, summary.abandoned), (Stopped::Interrupted, 10, 4));
    assert_eq!(summary.exit_code(), 0);
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(!events.iter().any(|event| matches!(event, Event::Trouble { .. })), "an abandoned case is no trouble");
    assert_eq!(names(folder.path()), [""; 0], "no case is in flight any more");
}

#[test]
fn an_interrupt_while_shrinking_leaves_the_smallest_case_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let world = FakeWorld::new(move |case: &Case, _| {
        if case.client.payload < 5_000 {
            flag.store(true, Ordering::SeqCst);
        }
        if case.client.payload >= 1448 { CORRUPT } else { Does::Pass }
    });
    let mut campaign = campaign(folder.path(), 1, world);
    campaign.draw = Box::new(|seed| {
        let mut case = Case { seed, ..Case::default() };
        case.client.payload = 90_000;
        case
    });
    // The boldest candidate would be stopped at: leave it out.
    campaign.rules.candidates = |case| candidates(case).into_iter().filter(|case| case.client.payload > 0).collect();
    campaign.stop = stop;
    let (summary, events) = run(&campaign);
    assert_eq!(summary.stopped, Stopped::Interrupted);
    assert_eq!(summary.exit_code(), 1);
    let case = file::read(summary.findings[0].file.as_ref().unwrap()).unwrap();
    assert!((5_000..90_000).contains(&case.client.payload), "{}", case.client.payload);
    assert_eq!(case.finding.unwrap().seen, None);
    assert!(events.iter().any(|event| matches!(event, Event::Shrunk { seen: None, .. })));
}

#[test]
fn the_end_of_a_campaign_abandons_candidates_that_nobody_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    // Two candidates hang for ever, and the budget ends the wait for them.
    let world = FakeWorld::new(|case: &Case, run| match case.client.payload {
        1 => CORRUPT,
        _ if run < 6 => Does::Hang,
        _ => Does::Pass,
    });
    let mut campaign = campaign(folder.path(), 1, world);
    campaign.draw = Box::new(|seed| {
        let mut case = Case { seed, ..Case::default() };
        (case.client.payload, case.server.payload) = (1, 1);
        case
    });
    campaign.options.limits.time = Duration::from_millis(200);
    let begin = Instant::now();
    let (summary, _) = run(&campaign);
    assert_eq!(summary.findings[0].seen.as_deref(), Some("10 of 10"));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}
