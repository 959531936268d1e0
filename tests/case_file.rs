//! What becomes of a case file on a full disk.

use std::path::Path;
use std::process::Command;

use whitewater::case::{Case, file};

/// Names the folder of a small filesystem to the copy of this test that runs inside of it.
const FOLDER: &str = "WHITEWATER_TEST_FULL_DISK";

#[test]
fn a_full_disk_gives_a_clear_error_and_leaves_the_old_file() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_full(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    // A filesystem of one page in a mount namespace of its own: gone with the process.
    let script = "mount -t tmpfs -o size=4k tmpfs \"$1\" || exit 77; exec \"$2\" --exact --nocapture \"$3\"";
    let name = "a_full_disk_gives_a_clear_error_and_leaves_the_old_file";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([folder.path().as_os_str(), this.as_os_str(), name.as_ref()])
        .env(FOLDER, folder.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() != Some(101) => {
            println!("SKIP: cannot mount a tmpfs here: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("SKIP: cannot run unshare: {error}"),
    }
}

fn write_until_full(folder: &Path) {
    let path = folder.join("case.toml");
    file::write(&path, &Case::default()).expect("one small case fits");
    // The one page is taken: a second copy beside it does not fit.
    let other = Case { refusals: 1, ..Case::default() };
    let error = file::write(&path, &other).expect_err("a second copy does not fit").to_string();
    assert!(error.contains("case.toml: No space left on device"), "{error}");
    assert!(error.ends_with("free some space, or choose another folder"), "{error}");
    assert_eq!(file::read(&path).unwrap(), Case::default());
    assert_eq!(folder.read_dir().unwrap().count(), 1);
}
