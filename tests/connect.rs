//! `whitewater connect`, also by the name of `mptcp_connect`: each mode against itself, and what scripts rely on.

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::pair::{self, ALL};
use common::selftests::{lacks_namespaces, missing};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The program by the name that makes it one endpoint.
fn by_name() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("mptcp_connect");
    symlink(env!("CARGO_BIN_EXE_whitewater"), &program).expect("a symbolic link");
    (folder, program)
}

/// Runs it on a line of options, with `input` as its standard input.
fn call(line: &str, input: &[u8]) -> Output {
    let (_folder, program) = by_name();
    let mut child = Command::new(program)
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may have ended already.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    child.wait_with_output().expect("it ends")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until somebody listens on a port.
fn until_listening(port: u16) {
    let listens = format!(":{port:04X} 00000000:0000 0A");
    let is_there = || std::fs::read_to_string("/proc/net/tcp").is_ok_and(|sockets| sockets.contains(&listens));
    let mut tries = 0..1000;
    while !is_there() {
        tries.next().expect("it listens at last");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[test]
fn it_serves_itself_in_every_mode() {
    let lacking = missing(&["ip", "nstat", "sysctl", "unshare"]);
    if !lacking.is_empty() {
        return println!("SKIP: needs {lacking:?}, not installed here");
    }
    if let Some(why) = lacks_namespaces() {
        return println!("SKIP: needs namespaces: {why}");
    }
    let (_folder, program) = by_name();
    let failures = pair::failures(ALL.iter().map(|each| (each, &*program, &*program)));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn usage_goes_to_standard_error_with_exit_code_1() {
    for line in ["", "-h", "-m river 127.0.0.1", "one two"] {
        let output = call(line, b"");
        assert_eq!((code(&output), output.stdout.len()), (Some(1), 0), "{line}: {output:?}");
        assert!(said(&output).contains("Usage: mptcp_connect [-6]"), "{line}: {}", said(&output));
    }
}

#[test]
fn the_subcommand_is_the_same_program() {
    let output = common::whitewater().args(["connect", "-h"]).output().expect("it starts");
    assert_eq!(code(&output), Some(1));
    let output = common::whitewater().args(["connect", "--help"]).output().expect("it starts");
    assert_eq!((code(&output), output.stderr.len()), (Some(0), 0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Usage: mptcp_connect"));
}

#[test]
fn nobody_to_connect_to_is_2_and_said_as_perror_says_it() {
    let output = call(&format!("-s TCP -p {} 127.0.0.1", free_port()), b"");
    assert_eq!(code(&output), Some(2), "{output:?}");
    assert!(said(&output).contains("connect(): Connection refused\n"), "{}", said(&output));
}

#[test]
fn a_listener_that_nobody_comes_to_ends_with_2() {
    let output = call(&format!("-s TCP -l -t 1 -p {} 127.0.0.1", free_port()), b"");
    assert_eq!(code(&output), Some(2), "{output:?}");
    assert!(said(&output).contains("main_loop_s: timed out\n"), "{}", said(&output));
}

#[test]
fn a_peer_that_says_nothing_ends_a_transfer_with_2() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let output = call(&format!("-s TCP -t 1 -p {port} 127.0.0.1"), b"to nobody");
    assert_eq!(code(&output), Some(2), "{output:?}");
    let expected = "copyfd_io_poll: poll timed out (events: POLLIN 1, POLLOUT 0)\n";
    assert!(said(&output).contains(expected), "{}", said(&output));
}

#[test]
fn a_transfer_slower_than_expected_ends_with_1() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        std::thread::sleep(Duration::from_millis(300));
        drop(socket);
    });
    let output = call(&format!("-s TCP -T 100 -p {port} 127.0.0.1"), b"");
    server.join().expect("the server ends");
    assert_eq!(code(&output), Some(1), "{output:?}");
    assert!(said(&output).contains("transfer slower than expected! runtime "), "{}", said(&output));
}

#[test]
fn half_duplex_modes_want_a_regular_file() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let output = call(&format!("-s TCP -m sendfile -p {port} 127.0.0.1"), b"");
    assert_eq!(code(&output), Some(254), "{output:?}");
    assert!(said(&output).contains("get_infd_size: stdin is not a regular file\n"), "{}", said(&output));
}

#[test]
fn an_unknown_name_is_fatal() {
    let output = call("-l -p 15001 no-such-host", b"");
    assert_eq!(code(&output), Some(1), "{output:?}");
    assert!(said(&output).contains("Fatal: getaddrinfo(no-such-host:15001): "), "{}", said(&output));
}

#[test]
fn the_seed_comes_first_as_a_comment() {
    let output = call(&format!("-s TCP --seed 7 -p {} 127.0.0.1", free_port()), b"");
    assert!(said(&output).starts_with("# seed 0x0000000000000007\n"), "{}", said(&output));
}

#[test]
fn a_user_signal_ends_a_transfer_well_and_a_wait_for_a_client_not() {
    let (_folder, program) = by_name();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let peer = listener.local_addr().expect("bound").port();
    let start = |line: String| {
        Command::new(&program)
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    let client = start(format!("-s TCP -t 60 -p {peer} 127.0.0.1"));
    let port = free_port();
    let waiting = start(format!("-s TCP -t 60 -l -p {port} 127.0.0.1"));
    let (_socket, _) = listener.accept().expect("the client comes");
    until_listening(port);
    // From a socket that is open to the wait for what comes: moments, but nothing tells of its end.
    std::thread::sleep(Duration::from_secs(1));
    for child in [&client, &waiting] {
        kill(Pid::from_raw(child.id() as i32), Signal::SIGUSR1).expect("it runs");
    }
    assert_eq!(code(&client.wait_with_output().expect("it ends")), Some(0));
    let waited = waiting.wait_with_output().expect("it ends");
    assert_eq!(code(&waited), Some(1));
    assert!(said(&waited).contains("poll: Interrupted system call\n"), "{}", said(&waited));
}
