//! Conduct, on packets made by hand: each check with what it lets pass and what it does not.

mod subflows;

use sha2::{Digest, Sha256};

use super::*;
use crate::case::{Impairments, Link, Protocol};
use crate::link::sample::{self, Sample};
use Direction::{Backward, Forward};

const LINK: LinkId = LinkId::Ns1Ns2;

/// The client's and the server's key.
const KEYS: [u64; 2] = [7, 9];

/// The options of a SYN: an MSS of 1460, a window scale of 7.
const SYN: [u8; 8] = [2, 4, 5, 0xb4, 3, 3, 7, 1];

fn case() -> Case {
    let mut case = Case::default();
    case.server.host = Host::Ns2;
    (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
    case
}

/// Packets between client and server, 1 ms after another.
struct Scene {
    conduct: Conduct,
    payload: Payload,
    now: Nanos,
}

impl Scene {
    fn new() -> Scene {
        let case = case();
        let payload = Payload::new(case.seed, StreamId { sender: Sender::Client, connection: 0 });
        Scene { conduct: Conduct::of(&case, &[LINK], true), payload, now: 0 }
    }

    /// After a handshake without MPTCP: the client's numbers are 0 and following, the server's 1000 and following.
    fn open() -> Scene {
        let mut scene = Scene::new();
        scene.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
        scene.send(Backward, sample::syn_ack(999, 0).options(&SYN));
        scene.send(Forward, sample::data(0, 1000, 0));
        scene
    }

    /// The same with MPTCP.
    fn mptcp() -> Scene {
        let mut scene = Scene::new();
        scene.send(Forward, sample::syn(0xffff_ffff).options(&[&SYN[..], &capable(&[])].concat()));
        scene.send(Backward, sample::syn_ack(999, 0).options(&[&SYN[..], &capable(&KEYS[1..])].concat()));
        scene.send(Forward, sample::data(0, 1000, 0).options(&capable(&KEYS)));
        scene
    }

    fn enters(&mut self, direction: Direction, sample: Sample) -> Vec<u8> {
        self.now += 1_000_000;
        let frame = sample.frame(direction);
        self.conduct.enters(LINK, direction, self.now, &frame);
        frame
    }

    /// A packet that arrives.
    fn send(&mut self, direction: Direction, sample: Sample) {
        let frame = self.enters(direction, sample);
        self.conduct.leaves(LINK, direction, self.now, &frame);
    }

    /// A packet from the client with bytes of its stream from `offset` on.
    fn say(&mut self, sample: Sample, offset: u64, length: usize) {
        let mut frame = sample.frame(Forward);
        let start = frame.len() - length;
        self.payload.fill(offset, &mut frame[start..]);
        self.now += 1_000_000;
        self.conduct.enters(LINK, Forward, self.now, &frame);
        self.conduct.leaves(LINK, Forward, self.now, &frame);
    }

    /// What was wrong.
    fn looks(self) -> Vec<String> {
        self.conduct.finish().into_iter().map(|(_, breach)| breach.looks).collect()
    }
}

fn data(sequence: u32, payload: u32) -> Sample {
    sample::data(sequence, 1000, payload)
}

fn ack(acknowledgement: u32) -> Sample {
    sample::data(1000, acknowledgement, 0)
}

/// An MP_CAPABLE with these keys.
fn capable(keys: &[u64]) -> Vec<u8> {
    let mut option = vec![30, 4 + 8 * keys.len() as u8, 1, 0x81];
    keys.iter().for_each(|key| option.extend(key.to_be_bytes()));
    option
}

/// A DSS: the number acknowledged, and from where on how many bytes of data are mapped from which byte of the subflow.
fn dss(ack: Option<u64>, map: Option<(u64, u32, u16)>, fin: bool) -> Vec<u8> {
    // The client's packets carry the mapping, the server's the acknowledgement of it.
    dss_of(KEYS[0], ack, map, fin)
}

/// The same for the data of the host with this key.
fn dss_of(key: u64, ack: Option<u64>, map: Option<(u64, u32, u16)>, fin: bool) -> Vec<u8> {
    let hash: [u8; 32] = Sha256::digest(key.to_be_bytes()).into();
    let base = u64::from_be_bytes(hash[24..].try_into().unwrap()).wrapping_add(1);
    let flags = if fin { 0x10 } else { 0 } | if map.is_some() { 0x0c } else { 0 } | if ack.is_some() { 3 } else { 0 };
    let mut option = vec![30, 0, 0x20, flags];
    ack.inspect(|ack| option.extend(base.wrapping_add(*ack).to_be_bytes()));
    if let Some((data, subflow, length)) = map {
        option.extend(base.wrapping_add(data).to_be_bytes());
        option.extend(subflow.to_be_bytes());
        option.extend(length.to_be_bytes());
    }
    option[1] = option.len() as u8;
    option.resize(option.len().next_multiple_of(4), 1);
    option
}

#[test]
fn a_plain_exchange_with_losses_is_no_breach() {
    let mut scene = Scene::open();
    scene.send(Backward, ack(0));
    scene.send(Forward, data(0, 1000));
    scene.enters(Forward, data(1000, 1000));
    scene.send(Forward, data(2000, 500).fin());
    scene.send(Backward, ack(1000).options(&[5, 10, 0, 0, 7, 208, 0, 0, 9, 197, 1, 1]));
    scene.send(Forward, data(1000, 1000));
    scene.send(Backward, ack(2501));
    scene.send(Forward, data(2501, 0));
    assert_eq!(scene.looks(), [""; 0]);
}

#[test]
fn what_never_came_is_not_acknowledged() {
    let mut scene = Scene::open();
    scene.enters(Forward, data(0, 1000));
    scene.send(Backward, ack(1000));
    assert_eq!(scene.looks(), ["an acknowledgement of what never came"]);
    let mut scene = Scene::open();
    scene.send(Forward, data(100, 100));
    scene.send(Backward, ack(0).options(&[5, 10, 0, 0, 0, 100, 0, 0, 0, 201, 1, 1]));
    assert_eq!(scene.looks(), ["a selective acknowledgement of what never came"]);
}

#[test]
fn an_acknowledgement_does_not_go_back() {
    let mut scene = Scene::open();
    scene.send(Forward, data(0, 1000));
    scene.send(Backward, ack(1000));
    scene.send(Backward, ack(999));
    assert_eq!(scene.looks(), ["an acknowledgement that went back"]);
}

#[test]
fn an_acknowledgement_knows_what_came_long_ago() {
    let mut scene = Scene::open();
    scene.send(Forward, data(0, 1000));
    scene.send(Backward, ack(0));
    scene.now += 260_000_000;
    scene.send(Backward, ack(0));
    scene.send(Backward, ack(1000));
    assert_eq!(scene.looks(), [Breach::OWES]);
    let mut real = Scene { conduct: Conduct::of(&case(), &[LINK], false), ..Scene::new() };
    real.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
    real.send(Backward, sample::syn_ack(999, 0).options(&SYN));
    real.send(Forward, data(0, 1000));
    real.now += 260_000_000;
    real.send(Backward, ack(0));
    assert_eq!(real.looks(), [""; 0]);
    // What was sent beyond the window may be left aside.
    let mut scene = Scene::open();
    scene.send(Forward, data(0, 1001));
    scene.now += 260_000_000;
    scene.send(Backward, ack(0));
    assert_eq!(scene.looks(), ["data beyond the window"]);
}

#[test]
fn an_acknowledgement_is_not_delayed_for_ever() {
    let judged = |wait: u64, acked: bool| {
        let mut scene = Scene::open();
        scene.send(Backward, ack(0));
        scene.send(Forward, data(0, 1000));
        if acked {
            scene.send(Backward, ack(1000));
        }
        scene.now += wait * 1_000_000;
        scene.send(Forward, data(1000, 1000));
        scene.looks()
    };
    assert_eq!(judged(251, false), [Breach::OWES]);
    assert_eq!([judged(249, false), judged(300, true)], [[""; 0]; 2]);
}

#[test]
fn nothing_goes_beyond_the_window() {
    let mut scene = Scene::open();
    // 1000 without a scale, in the SYN/ACK.
    scene.send(Forward, data(0, 1000));
    scene.send(Backward, ack(1000));
    for at in 0..128 {
        scene.send(Forward, data(1000 + at * 1000, 1000));
    }
    assert_eq!(scene.looks(), [""; 0]);
    let mut scene = Scene::open();
    scene.send(Forward, data(0, 1001));
    assert_eq!(scene.looks(), ["data beyond the window"]);
}

#[test]
fn a_fin_stays_where_it_is_and_is_the_end() {
    let mut scene = Scene::open();
    scene.send(Forward, data(0, 10).fin());
    scene.send(Forward, data(11, 0));
    scene.send(Forward, data(0, 10).fin());
    scene.send(Forward, data(0, 9).fin());
    scene.send(Forward, data(10, 1));
    assert_eq!(scene.looks(), ["a FIN that moved", "data behind a FIN"]);
}

#[test]
fn a_segment_is_no_larger_than_the_peer_takes() {
    let mut scene = Scene::open();
    scene.send(Backward, ack(0));
    scene.send(Forward, data(0, 1460));
    scene.send(Forward, data(1460, 1461));
    assert_eq!(scene.looks(), ["a segment larger than the peer takes"]);
}

#[test]
fn a_cookie_holds_no_smaller_segment_size_than_its_table() {
    let judged = |syncookies, bytes| {
        let mut case = case();
        case.hosts.entry(case.client.host).or_default().syncookies = syncookies;
        let mut scene = Scene { conduct: Conduct::of(&case, &[LINK], true), ..Scene::new() };
        scene.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
        scene.send(Backward, sample::syn_ack(999, 0).options(&[2, 4, 0, 100]));
        scene.send(Backward, ack(0));
        scene.send(Forward, data(0, bytes));
        scene.looks()
    };
    let larger = ["a segment larger than the peer takes"];
    assert_eq!(judged(Syncookies::Always, 536), [""; 0]);
    assert_eq!([judged(Syncookies::Always, 537), judged(Syncookies::OnOverflow, 101)], [larger; 2]);
}

#[test]
fn of_the_keys_that_a_server_offers_that_one_counts_which_the_client_names() {
    let (first, second) = (1, KEYS[1]);
    for named in [first, second] {
        let mut scene = Scene::new();
        for offered in [first, second] {
            scene.send(Forward, sample::syn(0xffff_ffff).options(&[&SYN[..], &capable(&[])].concat()));
            scene.send(Backward, sample::syn_ack(999, 0).options(&[&SYN[..], &capable(&[offered])].concat()));
        }
        scene.send(Forward, sample::data(0, 1000, 0).options(&capable(&[KEYS[0], named])));
        scene.send(Backward, sample::data(1000, 0, 100).options(&dss_of(named, None, Some((0, 1, 100)), false)));
        scene.send(Forward, sample::data(0, 1100, 0).options(&dss_of(named, Some(100), None, false)));
        assert_eq!(scene.conduct.watches.iter().map(|watch| watch.connections.len()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(scene.looks(), [""; 0], "{named}");
    }
}

#[test]
fn what_a_peer_takes_that_names_no_size_is_not_judged() {
    let mut scene = Scene::new();
    scene.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
    scene.send(Backward, sample::syn_ack(999, 0).options(&[3, 3, 7, 1]));
    scene.send(Backward, ack(0));
    scene.send(Forward, data(0, 1460));
    assert_eq!(scene.looks(), [""; 0]);
}

#[test]
fn bytes_are_those_of_the_stream_each_time() {
    let mut scene = Scene::open();
    scene.say(data(0, 500), 0, 500);
    scene.say(data(500, 500), 500, 500);
    scene.say(data(500, 500), 501, 500);
    assert_eq!(scene.looks(), ["bytes that are not those of the stream"]);
    // What was never of the stream is something else, and what is acknowledged may be anything.
    let mut scene = Scene::open();
    scene.say(data(0, 500), 77, 500);
    assert_eq!(scene.looks(), [""; 0]);
    let mut scene = Scene::open();
    scene.say(data(0, 500), 0, 500);
    scene.send(Backward, ack(500));
    scene.say(data(499, 1), 7, 1);
    assert_eq!(scene.looks(), [""; 0]);
}

#[test]
fn mapped_bytes_are_those_of_the_stream() {
    let mapped = |at: u64| {
        let mut scene = Scene::mptcp();
        scene.say(data(0, 100).options(&dss(None, Some((0, 1, 150)), false)), 0, 100);
        scene.say(data(100, 50).options(&dss(None, Some((0, 1, 150)), false)), at, 50);
        // Sent again under another number of the subflow.
        scene.say(data(150, 150).options(&dss(None, Some((0, 151, 151)), true)), 0, 150);
        scene.send(Backward, ack(300).options(&dss(Some(151), None, false)));
        scene.looks()
    };
    assert_eq!(mapped(100), [""; 0]);
    assert_eq!(mapped(101), ["bytes that are not those of the stream"]);
}

#[test]
fn the_first_data_is_mapped_by_the_keys() {
    let judged = |maps: u16, at: u64| {
        let mut scene = Scene::mptcp();
        let mut option = vec![30, 22, 1, 0x81];
        KEYS.iter().for_each(|key| option.extend(key.to_be_bytes()));
        option.extend(maps.to_be_bytes());
        option.extend([1, 1]);
        scene.say(data(0, 100).options(&option), 0, 100);
        scene.say(data(100, 100).options(&option), at, 100);
        scene.looks()
    };
    assert_eq!(judged(200, 100), [""; 0]);
    assert_eq!(judged(200, 101), ["bytes that are not those of the stream"]);
    assert_eq!(judged(100, 101), [""; 0], "not followed any more");
}

#[test]
fn mappings_cover_their_segments() {
    let mut scene = Scene::mptcp();
    scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 99)), false)));
    scene.send(Forward, data(100, 100).options(&dss(None, Some((100, 102, 100)), false)));
    assert_eq!(scene.looks(), ["a mapping that does not cover its segment"; 2]);
}

#[test]
fn a_data_ack_follows_the_data() {
    let judged = |acks: &[u64]| {
        let mut scene = Scene::mptcp();
        scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
        acks.iter().for_each(|data| scene.send(Backward, ack(100).options(&dss(Some(*data), None, false))));
        scene.looks()
    };
    assert_eq!(judged(&[0, 100, 100]), [""; 0]);
    assert_eq!(judged(&[101]), ["a DATA_ACK of what never came"]);
    assert_eq!(judged(&[100, 99]), ["a DATA_ACK that went back"]);
}

#[test]
fn a_data_fin_stays_where_it_is_and_is_the_end() {
    let mut scene = Scene::mptcp();
    scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
    scene.send(Forward, data(100, 0).options(&dss(None, Some((100, 0, 1)), true)));
    scene.send(Forward, data(100, 0).options(&dss(None, Some((99, 0, 1)), true)));
    scene.send(Forward, data(100, 10).options(&dss(None, Some((100, 101, 10)), false)));
    assert_eq!(scene.looks(), ["a DATA_FIN that moved", "data behind a DATA_FIN"]);
}

#[test]
fn mptcp_has_one_window_behind_what_was_acknowledged_to_it() {
    let judged = |data_ack: u64, end: u32| {
        let mut scene = Scene::mptcp();
        // The window of the sample is 1000, scaled by 7.
        scene.send(Backward, ack(0).options(&dss(Some(data_ack), None, false)));
        for begin in (0..end).step_by(1000) {
            let length = (end - begin).min(1000);
            let map = dss(None, Some((begin.into(), begin + 1, length as u16)), false);
            scene.send(Forward, data(begin, length).options(&map));
        }
        scene.looks()
    };
    assert_eq!(judged(0, 128_000), [""; 0]);
    assert_eq!(judged(0, 128_001), ["data beyond MPTCP's window"]);
}

#[test]
fn backups_are_judged_where_time_is_exact_and_nothing_is_held_back() {
    let judged = |cork: bool, exact: bool| {
        let mut case = case();
        case.client.options.cork = cork;
        Conduct::of(&case, &[LINK], exact).watches.iter().all(|watch| watch.backups)
    };
    assert_eq!(
        [(false, true), (true, true), (false, false)].map(|(cork, exact)| judged(cork, exact)),
        [true, false, false]
    );
}

#[test]
fn a_cookie_knows_no_round_trip() {
    let judged = |syncookies, wait: u64| {
        let mut case = case();
        case.hosts.entry(case.server.host).or_default().syncookies = syncookies;
        let mut scene = Scene { conduct: Conduct::of(&case, &[LINK], true), ..Scene::new() };
        scene.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
        scene.send(Backward, sample::syn_ack(999, 0).options(&SYN));
        scene.send(Forward, data(0, 0));
        scene.enters(Backward, sample::data(1000, 0, 100));
        scene.now += wait * 1_000_000;
        scene.send(Forward, data(0, 0));
        scene.looks()
    };
    let rests = ["nothing for longer than its timer lasts"];
    assert_eq!([judged(Syncookies::OnOverflow, 1_000), judged(Syncookies::Always, 6_600)], [rests; 2]);
    assert_eq!(judged(Syncookies::Always, 6_400), [""; 0]);
}

#[test]
fn a_sender_does_not_rest_beyond_its_timer() {
    let judged = |exact: bool, wait: u64| {
        let mut scene = Scene { conduct: Conduct::of(&case(), &[LINK], exact), ..Scene::new() };
        scene.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
        scene.send(Backward, sample::syn_ack(999, 0).options(&SYN));
        scene.enters(Forward, data(0, 1000));
        scene.send(Backward, ack(0));
        scene.now += wait * 1_000_000;
        scene.send(Forward, data(0, 1000));
        scene.looks()
    };
    assert_eq!(judged(true, 1000), ["nothing for longer than its timer lasts"]);
    assert_eq!(judged(true, 800), [""; 0]);
    assert_eq!(judged(false, 1000), [""; 0]);
}

#[test]
fn what_comes_damaged_was_not_received() {
    let judged = |flip: Option<usize>| {
        let mut case = case();
        let forward = Impairments { corrupt: 0.1, ..Impairments::default() };
        case.links.insert(LINK, Link { forward, ..Link::default() });
        let mut scene = Scene { conduct: Conduct::of(&case, &[LINK], true), ..Scene::new() };
        scene.send(Forward, sample::syn(0xffff_ffff).options(&SYN));
        scene.send(Backward, sample::syn_ack(999, 0).options(&SYN));
        let mut frame = data(0, 100).frame(Forward);
        flip.inspect(|at| frame[*at] ^= 1);
        scene.conduct.leaves(LINK, Forward, scene.now, &frame);
        scene.send(Backward, ack(100));
        scene.looks()
    };
    // The last byte of the payload, and the time to live.
    for at in [153, 22] {
        assert_eq!(judged(Some(at)), ["an acknowledgement of what never came"], "byte {at}");
    }
    assert_eq!(judged(None), [""; 0]);
}

#[test]
fn only_hosts_are_watched_all_of_whose_links_are_seen() {
    let case = Case { topology: crate::case::Topology::Parallel(2), ..case() };
    assert!(Conduct::of(&case, &[LinkId::Path1], true).watches.is_empty());
    assert_eq!(Conduct::of(&case, &[LinkId::Path1, LinkId::Path2], true).watches.len(), 2);
    assert!(Conduct::of(&Case::default(), &[], true).watches.is_empty());
}
