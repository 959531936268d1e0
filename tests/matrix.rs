//! `whitewater matrix`: the walk of the kernel's selftest, in KTAP.

mod common;

use std::path::Path;

use common::asking::sure;
use whitewater::net::features;

/// Runs the walk in a world with small files; its exit code and what it told.
fn walk(world: &str, arguments: &[&str]) -> (i32, String) {
    let fixed = ["matrix", "--world", world, "--seed", "7", "--size", "20KiB"];
    let (code, told, _) = common::run(&[&fixed[..], arguments].concat(), Path::new("."));
    (code, told)
}

/// How many lines begin like this.
fn count(told: &str, start: &str) -> usize {
    told.lines().filter(|line| line.starts_with(start)).count()
}

/// Whether this machine has namespaces and MPTCP; says so where it has not.
fn can_walk() -> bool {
    let lacks = [features::can_user_namespace(), features::has_mptcp()].into_iter().find_map(Result::err);
    if let Some(why) = &lacks {
        println!("SKIP: the walk: {why}");
    }
    lacks.is_none()
}

#[test]
fn the_whole_walk_passes() {
    if !can_walk() {
        return;
    }
    for world in common::worlds() {
        sure(world, || {
            let (code, told) = walk(world.name(), &["-d", "4", "-l", "0.5", "-C", "-S", "100000", "-R", "100000"]);
            assert_eq!((code, count(&told, "not ok ")), (0, 0), "{told}");
            assert!(told.starts_with("KTAP version 1\n1..68\n"), "{told}");
            assert_eq!(count(&told, "ok "), 68, "{told}");
        });
    }
}

#[test]
fn the_classic_walk_passes() {
    if !can_walk() {
        return;
    }
    for world in common::worlds() {
        sure(world, || {
            let (code, told) = walk(world.name(), &["--classic"]);
            assert_eq!((code, count(&told, "not ok "), count(&told, "ok ")), (0, 0, 74), "{told}");
        });
    }
}

#[test]
fn every_mode_passes_and_leaves_captures_on_demand() {
    if !can_walk() {
        return;
    }
    for mode in ["mmap", "sendfile", "splice"] {
        sure(common::host_world(), || {
            let kept = tempfile::tempdir().expect("a folder");
            let folder = kept.path().to_str().expect("a name");
            let (code, told) = walk("host", &["-4", "-d", "0", "-l", "0", "-m", mode, "--capture", folder]);
            assert_eq!((code, count(&told, "not ok ")), (0, 0), "{mode}: {told}");
            assert_eq!(count(&told, "# captured: "), 33, "{mode}: {told}");
            let at_home = "1-1/ns1-ns1-MPTCP-MPTCP-10.0.1.1-12000-listener.pcapng";
            assert!(kept.path().join(at_home).exists(), "{mode}: {told}");
            // The fourth transfer is the first one over a link.
            assert!(kept.path().join("4-1/ns1-ns2-MPTCP-MPTCP-10.0.1.2-12000-connector.pcapng").exists());
            assert!(kept.path().join("4-1/ns1-ns2.pcapng").exists(), "{mode}: {told}");
        });
    }
}

#[test]
fn a_planted_fault_fails_the_walk() {
    if !can_walk() {
        return;
    }
    let evidence = tempfile::tempdir().expect("a folder");
    let folder = evidence.path().to_str().expect("a name");
    let (code, told) =
        walk("host", &["-4", "-d", "0", "-l", "0", "-r", "0", "--plant", "flip-bit", "--evidence", folder]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("# CORRUPT: "), "{told}");
    assert!(count(&told, "not ok ") > 15, "{told}");
    assert!(evidence.path().read_dir().expect("the folder").next().is_some());
}
