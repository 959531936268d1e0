//! Cases on a deterministic kernel: they end as they should, and the same each time.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::uml_world;
use whitewater::agent::evidence;
use whitewater::case::{Case, Host, Impairments, Link, LinkId, Loss, Outage, Protocol};
use whitewater::endpoint::plant::Plant;
use whitewater::oracle::{Kind, judge};
use whitewater::seed::Seed;
use whitewater::world::uml::kernels::Store;
use whitewater::world::uml::{KERNEL_LOG, UmlOptions, UmlWorld};
use whitewater::world::{World, WorldError};

/// Both ways across the chain over MPTCP, with losses on every link.
fn rough(seed: u64) -> Case {
    let mut case = Case { seed: Seed(seed), ..Case::default() };
    for (endpoint, host) in [(&mut case.client, Host::Ns1), (&mut case.server, Host::Ns4)] {
        endpoint.host = host;
        endpoint.protocol = Protocol::Mptcp;
        endpoint.payload = 100_000;
    }
    let lossy =
        Impairments { delay: Duration::from_millis(5), loss: Some(Loss::Independent(0.02)), ..Impairments::default() };
    for id in LinkId::CHAIN {
        case.links.insert(id, Link { forward: lossy.clone(), backward: lossy.clone(), ..Link::default() });
    }
    case
}

#[test]
fn a_case_passes_and_leaves_its_evidence() {
    let Some(world) = uml_world(UmlOptions::default()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let case = rough(1);
    let seen = world.run(&case, &|_| Some(folder.path().to_owned())).expect("a run");
    let verdict = judge(&case, &seen);
    assert_eq!(verdict.kind, Kind::Pass, "{verdict:?}\n{seen:#?}");
    assert_eq!((seen.server.received, seen.client.received), (100_000, 100_000));
    assert!(seen.kernel.starts_with(&world.kernel().manifest.version), "{}", seen.kernel);
    assert!(seen.links.values().any(|link| link.lost > 0), "2 % loss has lost something");
    let files = [evidence::OBSERVATION, evidence::FAULTS, KERNEL_LOG, "ns1-ns2.log", "ns2-ns3.pcapng"];
    for file in files {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn the_same_case_is_the_same_run_and_another_seed_is_not() {
    let Some(world) = uml_world(UmlOptions::default()) else { return };
    let print = |seed| world.fingerprint(&rough(seed)).expect("a run").1;
    let first = print(7);
    // At the same time on all CPUs, as campaigns do.
    let again: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| print(7))).collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    assert_eq!(again, vec![first.clone(); 6]);
    assert_ne!(print(8), first);
}

#[test]
fn waiting_takes_no_time() {
    let Some(world) = uml_world(UmlOptions::default()) else { return };
    let mut case = rough(3);
    // The links are dead for a minute from the second packet on.
    let outage = Outage { from: Duration::from_micros(1), to: Duration::from_secs(60) };
    for link in case.links.values_mut() {
        link.forward.loss = None;
        link.backward.loss = None;
        link.forward.outages.push(outage);
    }
    let began = Instant::now();
    let seen = world.run(&case, &|_| None).expect("a run");
    assert!(seen.timings.transfer + seen.timings.settle > Duration::from_secs(1), "{:?}", seen.timings);
    assert!(began.elapsed() < seen.timings.transfer + seen.timings.settle, "in {:?}", began.elapsed());
}

#[test]
fn a_planted_fault_is_found() {
    let Some(world) = uml_world(UmlOptions { plant: Some(Plant::FlipBit), ..UmlOptions::default() }) else { return };
    let case = rough(4);
    let seen = world.run(&case, &|_| None).expect("a run");
    assert_eq!(judge(&case, &seen).kind, Kind::Corrupt);
}

/// A world whose kernel is this shell script.
fn pretended(folder: &Path, script: &str) -> UmlWorld {
    let program = folder.join("fake/linux");
    std::fs::create_dir(folder.join("fake")).expect("a folder");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let manifest =
        "version = \"0.0\"\nsource = \"/\"\ndebug = false\ncoverage = false\nsha256 = \"\"\nconfig_sha256 = \"\"";
    std::fs::write(folder.join("fake/kernel.toml"), manifest).expect("a manifest");
    let kernel = Store::at(folder.to_owned()).find(Some("fake")).expect("a kernel");
    let options = UmlOptions {
        cpu_limit: Some(Duration::from_millis(500)),
        agent: Some("/bin/false".into()),
        ..UmlOptions::default()
    };
    UmlWorld::with(kernel, options).expect("a world")
}

#[test]
fn a_kernel_that_computes_for_ever_is_a_finding() {
    let folder = tempfile::tempdir().expect("a folder");
    let evidence = tempfile::tempdir().expect("a folder");
    let world = pretended(folder.path(), "echo before; while :; do :; done");
    let seen = world.run(&rough(5), &|_| Some(evidence.path().to_owned())).expect("a run");
    let verdict = judge(&rough(5), &seen);
    assert_eq!(verdict.signature, "Stalled: the kernel computes for ever");
    assert_eq!(std::fs::read_to_string(evidence.path().join(KERNEL_LOG)).expect("a console"), "before\n");
}

#[test]
fn a_program_of_the_guest_that_computes_for_ever_is_not_the_kernels_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = pretended(folder.path(), "sh -c 'while :; do :; done' & echo $!; wait");
    let text = match world.run(&rough(5), &|_| None) {
        Err(WorldError::AgentLost(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(text.contains("of CPU time without an end"), "{text}");
    let program = text.lines().last().expect("the console's last line").trim();
    // It takes a moment to die, and whoever inherits it may not have waited for it yet.
    let is_gone = || {
        let state = std::fs::read_to_string(format!("/proc/{program}/stat"));
        state.map_or(true, |state| state.contains(") Z "))
    };
    let gone = (0..1000).any(|_| {
        is_gone() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }
    });
    assert!(gone, "it is killed with its kernel");
}

#[test]
fn a_program_that_is_no_init_is_reported_with_its_console() {
    let Some(kernel) = common::kernel() else { return };
    let options = UmlOptions { agent: Some("/bin/false".into()), ..UmlOptions::default() };
    let world = UmlWorld::with(kernel, options).expect("a world");
    let error = world.boot().expect_err("/bin/false is no agent").to_string();
    assert!(error.contains("ended without a reply") && error.contains("Attempted to kill init"), "{error}");
}

#[test]
fn abandoned_cases_end_at_once_and_leave_nothing() {
    let Some(world) = uml_world(UmlOptions::default()) else { return };
    let mut case = rough(6);
    case.client.payload = 200 << 20;
    let result = std::thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&case, &|_| None));
        // How soon its kernel runs is up to this machine.
        while !run.is_finished() {
            std::thread::sleep(Duration::from_millis(100));
            world.abandon();
        }
        run.join().expect("no panic")
    });
    assert!(matches!(result, Err(WorldError::AgentLost(_))), "{result:?}");
    assert!(world.run(&rough(6), &|_| None).is_ok(), "later cases run as usual");
}

#[test]
fn a_case_folder_never_stays_behind() {
    let Some(world) = uml_world(UmlOptions::default()) else { return };
    let mine = || {
        let entries = std::fs::read_dir(std::env::temp_dir()).expect("the folder for temporary files");
        let names = entries.flatten().map(|entry| entry.path());
        names.filter(|path| is_case_folder_of_this_test(path)).count()
    };
    world.boot().expect("a boot");
    world.run(&rough(9), &|_| None).expect("a run");
    assert_eq!(mine(), 0);
}

/// Other tests run at the same time: only this one's case has seed 9.
fn is_case_folder_of_this_test(path: &Path) -> bool {
    let errand = std::fs::read_to_string(path.join(whitewater::agent::init::ERRAND)).unwrap_or_default();
    errand.contains("\"seed\":\"0x0000000000000009\"")
}
