//! The tester is tested: each planted fault is found by a plain run, named rightly, shrunk to its core, saved, and shown
//! again by its file.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use whitewater::case::{
    Action, Case, Endpoint, Fault, Host, Impairments, Jitter, Link, LinkId, Loss, Packet, Receiving, file,
};
use whitewater::seed::Seed;

/// How long a plain run may look for a fault. Generous to slow machines; the README says what is usual.
const SEARCH: &str = "60s";

/// A finding as a user gets it.
struct Found {
    case: Case,
    verdict: String,
    file: PathBuf,
    folder: tempfile::TempDir,
}

/// How many runs may look for a plant that hangs on timing: which side is faster can change between the moment a file is
/// verified and the moment it is replayed here, among other tests.
const SEARCHES: usize = 3;

/// Looks for a plant with a plain run, then replays what it saved, ten times.
fn find(plant: &str) -> Found {
    for search in 1..=SEARCHES {
        let found = search_for(plant);
        let path = found.folder.path().join("findings").join(&found.file);
        let name = path.to_string_lossy();
        let (code, out, err) = common::run(&["replay", &name, "--times", "10", "--plant", plant], found.folder.path());
        assert_eq!(code, 1, "the file shows it again:\n{out}\n{err}");
        if out.contains("10 of 10") {
            return found;
        }
        println!("{plant}: the file of search {search} does not replay every time:\n{out}");
    }
    panic!("{plant}: no search of {SEARCHES} came to a file that replays ten times of ten")
}

fn search_for(plant: &str) -> Found {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = Instant::now();
    let arguments = ["run", "--plant", plant, "--until-finding", "--for", SEARCH];
    let (code, out, err) = common::run(&arguments, folder.path());
    assert_eq!(code, 1, "a run with the plant {plant} ends with a finding:\n{out}\n{err}");
    println!("{plant}: found and shrunk in {:?}", start.elapsed());

    let files = common::case_files(&folder.path().join("findings"));
    assert_eq!(files.len(), 1, "one bug is one finding: {files:?}\n{out}\n{err}");
    println!("{}", std::fs::read_to_string(&files[0]).expect("the file can be read"));
    let case = file::read(&files[0]).unwrap_or_else(|error| panic!("{error}"));
    let verdict = case.finding.as_ref().expect("a finding's file says what was found").verdict.clone();
    let file = files[0].file_name().expect("a file has a name").into();
    Found { case, verdict, file, folder }
}

impl Found {
    fn is_called(&self, name: &str) -> &Found {
        assert!(self.verdict.contains(name), "{:?} is called {name}", self.verdict);
        self
    }

    fn without_links(&self) -> &Found {
        assert!(self.case.links.is_empty(), "no impairment matters here: {:?}", self.case.links);
        self
    }

    fn sends(&self, least: u64, most: u64) -> &Found {
        let payload = self.case.client.payload.max(self.case.server.payload);
        assert!((least..=most).contains(&payload), "{payload} bytes, where {least} to {most} would do");
        self
    }
}

#[test]
fn a_last_chunk_lost_at_the_half_close_is_a_truncation() {
    find("lose-last-chunk").is_called("Truncated").without_links().sends(1, 1);
}

#[test]
fn swapped_blocks_are_a_swap() {
    find("swap-blocks").is_called("swap").without_links().sends(65536 + 2 * 1448, 65536 + 2 * 1448);
}

#[test]
fn a_byte_repeated_after_a_short_write_is_a_repeat() {
    find("repeat-after-short-write").is_called("repeat").without_links();
}

#[test]
fn a_flipped_bit_is_a_bit_flip() {
    find("flip-bit").is_called("bit flip").without_links().sends(1, 1);
}

#[test]
fn a_reader_that_stops_after_a_zero_window_is_a_stall() {
    find("stop-after-zero-window").is_called("Stalled").without_links();
}

#[test]
fn a_writer_that_forgets_to_shut_down_is_a_stall() {
    find("forget-shutdown").is_called("Stalled").without_links().sends(0, 0);
}

#[test]
fn data_of_the_other_direction_is_told_from_garbage() {
    find("leak-direction").is_called("other direction").without_links().sends(16, 64);
}

#[test]
fn an_eagain_taken_for_the_end_is_a_truncation() {
    find("eagain-is-end").is_called("Truncated").without_links();
}

#[test]
fn a_page_taken_back_too_early_is_met_by_those_who_send_from_a_file() {
    let found = find("reuse-early");
    found.is_called("Corrupt").without_links();
    let ends = [&found.case.client, &found.case.server];
    assert!(ends.iter().any(|end| end.io.send.is_from_file()), "{:?}", found.case);
}

#[test]
fn a_byte_lost_between_socket_and_pipe_is_met_by_those_who_splice() {
    let found = find("splice-tear");
    found.without_links().sends(4097, 65536);
    let ends = [&found.case.client, &found.case.server];
    assert!(ends.iter().any(|end| end.io.receive == Receiving::Splice), "{:?}", found.case);
}

#[test]
fn a_peek_that_repeats_itself_is_met_by_those_who_peek() {
    let found = find("peek-repeats");
    found.is_called("Corrupt").without_links().sends(101, 200);
    let peeks = [Receiving::SaveWithPeek, Receiving::SaveAfterPeek];
    let ends = [&found.case.client, &found.case.server];
    assert!(ends.iter().any(|end| peeks.contains(&end.io.receive)), "{:?}", found.case);
}

#[test]
fn a_bug_that_needs_two_losses_ends_as_two_faults() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lossy.toml");
    file::write(&path, &lossy()).expect("the case can be written");
    let name = path.to_string_lossy();
    let (code, out, err) = common::run(&["shrink", &name, "--plant", "two-losses"], folder.path());
    assert_eq!(code, 1, "the case fails and is shrunk:\n{out}\n{err}");

    let case = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", file::to_text(&case));
    let faults: Vec<Fault> =
        case.links.values().flat_map(|link| link.forward.faults.iter().chain(&link.backward.faults)).cloned().collect();
    let lost = |cell| Fault { flow: 0, packet: Packet::Cell(cell), carriage: 0, action: Action::Drop };
    assert_eq!(faults, [lost(3), lost(7)], "exactly the two packets that matter");

    let (code, out, err) = common::run(&["replay", &name, "--times", "10", "--plant", "two-losses"], folder.path());
    assert_eq!(code, 1, "the file shows it again:\n{out}\n{err}");
    assert!(out.contains("10 of 10"), "ten times of ten:\n{out}\n{err}");
}

/// A case in which most cells are lost once, some packets come twice and some late.
fn lossy() -> Case {
    let impairments = Impairments {
        spare_handshake: true,
        loss: Some(Loss::Cells { probability: 0.9, carriages: 1 }),
        duplicate: 0.1,
        delay: Duration::from_millis(1),
        jitter: Some(Jitter::Uniform(Duration::from_micros(200))),
        ..Impairments::default()
    };
    let link = Link { forward: impairments.clone(), backward: impairments, ..Link::default() };
    Case {
        seed: Seed(4),
        client: Endpoint { host: Host::Ns1, payload: 40_000, ..Endpoint::default() },
        server: Endpoint { host: Host::Ns4, payload: 1000, ..Endpoint::default() },
        links: BTreeMap::from([(LinkId::Ns2Ns3, link)]),
        ..Case::default()
    }
}
