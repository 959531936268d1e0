//! Nothing stays behind: no process, no temporary file, whoever is interrupted or killed.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a campaign may take to get going, or to be gone. Only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);
/// What campaigns draw that end by themselves: small cases that this kernel is not known to fail.
const CALM: [&str; 8] = ["--seed", "1", "--pairing", "tcp>tcp", "--link", "plain", "--size-max", "64KiB"];

/// A campaign in the background, in a folder of its own, recognisable by a mark in the environment of all its processes.
struct Campaign {
    child: Child,
    mark: String,
    folder: tempfile::TempDir,
}

impl Campaign {
    fn start(arguments: &[&str]) -> Campaign {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mark = format!("MARK_OF_A_TEST={}", folder.path().display());
        let temp = folder.path().join("temp");
        std::fs::create_dir(&temp).expect("a folder for temporary files");
        let (name, value) = mark.split_once('=').expect("a name and a value");
        let mut command: Command = common::whitewater();
        command.args(arguments).current_dir(folder.path()).env(name, value).env("TMPDIR", &temp);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        Campaign { child: command.spawn().expect("the program starts"), mark, folder }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process number"))
    }

    /// Its processes besides the first, the oldest before the younger ones: the nursery and its agents.
    fn descendants(&self) -> Vec<Pid> {
        let mut pids: Vec<Pid> = marked(&self.mark).into_iter().filter(|pid| *pid != self.pid()).collect();
        pids.sort();
        pids
    }

    fn is_running(&self) -> bool {
        marked(&self.mark).contains(&self.pid())
    }

    /// Waits until agents are at work.
    fn until_busy(&self) -> Vec<Pid> {
        let start = Instant::now();
        loop {
            let descendants = self.descendants();
            if descendants.len() >= 3 {
                return descendants;
            }
            assert!(start.elapsed() < PATIENCE, "no agent has been seen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end; its exit status and what it said.
    fn end(self) -> (std::process::ExitStatus, String, Ended) {
        let Campaign { child, mark, folder } = self;
        let output = child.wait_with_output().expect("the program ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status, text, Ended { mark, folder })
    }
}

/// What is left of a campaign.
struct Ended {
    mark: String,
    folder: tempfile::TempDir,
}

impl Ended {
    fn leaves_nothing(&self) {
        let start = Instant::now();
        while !marked(&self.mark).is_empty() {
            assert!(start.elapsed() < PATIENCE, "processes stay behind: {:?}", marked(&self.mark));
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("all was gone after {:?}", start.elapsed());
        let left = names(&self.folder.path().join("temp"));
        assert!(left.is_empty(), "temporary files stay behind: {left:?}");
    }
}

/// The living processes with `mark` in their environment.
fn marked(mark: &str) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .map(Pid::from_raw)
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into()).collect())
        .unwrap_or_default()
}

/// Devices of the namespace that the tests run in.
fn devices() -> Vec<String> {
    let mut devices = names(Path::new("/sys/class/net"));
    devices.sort();
    devices
}

#[test]
fn ctrl_c_ends_a_campaign_with_its_summary() {
    let before = devices();
    let campaign = Campaign::start(&["run", "--for", "10m"]);
    campaign.until_busy();
    kill(campaign.pid(), Signal::SIGINT).expect("it can be interrupted");
    let (status, text, ended) = campaign.end();
    assert!(status.code().is_some(), "it ends by itself: {status:?}\n{text}");
    assert!(text.contains("seed 0x"), "the seed is told: {text}");
    assert!(text.contains("together"), "the summary is told: {text}");
    ended.leaves_nothing();
    let in_flight = names(&ended.folder.path().join("findings/in-flight"));
    assert!(in_flight.is_empty(), "an interrupted case is not in flight any more: {in_flight:?}");
    assert_eq!(before, devices());
}

#[test]
fn a_killed_campaign_takes_its_agents_along() {
    let campaign = Campaign::start(&["run", "--for", "10m"]);
    campaign.until_busy();
    kill(campaign.pid(), Signal::SIGKILL).expect("it can be killed");
    let (status, _, ended) = campaign.end();
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    ended.leaves_nothing();
}

#[test]
fn the_cases_of_a_killed_campaign_are_kept_and_reported_by_the_next() {
    let campaign = Campaign::start(&["run", "--for", "10m"]);
    campaign.until_busy();
    kill(campaign.pid(), Signal::SIGKILL).expect("it can be killed");
    let (_, _, ended) = campaign.end();
    let runs = ended.folder.path().join("findings/in-flight");
    let in_flight: Vec<String> = names(&runs).iter().flat_map(|run| names(&runs.join(run))).collect();
    assert!(!in_flight.is_empty(), "cases were in flight");
    let (code, out, err) = common::run(&[&["run", "--cases", "1"], &CALM[..]].concat(), ended.folder.path());
    assert_eq!(code, 0, "{out}\n{err}");
    assert!((out + &err).contains("interrupted"), "the next campaign tells of them");
    let kept = names(&ended.folder.path().join("findings/interrupted"));
    assert_eq!(kept.len(), in_flight.len(), "{kept:?} of {in_flight:?}");
}

#[test]
fn a_killed_agent_is_reported_and_the_campaign_goes_on() {
    let campaign = Campaign::start(&[&["run", "--cases", "200", "--jobs", "4"], &CALM[..]].concat());
    let trouble = campaign.folder.path().join("findings/trouble");
    campaign.until_busy();
    // An agent may end by itself before the signal comes: then the next one has to do.
    while names(&trouble).is_empty() && campaign.is_running() {
        // The nursery is the oldest of them; the others are agents.
        if let [_, .., agent] = campaign.descendants()[..] {
            let _ = kill(agent, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, text, ended) = campaign.end();
    assert!(text.contains("SIGKILL"), "the campaign tells how the agent ended ({status:?}): {text}");
    assert!(!names(&trouble).is_empty(), "its case is kept: {text}");
    assert!(text.contains("together"), "the campaign went on to its summary: {text}");
    ended.leaves_nothing();
}

#[test]
fn a_campaign_that_ends_by_itself_leaves_nothing() {
    let campaign = Campaign::start(&[&["run", "--cases", "20"], &CALM[..]].concat());
    let (_, text, ended) = campaign.end();
    assert!(text.contains("together"), "{text}");
    ended.leaves_nothing();
}
