use std::time::Duration;

use crate::case::{
    Action, Address, Case, Chunks, Congestion, Family, Fault, First, Host, Io, Jitter, Knobs, LinkId, Loss, Offloads,
    Outage, Packet, Pattern, Pause, Protocol, Rate, Receiving, Record, Second, Sending, SocketOptions, Syncookies,
};
use crate::case::{Change, Leave, Manner, Rounds, SocketOption, Sysctl, Way};
use crate::observation::{Breach, CallError, End, PmEvent, PmEventKind, SocketState};
use crate::oracle::{healthy, judge};
use crate::payload::{Damage, Mismatch, Sender};
use crate::seed::Seed;

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A case with a little of everything.
fn rough() -> Case {
    let mut case = Case { family: Family::V6, address: Address::Far, refusals: 1, cpus: 2, ..Case::default() };
    case.seed = Seed(7);
    case.ending.first = First::Client;
    case.ending.second = Second::AfterEnd;
    case.ending.pause = millis(50);
    case.client.protocol = Protocol::Mptcp;
    case.client.payload = 65537;
    case.client.write.pattern = Pattern::Bursts { chunk: 1448, every: 8192, rest: millis(20) };
    case.client.options =
        SocketOptions { sndbuf: Some(4608), nodelay: true, congestion: Some(Congestion::Reno), ..Default::default() };
    case.server.host = Host::Ns4;
    case.server.payload = 3;
    case.server.read =
        Chunks { pattern: Pattern::Uniform { min: 1, max: 512 }, pauses: vec![Pause { at: 4096, lasts: millis(200) }] };
    case.hosts.insert(Host::Ns4, Knobs { sack: false, syncookies: Syncookies::Always, ..Knobs::default() });
    let first = case.links.entry(LinkId::Ns1Ns2).or_default();
    first.mtu = 1400;
    first.right = Offloads { gro: false, ..Offloads::default() };
    let middle = case.links.entry(LinkId::Ns2Ns3).or_default();
    middle.forward.loss = Some(Loss::Independent(0.02));
    middle.backward.rate = Some(Rate { kbit: 20_000, queue: 50 });
    for impairments in [&mut middle.forward, &mut middle.backward] {
        impairments.delay = millis(10);
        impairments.jitter = Some(Jitter::Uniform(millis(2)));
    }
    middle.forward.outages.push(Outage { from: millis(100), to: millis(1600) });
    let fault = |packet, carriage, action| Fault { flow: 0, packet, carriage, action };
    middle.backward.faults =
        vec![fault(Packet::Cell(3), 0, Action::Drop), fault(Packet::SynAck, 1, Action::Late(millis(30)))];
    case
}

#[test]
fn the_plainest_case_is_hardly_a_line() {
    insta::assert_snapshot!(describe(&Case::default()));
}

#[test]
fn a_rough_case_is_told_completely() {
    insta::assert_snapshot!(describe(&rough()));
}

#[test]
fn a_saved_finding_is_told_with_its_case() {
    let finding = Record {
        verdict: "client>server: bit flip at byte 70 of 100, 1 byte long".into(),
        signature: "Corrupt: bit flip client>server".into(),
        kernel: "6.18.44 #1 SMP".into(),
        world: "host".into(),
        program: None,
        seen: Some("10 of 10".into()),
        note: None,
    };
    let mut case = Case { finding: Some(finding), ..Case::default() };
    case.client.payload = 100;
    insta::assert_snapshot!(describe(&case));
}

#[test]
fn links_are_rough_where_they_are_impaired_and_nowhere_else() {
    let first = |case: &Case| describe(case).lines().next().map(str::to_owned).expect("a line");
    assert!(!first(&Case::default()).contains('≋'));
    let drawn = first(&rough());
    let (before, after) = drawn.split_once("ns3").expect("all hosts");
    assert!(before.contains('─') && before.contains('≋') && !after.contains('≋'), "{drawn}");
}

#[test]
fn a_corruption_is_told_with_its_bytes() {
    let mut case = Case::default();
    (case.client.payload, case.server.payload) = (100, 5);
    let mut seen = healthy::observation(&case);
    seen.client.error = Some(CallError { call: "recv".into(), errno: "ECONNRESET".into(), sent: 100, received: 5 });
    seen.server.mismatch = Some(Mismatch {
        kind: Damage::BitFlip,
        offset: 70,
        length: 1,
        expected: 100,
        received: 100,
        hex: "expected 01 02 [03] 04\nreceived 01 02 [13] 04".into(),
    });
    insta::assert_snapshot!(describe_verdict(&judge(&case, &seen), &case, &seen));
}

#[test]
fn a_stall_is_told_with_its_sockets() {
    let case = rough();
    let mut seen = healthy::observation(&case);
    seen.end = End::Stalled { idle: millis(9250) };
    seen.client.sent = 40_000;
    seen.client.state = "writing".into();
    (seen.client.shut_down, seen.client.end_of_stream) = (false, false);
    seen.client.refused_options.push("TCP_CONGESTION bbr: ENOENT".into());
    seen.server.received = 30_000;
    (seen.server.shut_down, seen.server.end_of_stream) = (false, false);
    seen.server.state = "reading".into();
    let host = seen.hosts.entry(Host::Ns1).or_default();
    host.counters.insert("TcpExt.TCPTimeouts".into(), 7);
    host.counters.insert("Ip.InReceives".into(), 70);
    host.stalled_sockets.push(SocketState {
        protocol: "mptcp".into(),
        state: "ESTAB".into(),
        local: "[dead:beef:1::1]:40000".into(),
        remote: "[dead:beef:3::2]:12000".into(),
        receive_queue: 0,
        send_queue: 10_000,
        timer: Some("retransmit".into()),
        details: [("backoff".to_owned(), 5), ("cwnd".to_owned(), 1)].into(),
    });
    insta::assert_snapshot!(describe_verdict(&judge(&case, &seen), &case, &seen));
}

#[test]
fn what_path_managers_heard_is_told_in_order() {
    let (case, mut seen) = (Case::default(), healthy::observation(&Case::default()));
    let event = |kind| PmEvent {
        kind,
        token: 0x1f,
        local: Some("10.0.12.1:41000".parse().unwrap()),
        remote: Some("10.0.12.2:12000".parse().unwrap()),
        local_id: Some(2),
        remote_id: Some(0),
        backup: true,
        error: Some(110),
    };
    let begins = PmEvent { local_id: None, remote_id: None, backup: false, error: None, ..event(PmEventKind::Created) };
    seen.hosts.entry(Host::Ns1).or_default().pm_events = vec![begins, event(PmEventKind::SubflowClosed)];
    let text = describe_verdict(&judge(&case, &seen), &case, &seen);
    let expected = "  told to the path managers
  ns1  connection 0x0000001f begins  10.0.12.1:41000 > 10.0.12.2:12000
       subflow closed  10.0.12.1:41000 > 10.0.12.2:12000, ids 2 and 0, backup, ETIMEDOUT: Connection timed out
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_stranger_s_file_does_not_steer_the_terminal() {
    let finding = Record { verdict: "\u{1b}[2Jgone".into(), ..Record::default() };
    let text = describe(&Case { finding: Some(finding), ..Case::default() });
    assert!(text.contains("\u{fffd}[2Jgone"), "{text}");
}

#[test]
fn the_calls_of_an_endpoint_are_named() {
    let io = Io { send: Sending::Sendfile, receive: Receiving::SaveAfterPeek, timestamps: false, inq: true };
    assert_eq!(phrase::io(io).unwrap(), "sendfile, peek before each recv, recvmsg with TCP_INQ");
    assert_eq!(phrase::io(Io::default()), None);
}

#[test]
fn leaving_rounds_and_changes_are_told() {
    let mut case = Case { rounds: Rounds { count: 3, reuse: true }, ..Case::default() };
    case.ending.leave = Some(Leave { by: Sender::Server, how: Manner::Unread, sent: 1, received: 65_536 });
    case.client.changes = vec![Change { at: 4096, of: Way::Sent, option: SocketOption::TcpCork, value: 0 }];
    case.server.options.extra = [(SocketOption::SoMark, 7)].into();
    case.hosts.entry(Host::Ns1).or_default().sysctls.insert(Sysctl::TcpEcn, 1);
    let rows = transfer::rows(&case);
    let said = |text: &str| rows.iter().any(|(_, said)| said.contains(text));
    assert!(said("3 connections on one client socket, disconnected in between"), "{rows:?}");
    assert!(said("the server closes with bytes unread once 1 byte are sent and 64 KiB received"), "{rows:?}");
    assert!(said("sets TCP_CORK 0 once 4 KiB are sent"), "{rows:?}");
    assert!(said("with SO_MARK 7") && said("net.ipv4.tcp_ecn 1"), "{rows:?}");
}

#[test]
fn only_breaches_that_nothing_explains_are_told() {
    let mut case = Case::default();
    case.server.host = Host::Ns2;
    let told = |looks: &str| {
        let mut seen = healthy::observation(&case);
        let (at, by) = (millis(5), Sender::Server);
        let breach = Breach { at, by, flow: "a>b".into(), looks: looks.into(), what: "of 9".into() };
        seen.links.get_mut(&LinkId::Ns1Ns2).unwrap().breaches = vec![breach];
        describe_verdict(&judge(&case, &seen), &case, &seen).contains(&format!("server sent {looks}: of 9 (a>b)"))
    };
    // The path manager heard of no removal.
    assert_eq!([told("a FIN that moved"), told(Breach::KEEPS)], [true, false]);
}
