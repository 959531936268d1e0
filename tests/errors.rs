//! What goes wrong is said clearly, with the way out, and with the exit code that scripts rely on.

mod common;

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_whitewater");

/// Runs a shell script in a user and mount namespace of its own, where it is root. `None` if there are none.
fn as_root_of_a_namespace(script: &str, folder: &Path) -> Option<(i32, String)> {
    let probe = Command::new("unshare").args(["-Urm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("SKIP: unshare(1) cannot make a user namespace here");
        return None;
    }
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-ec", script])
        .current_dir(folder)
        .output()
        .expect("unshare starts, it just did");
    let (code, out, err) = common::text_of(&output);
    Some((code, out + &err))
}

#[test]
fn a_bad_case_file_is_named_with_line_and_field() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "format = 1\n\n[client]\npayloda = 7\n").expect("the file can be written");
    for command in ["replay", "shrink", "show"] {
        let (code, out, err) = common::run(&[command, "bad.toml"], folder.path());
        assert_eq!(code, 2, "{command}: {out}\n{err}");
        for part in ["bad.toml", "4", "payloda", "payload"] {
            assert!(err.contains(part), "{command} tells {part}: {err}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (code, _, err) = common::run(&["replay", "nowhere.toml"], folder.path());
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("nowhere.toml"), "{err}");
}

#[test]
fn bad_flags_are_usage_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for arguments in [
        &["run", "--pairing", "sctp>tcp"] as &[&str],
        &["run", "--seed", "river"],
        &["run", "--jobs", "0"],
        &["run", "--for", "soon"],
        &["run", "--size-max", "lots"],
        &["sail"],
    ] {
        let (code, out, err) = common::run(arguments, folder.path());
        assert_eq!(code, 2, "{arguments:?}: {out}\n{err}");
        let culprit = arguments.last().expect("an argument");
        assert!(err.contains(culprit), "{arguments:?} is told by its name: {err}");
    }
}

#[test]
fn without_user_namespaces_the_error_says_how_to_get_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // No further user namespace may be made, and no capability is left to do without one.
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces
         exec setpriv --bounding-set=-all --inh-caps=-all {PROGRAM} run --world host --cases 1"
    );
    let Some((code, text)) = as_root_of_a_namespace(&script, folder.path()) else { return };
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("user namespace") && text.contains("max_user_namespaces"), "{text}");
}

#[test]
fn a_full_disk_is_reported_and_nothing_half_written_is_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!(
        "mount -t tmpfs -o size=64k none .
         cd \"$PWD\"
         head -c 65536 /dev/zero > filler 2>/dev/null || true
         set +e
         {PROGRAM} run --world host --cases 5
         echo exit $?
         echo left: $(find . -type f -not -name filler)"
    );
    let Some((_, text)) = as_root_of_a_namespace(&script, folder.path()) else { return };
    assert!(text.contains("exit 3"), "{text}");
    assert!(text.contains("No space left") || text.contains("ENOSPC"), "{text}");
    assert!(text.contains("findings"), "the path is named: {text}");
    assert!(text.trim_end().ends_with("left:"), "no file is left half-written: {text}");
}

#[test]
fn a_findings_folder_that_cannot_be_created_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("findings"), "a file").expect("the file can be written");
    let (code, out, err) = common::run(&["run", "--cases", "1"], folder.path());
    assert_eq!(code, 3, "{out}\n{err}");
    assert!(err.contains("findings"), "{err}");
}
