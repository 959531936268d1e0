//! The choice of a world, and what a saved case tells of the kernel that it was seen on.

mod common;

use std::fs;
use std::path::Path;

use whitewater::case::file;

/// Runs the program with a temporary folder as its own.
fn run(arguments: &[&str]) -> (i32, String, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (code, out, err) = common::run(arguments, folder.path());
    (code, out, err, folder)
}

#[test]
fn a_campaign_says_which_world_it_chose_and_why() {
    let Some(kernel) = common::kernel() else { return };
    let few = ["run", "--cases", "2", "--seed", "0x1"];
    let (code, out, err, _) = run(&[&few[..], &["--world", "auto"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let said =
        format!("world uml (a kernel for it is installed), kernel {:?} {}", kernel.name, kernel.manifest.version);
    assert!(out.contains(&said), "{out}");

    let nothing = tempfile::tempdir().expect("a temporary folder");
    let mut command = common::whitewater();
    command.args(few).args(["--world", "auto"]).current_dir(nothing.path()).env("WHITEWATER_KERNELS", nothing.path());
    let (code, out, err) = common::text_of(&command.output().expect("the program starts"));
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("world host (no kernel is installed; `whitewater kernel build` makes one)"), "{out}");
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for (arguments, said) in [
        (&["run", "--world", "host", "--kernel", "mine"][..], "--kernel names a kernel of the uml world"),
        (&["run", "--world", "host", "--check-determinism"], "--check-determinism needs --world uml"),
        (&["run", "--world", "moon"], "possible values: auto, host, uml"),
    ] {
        let (code, _, err, _) = run(arguments);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(said), "{err}");
    }
    let (code, _, err, _) = run(&["run", "--world", "uml", "--kernel", "nowhere"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("no kernel \"nowhere\" is installed"), "{err}");
}

#[test]
fn every_case_of_a_checked_campaign_runs_alike_twice() {
    if common::kernel().is_none() {
        return;
    }
    let (code, out, err, _) =
        run(&["run", "--world", "uml", "--cases", "30", "--seed", "0x2026", "--check-determinism"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn a_finding_names_its_kernel_replays_there_and_on_another_one_says_so() {
    let Some(kernel) = common::kernel() else { return };
    let arguments =
        ["run", "--world", "uml", "--until-finding", "--cases", "200", "--seed", "0x7", "--plant", "flip-bit"];
    let (code, out, err, folder) = run(&arguments);
    assert_eq!(code, 1, "{out}{err}");
    let saved = common::case_files(&folder.path().join("findings")).remove(0);
    let case = file::read(&saved).expect("a saved case");
    let record = case.finding.clone().expect("it says what was seen");
    let program = record.program.expect("it names the kernel's program");
    assert_eq!((record.world.as_str(), program.sha256), ("uml", kernel.manifest.sha256));
    assert_eq!(record.seen.as_deref(), Some("1 of 1"), "one run decides");

    let replay = |path: &Path| {
        common::run(
            &["replay", "--world", "uml", "--plant", "flip-bit", path.to_str().expect("a plain path")],
            folder.path(),
        )
    };
    let (code, out, err) = replay(&saved);
    assert_eq!(code, 1, "{out}{err}");
    assert!(!err.contains("is another"), "{err}");

    let elsewhere = folder.path().join("elsewhere.toml");
    let text = fs::read_to_string(&saved).expect("a saved case").replace("sha256 = \"", "sha256 = \"00");
    fs::write(&elsewhere, text).expect("a changed case");
    let (code, out, err) = replay(&elsewhere);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("this one is another") && err.contains("elsewhere.toml"), "{err}");
}
