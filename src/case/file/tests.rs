use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::case::strategy::{Space, cases};
use crate::case::{
    Action, Chunks, Congestion, Ending, Endpoint, Fault, First, Host, Impairments, Jitter, Knobs, Link, LinkId, Loss,
    Offloads, Outage, Packet, Pattern, Pause, Protocol, Rate, Record, Reorder, Second, SocketOptions, Syncookies,
};
use crate::seed::Seed;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rich() -> Case {
    let fault = |packet, carriage, action| Fault { flow: 0, packet, carriage, action };
    Case {
        seed: Seed(0x2a),
        refusals: 2,
        ending: Ending { first: First::Client, second: Second::AfterEnd, pause: ms(5), leave: None },
        client: Endpoint {
            protocol: Protocol::Mptcp,
            payload: 1448,
            write: Chunks { pattern: Pattern::Fixed(7), pauses: vec![Pause { at: 65_536, lasts: ms(300) }] },
            options: SocketOptions { sndbuf: Some(4608), nodelay: true, ..SocketOptions::default() },
            ..Endpoint::default()
        },
        server: Endpoint {
            host: Host::Ns4,
            payload: 65_537,
            read: Chunks { pattern: Pattern::Uniform { min: 1, max: 9 }, pauses: vec![] },
            options: SocketOptions { congestion: Some(Congestion::Reno), ..SocketOptions::default() },
            ..Endpoint::default()
        },
        hosts: [(
            Host::Ns4,
            Knobs {
                tcp_rmem: Some([4096, 8192, 16_384]),
                sack: false,
                syncookies: Syncookies::Always,
                ..Knobs::default()
            },
        )]
        .into(),
        links: [
            (
                LinkId::Ns1Ns2,
                Link { mtu: 1280, left: Offloads { tso: false, ..Offloads::default() }, ..Link::default() },
            ),
            (
                LinkId::Ns2Ns3,
                Link {
                    forward: Impairments {
                        spare_handshake: true,
                        loss: Some(Loss::GilbertElliott { to_bad: 0.01, to_good: 0.5, good: 0.0, bad: 0.25 }),
                        outages: vec![Outage { from: ms(1), to: ms(50) }],
                        corrupt: 0.001,
                        rate: Some(Rate { kbit: 10_000, queue: 100 }),
                        delay: Duration::from_micros(1500),
                        jitter: Some(Jitter::Normal(Duration::from_micros(100))),
                        reorder: Some(Reorder { probability: 0.25, correlation: 0.5, gap: 0 }),
                        ..Impairments::default()
                    },
                    backward: Impairments {
                        faults: vec![
                            fault(Packet::Cell(10), 1, Action::Drop),
                            fault(Packet::Syn, 0, Action::Late(ms(3))),
                            fault(Packet::Ack(1448), 0, Action::Flip(77)),
                        ],
                        ..Impairments::default()
                    },
                    ..Link::default()
                },
            ),
        ]
        .into(),
        finding: Some(Record {
            verdict: "Corrupt".into(),
            signature: "corrupt: swap".into(),
            kernel: "6.18.0 #1".into(),
            world: "host".into(),
            program: None,
            seen: Some("10 of 10".into()),
            note: None,
        }),
        ..Case::default()
    }
}

fn refused(text: &str) -> String {
    parse(text, Path::new("cases/a.toml")).expect_err("this text is no case").to_string()
}

#[test]
fn the_plainest_case_is_a_short_file() {
    assert_snapshot!(to_text(&Case::default()), @r##"
    # A whitewater case: one transfer between two programs, and what the network does to it.
    # Run it again with: whitewater replay FILE
    format = 1
    seed = "0x0000000000000000"
    family = "v4"
    address = "near"
    refusals = 0
    cpus = 1

    [client]
    host = "ns1"
    protocol = "tcp"
    payload = 0

    [server]
    host = "ns1"
    protocol = "tcp"
    payload = 0
    "##);
}

#[test]
fn a_rich_case_stays_readable() {
    assert_snapshot!(to_text(&rich()), @r##"
    # A whitewater case: one transfer between two programs, and what the network does to it.
    # Run it again with: whitewater replay FILE
    format = 1
    seed = "0x000000000000002a"
    family = "v4"
    address = "near"
    refusals = 2
    cpus = 1
    ending = { first = "client", second = "after-end", pause = "5ms" }

    [client]
    host = "ns1"
    protocol = "mptcp"
    payload = 1448
    write.pattern = { fixed = 7 }
    write.pauses = [{ at = 65536, for = "300ms" }]
    options = { sndbuf = 4608, nodelay = true }

    [server]
    host = "ns4"
    protocol = "tcp"
    payload = 65537
    read.pattern = { uniform = { min = 1, max = 9 } }
    options = { congestion = "reno" }

    [hosts.ns4]
    tcp_rmem = [4096, 8192, 16384]
    sack = false
    syncookies = "always"

    [links.ns1-ns2]
    mtu = 1280
    left = { tso = false }

    [links.ns2-ns3.forward]
    spare_handshake = true
    loss = { gilbert-elliott = { to_bad = 0.01, to_good = 0.5, good = 0.0, bad = 0.25 } }
    outages = [{ from = "1ms", to = "50ms" }]
    corrupt = 0.001
    rate = { kbit = 10000, queue = 100 }
    delay = "1ms 500us"
    jitter = { normal = "100us" }
    reorder = { probability = 0.25, correlation = 0.5 }

    [links.ns2-ns3.backward]
    faults = [
        { packet = { cell = 10 }, carriage = 1, action = "drop" },
        { packet = "syn", action = { late = "3ms" } },
        { packet = { ack = 1448 }, action = { flip = 77 } },
    ]

    [finding]
    verdict = "Corrupt"
    signature = "corrupt: swap"
    kernel = "6.18.0 #1"
    world = "host"
    seen = "10 of 10"
    "##);
}

#[test]
fn a_rich_case_is_read_as_it_was_written() {
    assert_eq!(parse(&to_text(&rich()), Path::new("rich")).unwrap(), rich());
}

#[test]
fn an_empty_file_is_the_plainest_case() {
    assert_eq!(parse("", Path::new("empty")).unwrap(), Case::default());
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_place() {
    assert_snapshot!(refused("format = 1\nseed = \n"), @"cases/a.toml:2:8: string values must be quoted, expected literal string");
    assert_snapshot!(refused("[client\n"), @"cases/a.toml:1:8: unclosed table, expected `]`");
    assert_snapshot!(refused("cpus = 1\ncpus = 1\n"), @"cases/a.toml:2:1: duplicate key");
}

#[test]
fn unknown_names_are_refused_with_those_known() {
    assert_snapshot!(refused("format = 1\n\n[links.ns2-ns3.forward]\nlos = { independent = 0.5 }\n"), @"cases/a.toml:4:1: links.ns2-ns3.forward.los: unknown field `los`, expected one of `spare_handshake`, `loss`, `outages`, `corrupt`, `duplicate`, `rate`, `delay`, `jitter`, `reorder`, `renumber`, `rules`, `faults`");
    assert_snapshot!(refused("[links.ns1-ns3]\nmtu = 1280\n"), @"cases/a.toml:1:8: links.ns1-ns3: unknown variant `ns1-ns3`, expected one of `ns1-ns2`, `ns2-ns3`, `ns3-ns4`, `path1`, `path2`, `path3`, `path4`, `path5`, `path6`, `path7`, `path8`");
    assert_snapshot!(refused("[client]\nwrite.pattern = { fixt = 3 }\n"), @"cases/a.toml:2:19: client.write.pattern.fixt: unknown variant `fixt`, expected one of `whole`, `fixed`, `uniform`, `powers-of-two`, `dribble`, `bursts`, `around`");
    assert_snapshot!(refused("[server]\nprotocol = \"sctp\"\n"), @"cases/a.toml:2:12: server.protocol: unknown variant `sctp`, expected `tcp` or `mptcp`");
    assert_snapshot!(refused("speed = 3\n"), @"cases/a.toml:1:1: speed: unknown field `speed`, expected one of `format`, `seed`, `topology`, `family`, `address`, `bound`, `refusals`, `cpus`, `ending`, `rounds`, `client`, `server`, `hosts`, `links`, `events`, `finding`");
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    assert_snapshot!(refused("seed = \"river\"\n"), @r##"cases/a.toml:1:8: seed: "river" is not a seed: expected 0x and up to 16 hexadecimal digits, or a decimal number below 2^64"##);
    assert_snapshot!(refused("[client]\npayload = -1\n"), @"cases/a.toml:2:11: client.payload: invalid value: integer `-1`, expected u64");
    assert_snapshot!(refused("[client]\npayload = \"many\"\n"), @r##"cases/a.toml:2:11: client.payload: invalid type: string "many", expected u64"##);
    assert_snapshot!(refused("[client]\nread.pauses = [{ at = 3, for = \"soon\" }]\n"), @r##"cases/a.toml:2:32: client.read.pauses.0.for: invalid value: string "soon", expected a duration such as `300ms`"##);
    assert_snapshot!(refused("[client]\nread.pauses = [{ at = 3 }]\n"), @"cases/a.toml:2:16: client.read.pauses.0: missing field `for`");
}

#[test]
fn values_out_of_range_are_refused_all_at_once() {
    let text = "cpus = 3\n[client]\npayload = 9\nread.pauses = [{ at = 3, for = \"1s\" }, { at = 2, for = \"1s\" }]\n\
                [links.ns1-ns2]\nforward = { loss = { independent = 1.5 } }\n";
    assert_snapshot!(refused(text), @r##"
    cases/a.toml:1:8: cpus: is 3: must be between 1 and 2
    cases/a.toml:4:47: client.read.pauses.1.at: is 2: must be above the offset of the pause before it, 3
    cases/a.toml:6:36: links.ns1-ns2.forward.loss.independent: is 1.5: must be between 0 and 1
    "##);
}

#[test]
fn a_newer_format_asks_for_an_update_whatever_else_it_holds() {
    assert_snapshot!(refused("format = 2\nfuture = true\n"), @"cases/a.toml:1:10: format: is 2, and this whitewater reads up to 1: update whitewater");
    assert_snapshot!(refused("format = 0\n"), @"cases/a.toml:1:10: format: is 0: must be 1");
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("a.toml");
    assert!(read(&missing).unwrap_err().to_string().contains("missing/a.toml: No such file"));
    let error = write(&missing, &rich()).unwrap_err().to_string();
    assert!(error.contains("missing/a.toml") && error.ends_with("; create the folder first"), "{error}");
}

#[test]
fn a_file_that_is_no_case_by_its_length_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.toml");
    File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert!(matches!(read(&path), Err(FileError::TooLong { .. })));
}

#[test]
fn writing_replaces_the_file_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    write(&path, &Case::default()).unwrap();
    write(&path, &rich()).unwrap();
    assert_eq!(read(&path).unwrap(), rich());
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    // A folder cannot be replaced by a file.
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(write(&path, &rich()), Err(FileError::Write { .. })));
    assert!(path.is_dir());
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_drawn_case_is_read_as_it_was_written(case in cases(&Space::default())) {
        let text = to_text(&case);
        prop_assert_eq!(parse(&text, Path::new("drawn")).unwrap(), case);
        prop_assert!(text.lines().all(|line| line.len() <= 160), "{}", text);
    }
}
