//! `whitewater shell`: on a host of a network that goes with it.

mod common;

use common::run;

#[test]
fn a_command_runs_on_its_host_and_ends_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let said = "cat /proc/net/dev; test -e $NS1 && test -e $NS4 && readlink /proc/self/ns/net; exit 7";
    let (code, out, told) = run(&["shell", "ns4", "--", "sh", "-c", said], folder.path());
    assert_eq!(code, 7, "{out}{told}");
    assert!(out.contains("ns4eth3:") && !out.contains("ns1eth2:"), "{out}");
    let namespace = out.lines().last().expect("a line");
    assert!(namespace.starts_with("net:["), "{out}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(own.to_str(), Some(namespace));
}

#[test]
fn a_host_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, told) = run(&["shell", "ns9"], folder.path());
    assert!(code == 2 && told.contains("expected ns1, ns2, ns3 or ns4"), "{told}");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, told) = run(&["shell", "--", "/no/such/program"], folder.path());
    assert!(code == 3 && told.contains("run /no/such/program: "), "{told}");
}
