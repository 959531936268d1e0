//! `whitewater kernel run`: a command on a deterministic kernel.

mod common;

use common::run;

/// What the command says and how it ends: its exit code, standard output, standard error.
fn guest(script: &str, folder: &std::path::Path) -> (i32, String, String) {
    run(&["kernel", "run", "--", "sh", "-c", script], folder)
}

#[test]
fn a_command_is_heard_and_its_exit_code_handed_on() {
    let Some(kernel) = common::kernel() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (code, out, told) = guest("uname -r; id -u; echo trouble >&2; exit 7", folder.path());
    assert_eq!((code, out, told.as_str()), (7, format!("{}\n0\n", kernel.manifest.version), "trouble\n"));
    let (code, _, told) = guest("kill -9 $$", folder.path());
    assert_eq!(code, 128 + 9, "{told}");
    let (code, _, told) = run(&["kernel", "run", "--", "/no/such/program"], folder.path());
    assert!(code == 127 && told.contains("run /no/such/program: "), "{told}");
}

#[test]
fn long_output_comes_whole_and_a_background_process_holds_nothing_up() {
    if common::kernel().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Forty years: it would outlive every patience, virtual as they are.
    let (code, out, told) = guest("sleep 1262304000 & seq 1 50000", folder.path());
    let wanted: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert!(code == 0 && out == wanted, "{code}: {} bytes of {}; {told}", out.len(), wanted.len());
}

#[test]
fn lines_are_counted_on_a_kernel_that_counts_alone() {
    if common::kernel().is_none() {
        return;
    }
    let (code, _, told) = run(&["kernel", "run", "--coverage", "--", "true"], std::path::Path::new("."));
    assert!(code == 3 && told.contains("whitewater kernel build --coverage"), "{code}: {told}");
}

#[test]
fn time_is_virtual_and_a_run_is_the_same_each_time() {
    if common::kernel().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "date +%s.%N; sleep 3600; date +%s.%N; head -c 16 /dev/urandom | od -An -tx8; echo $$";
    let (code, out, told) = guest(script, folder.path());
    assert_eq!(code, 0, "{told}");
    let times: Vec<f64> = out.lines().take(2).map(|line| line.parse().unwrap()).collect();
    assert!((3600.0..3601.0).contains(&(times[1] - times[0])), "{out}");
    assert_eq!(guest(script, folder.path()).1, out);
    let (_, other, _) = run(&["kernel", "run", "--seed", "0x1", "--", "sh", "-c", script], folder.path());
    assert_ne!(other.lines().nth(2), out.lines().nth(2), "the seed is what random numbers come from");
}

#[test]
fn the_folder_of_the_call_alone_is_written_to() {
    if common::kernel().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "echo kept > here; echo gone > /tmp/there && echo no > /etc/whitewater-was-here";
    let (code, _, told) = guest(script, folder.path());
    assert!(code != 0 && told.contains("Read-only file system"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.path().join("here")).unwrap(), "kept\n");
    assert!(!std::path::Path::new("/tmp/there").exists() && !std::path::Path::new("/etc/whitewater-was-here").exists());
}

#[test]
fn a_kernel_that_goes_down_is_a_finding() {
    if common::kernel().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fill = "echo before; echo 1 > /proc/sys/vm/panic_on_oom; cat /dev/zero > /tmp/a; cat /dev/zero > /run/b; \
                cat /dev/zero > /dev/c; echo after";
    let (code, out, told) = run(&["kernel", "run", "--memory", "64", "--", "sh", "-c", fill], folder.path());
    assert_eq!((code, out.as_str()), (1, "before\n"), "{told}");
    assert!(told.contains("kernel: Kernel panic - not syncing: Out of memory"), "{told}");
    assert!(told.contains("error: the kernel went down before the command ended"), "{told}");
}
