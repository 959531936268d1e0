//! What the hosts of both ends saw of a transfer: all of it, on every device, and in a guest without another verdict for it. And what only such captures show: that a middlebox moves sequence numbers.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::asking::sure;
use pcap_file::pcapng::{Block, PcapNgReader};
use whitewater::case::{Action, Case, Direction, Family, Host, LinkId, Pick, Protocol, Rule};
use whitewater::link::packet::View;
use whitewater::observation::Observation;
use whitewater::oracle::{Kind, judge};
use whitewater::world::World;
use whitewater::world::host::{HostOptions, HostWorld};
use whitewater::world::uml::UmlOptions;

const PAYLOAD: u64 = 60_000;

/// Every world there is, with captures.
fn worlds() -> Vec<Box<dyn World>> {
    let host = HostWorld::new(HostOptions { capture_hosts: true, ..HostOptions::default() }).expect("the host world");
    let uml = common::uml_world(UmlOptions { capture_hosts: true, ..UmlOptions::default() });
    let mut worlds: Vec<Box<dyn World>> = vec![Box::new(host)];
    worlds.extend(uml.map(|world| Box::new(world) as Box<dyn World>));
    worlds
}

fn case(protocol: Protocol, client: Host, server: Host) -> Case {
    let mut case = Case::default();
    (case.client.host, case.server.host) = (client, server);
    for endpoint in [&mut case.client, &mut case.server] {
        (endpoint.protocol, endpoint.payload) = (protocol, PAYLOAD);
    }
    case
}

/// Runs a case that has to pass; its observation, and the frames of each capture by the end of its name.
fn run(world: &dyn World, case: &Case) -> (Observation, BTreeMap<String, Vec<Vec<u8>>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let seen = world.run(case, &|_| Some(folder.path().to_owned())).expect("the case runs");
    let verdict = judge(case, &seen);
    assert_eq!(verdict.kind, Kind::Pass, "{verdict:?}");
    let entries = folder.path().read_dir().expect("the evidence").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let captures = entries
        .filter(|path| name(path).ends_with("listener") || name(path).ends_with("connector"))
        .map(|path| (name(&path), frames(&path)));
    (seen, captures.collect())
}

fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("the capture");
    let mut reader = PcapNgReader::new(&bytes[..]).expect("a pcapng");
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a sound block") {
            frames.push(packet.data.into_owned());
        }
    }
    frames
}

/// How many bytes of payload these frames carried to the server.
fn to_server(frames: &[Vec<u8>]) -> u64 {
    let segments = frames.iter().filter_map(|frame| View::of(frame).segment);
    segments.filter(|segment| segment.destination.port() == 12000).map(|segment| u64::from(segment.payload)).sum()
}

#[test]
fn both_ends_are_captured_under_the_names_of_the_selftest_loopback_included() {
    for world in worlds() {
        sure(&*world, || {
            let (seen, captures) = run(&*world, &case(Protocol::Mptcp, Host::Ns1, Host::Ns2));
            let names: Vec<&str> = captures.keys().map(String::as_str).collect();
            let prefix = "ns1-ns2-MPTCP-MPTCP-10.0.1.2-12000";
            assert_eq!(names, [format!("{prefix}-connector"), format!("{prefix}-listener")]);
            let (seen_at_home, at_home) = run(&*world, &case(Protocol::Tcp, Host::Ns1, Host::Ns1));
            assert!(
                at_home.len() == 1 && at_home.keys().all(|name| name.ends_with("listener")),
                "{:?}",
                at_home.keys()
            );
            for (seen, captures) in [(seen, captures), (seen_at_home, at_home)] {
                let told: Vec<_> = seen.hosts.values().filter_map(|host| host.captured).collect();
                assert_eq!(told.len(), captures.len());
                let missed: u64 = told.iter().map(|story| story.missed).sum();
                for (name, frames) in &captures {
                    assert!(to_server(frames) >= PAYLOAD || missed > 0, "{name}: {}", to_server(frames));
                }
            }
        });
    }
}

#[test]
fn what_is_judged_in_virtual_time_is_a_run_without_captures() {
    let (Some(with), Some(without)) = (
        common::uml_world(UmlOptions { capture_hosts: true, ..UmlOptions::default() }),
        common::uml_world(UmlOptions::default()),
    ) else {
        return;
    };
    let mut case = case(Protocol::Mptcp, Host::Ns1, Host::Ns4);
    case.links.entry(LinkId::Ns2Ns3).or_default().forward.loss = Some(whitewater::case::Loss::Independent(0.1));
    let (mut captured, captures) = run(&with, &case);
    assert!(captures.values().all(|frames| frames.len() > 40));
    captured.hosts.values_mut().for_each(|host| host.captured = None);
    assert_eq!(captured, run(&without, &case).0);
}

#[test]
fn moved_sequence_numbers_are_nothing_to_either_protocol_whatever_is_lost() {
    const BY: [u32; 2] = [0xffff_f000, 12_345];
    for (protocol, family) in
        [(Protocol::Tcp, Family::V4), (Protocol::Mptcp, Family::V4), (Protocol::Mptcp, Family::V6)]
    {
        let mut case = Case { family, ..case(protocol, Host::Ns1, Host::Ns2) };
        for (direction, by) in Direction::BOTH.into_iter().zip(BY) {
            let impairments = case.links.entry(LinkId::Ns1Ns2).or_default().impairments_mut(direction);
            impairments.renumber = by;
            // The receiver has to say which segments it has.
            let lost = Rule { times: Some(2), ..Rule::always(Pick::Data(20_000), Action::Drop) };
            impairments.rules = vec![lost];
        }
        assert_eq!(case.validate(), Ok(()));
        for world in worlds() {
            sure(&*world, || {
                let (seen, captures) = run(&*world, &case);
                let fallen = [&seen.client, &seen.server].map(|end| end.mptcp.map(|state| state.fallback));
                let right = if protocol == Protocol::Mptcp { Some(false) } else { None };
                assert_eq!(fallen, [right; 2]);
                let first = |end: &str, to_server: bool| {
                    let (_, frames) = captures.iter().find(|(name, _)| name.ends_with(end)).expect("a capture");
                    let mut views = frames.iter().filter_map(|frame| View::of(frame).segment);
                    let syn = views.find(|it| it.flags.syn() && (it.destination.port() == 12000) == to_server);
                    syn.expect("a SYN").sequence
                };
                let moved = [("connector", "listener", true), ("listener", "connector", false)]
                    .map(|(from, to, to_server)| first(to, to_server).wrapping_sub(first(from, to_server)));
                assert_eq!(moved, BY);
            });
        }
    }
}
