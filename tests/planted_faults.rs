//! The tester is tested: each planted fault is found by a plain run, named rightly, shrunk to its core, saved, and shown
//! again by its file. All of them on a deterministic kernel. Some that show whatever the timing are looked for in real time, too:
//! there shrinking goes as far as a busy machine comes, so how small the case is does not count.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::asking::sure;
use whitewater::case::{
    Action, Case, Endpoint, Fault, Host, Impairments, Jitter, Link, LinkId, Loss, Packet, Receiving, file,
};
use whitewater::endpoint::feature::Feature;
use whitewater::endpoint::plant::Plant;
use whitewater::payload::Sender;
use whitewater::seed::Seed;
use whitewater::world::World;

/// How long a plain run may look for a fault. Generous to slow machines; docs/figures.md says what is usual.
const SEARCH: &str = "120s";

/// A finding as a user gets it.
struct Found {
    case: Case,
    verdict: String,
}

/// Looks for a plant on a deterministic kernel, if there is one, and checks what was found.
fn in_virtual_time(plant: &str, check: impl Fn(&Found)) {
    for world in common::worlds().into_iter().filter(|world| world.is_exact()) {
        check(&find(plant, world));
    }
}

/// Looks for a plant in real time, and checks what it is called.
fn in_real_time(plant: &str, name: &str) {
    sure(common::host_world(), || {
        find(plant, common::host_world()).is_called(name);
    });
}

/// Looks for a plant with a plain run, then replays what it saved, ten times.
fn find(plant: &str, world: &dyn World) -> Found {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = Instant::now();
    let in_world = ["--world", world.name(), "--plant", plant];
    let search = ["run", "--until-finding", "--for", SEARCH, "--seed", "1"];
    let (code, out, err) = common::run(&[&search[..], &in_world].concat(), folder.path());
    assert_eq!(code, 1, "a run with the plant {plant} ends with a finding:\n{out}\n{err}");
    println!("{plant} in the {} world: found and shrunk in {:.1?}", world.name(), start.elapsed());

    let files = common::case_files(&folder.path().join("findings"));
    assert_eq!(files.len(), 1, "one bug is one finding: {files:?}\n{out}\n{err}");
    println!("{}", std::fs::read_to_string(&files[0]).expect("the file can be read"));
    let case = file::read(&files[0]).unwrap_or_else(|error| panic!("{error}"));
    shows_every_time(&files[0], &in_world);
    let verdict = case.finding.as_ref().expect("a finding's file says what was found").verdict.clone();
    Found { case, verdict }
}

/// A file shows what was found ten times of ten.
fn shows_every_time(file: &Path, in_world: &[&str]) {
    let name = file.to_string_lossy();
    let (code, out, err) = common::run(&[&["replay", &name, "--times", "10"], in_world].concat(), Path::new("."));
    assert_eq!(code, 1, "the file shows it again:\n{out}\n{err}");
    assert!(out.contains("10 of 10"), "ten times of ten:\n{out}\n{err}");
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
    in_virtual_time("lose-last-chunk", |found| {
        found.is_called("Truncated").without_links().sends(1, 1);
    });
    in_real_time("lose-last-chunk", "Truncated");
}

#[test]
fn swapped_blocks_are_a_swap() {
    in_virtual_time("swap-blocks", |found| {
        found.is_called("swap").without_links().sends(65536 + 2 * 1448, 65536 + 2 * 1448);
    });
    in_real_time("swap-blocks", "swap");
}

#[test]
fn a_byte_repeated_after_a_short_write_is_a_repeat() {
    in_virtual_time("repeat-after-short-write", |found| {
        found.is_called("repeat").without_links();
    });
}

#[test]
fn a_flipped_bit_is_a_bit_flip() {
    in_virtual_time("flip-bit", |found| {
        found.is_called("bit flip").without_links().sends(1, 1);
    });
    in_real_time("flip-bit", "bit flip");
}

#[test]
fn a_reader_that_stops_after_a_zero_window_is_a_stall() {
    in_virtual_time("stop-after-zero-window", |found| {
        found.is_called("Stalled").without_links();
    });
}

#[test]
fn a_writer_that_forgets_to_shut_down_is_a_stall() {
    in_virtual_time("forget-shutdown", |found| {
        found.is_called("Stalled").without_links().sends(0, 0);
    });
}

#[test]
fn data_of_the_other_direction_differs_from_garbage() {
    in_virtual_time("leak-direction", |found| {
        found.is_called("other direction").without_links().sends(16, 64);
    });
}

#[test]
fn an_eagain_taken_for_the_end_is_a_truncation() {
    in_virtual_time("eagain-is-end", |found| {
        found.is_called("Truncated").without_links();
    });
}

#[test]
fn a_page_taken_back_too_early_shows_when_sending_from_a_file() {
    in_virtual_time("reuse-early", |found| {
        found.is_called("Corrupt").without_links();
        let ends = [&found.case.client, &found.case.server];
        assert!(ends.iter().any(|end| end.io.send.is_from_file()), "{:?}", found.case);
    });
}

#[test]
fn a_byte_lost_between_socket_and_pipe_shows_when_splicing() {
    in_virtual_time("splice-tear", |found| {
        found.without_links().sends(4097, 65536);
        let ends = [&found.case.client, &found.case.server];
        assert!(ends.iter().any(|end| end.io.receive == Receiving::Splice), "{:?}", found.case);
    });
}

#[test]
fn a_peek_that_repeats_itself_shows_when_peeking() {
    in_virtual_time("peek-repeats", |found| {
        found.is_called("Corrupt").without_links().sends(101, 200);
        let peeks = [Receiving::SaveWithPeek, Receiving::SaveAfterPeek];
        let ends = [&found.case.client, &found.case.server];
        assert!(ends.iter().any(|end| peeks.contains(&end.io.receive)), "{:?}", found.case);
    });
}

#[test]
fn a_fault_of_one_way_option_or_ending_is_met_by_a_plain_run() {
    for world in common::worlds().into_iter().filter(|world| world.is_exact()) {
        let start = Instant::now();
        for feature in Feature::all() {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let plant = Plant::Garble(feature).to_string();
            let search = ["run", "--until-finding", "--for", SEARCH, "--seed", "1", "--shrink-time", "0s"];
            let in_world = ["--world", world.name(), "--plant", &plant];
            let (code, out, err) = common::run(&[&search[..], &in_world].concat(), folder.path());
            assert_eq!(code, 1, "{plant} is found:\n{out}\n{err}");
            let files = common::case_files(&folder.path().join("findings"));
            let case = file::read(&files[0]).unwrap_or_else(|error| panic!("{error}"));
            let met = |side| (0..case.rounds.count).any(|round| feature.is_met(&case, side, round));
            assert!([Sender::Client, Sender::Server].into_iter().any(met), "{plant} is met by others:\n{out}");
        }
        println!("a fault in each of {} features found in {:.1?}", Feature::all().count(), start.elapsed());
    }
}

#[test]
fn a_bug_that_needs_two_losses_ends_as_two_faults() {
    for world in common::worlds().into_iter().filter(|world| world.is_exact()) {
        two_losses_are_two_faults(world);
    }
}

fn two_losses_are_two_faults(world: &dyn World) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lossy.toml");
    file::write(&path, &lossy()).expect("the case can be written");
    let in_world = ["--world", world.name(), "--plant", "two-losses"];
    let name = path.to_string_lossy();
    let start = Instant::now();
    let (code, out, err) = common::run(&[&["shrink", &name], &in_world[..]].concat(), folder.path());
    assert_eq!(code, 1, "the case fails and is shrunk:\n{out}\n{err}");
    println!("two losses in the {} world: shrunk in {:.1?}", world.name(), start.elapsed());

    let case = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", file::to_text(&case));
    let faults: Vec<Fault> =
        case.links.values().flat_map(|link| link.forward.faults.iter().chain(&link.backward.faults)).cloned().collect();
    let lost = |cell| Fault { flow: 0, packet: Packet::Cell(cell), carriage: 0, action: Action::Drop };
    assert_eq!(faults, [lost(3), lost(7)], "exactly the two packets that matter");
    shows_every_time(&path, &in_world);
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
