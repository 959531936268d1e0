//! The command line: its help, and what it says to flags and files that it cannot use.

use std::process::{Command, Output};

fn whitewater(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whitewater"));
    for name in ["SEED", "JOBS", "FINDINGS", "KNOWN"] {
        command.env_remove(format!("WHITEWATER_{name}"));
    }
    // The width of a help text must not depend on whose terminal the tests run in.
    command.env("COLUMNS", "100").args(args).output().expect("the program starts")
}

/// What it prints on standard output; it must end well.
fn prints(args: &[&str]) -> String {
    let output = whitewater(args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on standard error; it must exit with 2, and print nothing else.
fn refuses(args: &[&str]) -> String {
    let output = whitewater(args);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(prints(&["--help"]));
}

#[test]
fn a_bare_call_prints_help() {
    assert!(prints(&[]).starts_with("Send files both ways"));
    assert_eq!(prints(&[]), prints(&["-h"]));
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(prints(&["run", "--help"]));
}

#[test]
fn help_of_replay() {
    insta::assert_snapshot!(prints(&["replay", "--help"]));
}

#[test]
fn help_of_shrink() {
    insta::assert_snapshot!(prints(&["shrink", "--help"]));
}

#[test]
fn bad_flags_are_refused_with_what_would_be_right() {
    for (args, hint) in [
        (&["run", "--seed", "river"][..], "expected 0x and up to 16 hexadecimal digits"),
        (&["run", "--jobs", "0"], "expected a number from 1 to 1024"),
        (&["run", "--cases", "0"], "0 is not in 1.."),
        (&["run", "--for", "soon"], "expected number at 0"),
        (&["run", "--size-max", "8MB"], "such as 1448, 64KiB, 8MiB or 1GiB"),
        (&["run", "--size-max", "99999999999GiB"], "more than any stream can have"),
        (&["run", "--pairing", "mptcp"], "mptcp>mptcp"),
        (&["run", "--family", "v5"], "v4mapped"),
        (&["run", "--hosts", "ns1-ns4"], "such as ns1>ns4"),
        (&["run", "--link", "wet"], "possible values: plain, impaired"),
        (&["run", "--link", "impaired", "--hosts", "ns2>ns2"], "client and server on one host use no link"),
        (&["replay"], "<FILE>..."),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
    ] {
        let said = refuses(args);
        assert!(said.contains(hint), "{args:?}: {said}");
    }
}

#[test]
fn environment_variables_stand_for_flags() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whitewater"));
    let output = command.arg("run").env("WHITEWATER_SEED", "river").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("\"river\" is not a seed"));
}

#[test]
fn bad_files_are_refused_with_their_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "format = 1\nclient = { payloda = 3 }\n").unwrap();
    let path = path.to_str().unwrap();
    for args in [&["replay", path][..], &["shrink", path], &["run", "--known", path]] {
        let said = refuses(args);
        assert!(said.contains("bad.toml") && said.contains("payloda"), "{args:?}: {said}");
    }
    let missing = folder.path().join("missing.toml");
    let said = refuses(&["replay", missing.to_str().unwrap()]);
    assert!(said.contains("missing.toml: No such file or directory"), "{said}");
}
