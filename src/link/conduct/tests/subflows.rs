//! Several subflows of one connection: backups, addresses, joins.

use super::*;

/// The options of a SYN that joins the client's connection from its address 2.
fn join(backup: u8) -> Vec<u8> {
    let token = u32::from_be_bytes(<[u8; 32]>::from(Sha256::digest(KEYS[1].to_be_bytes()))[..4].try_into().unwrap());
    let mut join = vec![30, 12, 0x10 | backup, 2];
    join.extend(token.to_be_bytes());
    join.extend([0; 4]);
    [&SYN[..], &join].concat()
}

/// A segment of the second subflow.
fn second(sample: Sample) -> Sample {
    sample.ports(40001, 5000)
}

#[test]
fn a_backup_carries_nothing_new_while_another_subflow_works() {
    let judged = |backup: u8, answered: bool, judged: bool, from: u64| {
        let mut scene = Scene::mptcp();
        scene.conduct.watches.iter_mut().for_each(|watch| watch.backups = judged);
        scene.send(Backward, ack(0).options(&dss(Some(0), None, false)));
        scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
        if answered {
            scene.send(Backward, ack(100).options(&dss(Some(100), None, false)));
        }
        scene.send(Forward, second(sample::syn(0xffff_ffff)).options(&join(backup)));
        scene.send(Backward, second(sample::syn_ack(999, 0)).options(&SYN));
        scene.now += 300_000_000;
        scene.send(Forward, second(data(0, 100)).options(&dss(None, Some((from, 1, 100)), false)));
        scene.looks()
    };
    assert_eq!(judged(1, true, true, 100), ["new data on a backup while another subflow works"]);
    assert_eq!(judged(0, true, true, 100), [""; 0]);
    assert_eq!(judged(1, false, true, 100), [""; 0]);
    assert_eq!(judged(1, true, false, 100), [""; 0]);
    // What lies beyond the window has waited in the other subflow.
    assert_eq!(judged(1, true, true, 128_050), [""; 0]);
}

#[test]
fn a_backup_that_sends_old_data_again_may_go_on_with_new_data() {
    let mut scene = Scene::mptcp();
    scene.send(Backward, ack(0).options(&dss(Some(0), None, false)));
    scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
    scene.send(Forward, second(sample::syn(0xffff_ffff)).options(&join(1)));
    scene.send(Backward, second(sample::syn_ack(999, 0)).options(&SYN));
    scene.send(Forward, second(data(0, 100)).options(&dss(None, Some((0, 1, 100)), false)));
    scene.send(Backward, ack(100).options(&dss(Some(100), None, false)));
    scene.now += 300_000_000;
    scene.send(Forward, second(data(100, 100)).options(&dss(None, Some((100, 101, 100)), false)));
    assert_eq!(scene.looks(), [""; 0]);
}

#[test]
fn a_backup_still_sends_what_it_was_given_while_no_other_subflow_worked() {
    let judged = |begin: u64| {
        let mut scene = Scene::mptcp();
        scene.send(Backward, ack(0).options(&dss(Some(0), None, false)));
        // The first subflow is late.
        scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
        scene.now += 300_000_000;
        for (port, backup) in [(40001, 1), (40002, 0)] {
            scene.send(Forward, sample::syn(0xffff_ffff).ports(port, 5000).options(&join(backup)));
            scene.send(Backward, sample::syn_ack(999, 0).ports(port, 5000).options(&SYN));
            scene.send(Backward, ack(0).ports(port, 5000).options(&dss(Some(0), None, false)));
        }
        scene.now += 5_000_000;
        scene.send(Backward, ack(0).ports(40002, 5000).options(&dss(Some(100), None, false)));
        scene.send(Forward, second(data(0, 100)).options(&dss(None, Some((begin, 1, 100)), false)));
        scene.looks()
    };
    assert_eq!([judged(100), judged(127_900)], [[""; 0]; 2]);
    // The window has gone on since.
    assert_eq!(judged(128_000), [Breach::PREFERS]);
}

#[test]
fn several_backups_may_share_what_is_sent_again() {
    let judged = |first: u64| {
        let mut scene = Scene::mptcp();
        scene.send(Backward, ack(0).options(&dss(Some(0), None, false)));
        scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
        for port in [40001, 40002] {
            scene.send(Forward, sample::syn(0xffff_ffff).ports(port, 5000).options(&join(1)));
            scene.send(Backward, sample::syn_ack(999, 0).ports(port, 5000).options(&SYN));
        }
        scene.send(Backward, ack(100).options(&dss(Some(100), None, false)));
        scene.now += 300_000_000;
        for (port, begin) in [(40001, first), (40002, 100)] {
            scene.send(Forward, data(0, 100).ports(port, 5000).options(&dss(None, Some((begin, 1, 100)), false)));
        }
        scene.looks()
    };
    assert_eq!(judged(0), [""; 0]);
    assert_eq!(judged(100).len(), 1);
}

/// A connection with a second subflow.
fn joined() -> Scene {
    let mut scene = Scene::mptcp();
    scene.send(Backward, ack(0).options(&dss(Some(0), None, false)));
    scene.send(Forward, second(sample::syn(0xffff_ffff)).options(&join(0)));
    scene.send(Backward, second(sample::syn_ack(999, 0)).options(&SYN));
    scene.send(Forward, second(data(0, 0)));
    scene.send(Backward, second(ack(0)).options(&dss(Some(0), None, false)));
    scene
}

#[test]
fn what_becomes_a_backup_carries_nothing_from_beyond_the_window_of_that_time() {
    // The window is 1000 scaled by 7, and so ends at 128,000.
    let judged = |flags: &[u8], from: u64, late: bool| {
        let mut scene = joined();
        for flags in flags {
            let prio = sample::data(1000 - u32::from(late), 0, 0).options(&[30, 3, 0x50 | flags, 1]);
            scene.send(Backward, second(prio));
        }
        scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
        scene.send(Backward, ack(100).options(&dss(Some(100), None, false)));
        scene.send(Forward, second(data(0, 100)).options(&dss(None, Some((from, 1, 100)), false)));
        scene.looks()
    };
    assert_eq!(judged(&[1], 128_000, false), [Breach::STAYS]);
    assert_eq!(judged(&[1], 127_900, false), [""; 0]);
    assert_eq!(judged(&[1, 0], 128_000, false), [""; 0]);
    assert_eq!(judged(&[1], 128_000, true), [""; 0]);
}

#[test]
fn a_removed_address_is_a_breach_if_a_subflow_to_it_remains() {
    let judged = |id: u8, end: bool| {
        let mut scene = joined();
        if end {
            scene.send(Backward, second(ack(0)).fin());
        }
        scene.send(Forward, data(0, 0).options(&[30, 4, 0x40, id]));
        scene.looks()
    };
    assert_eq!(judged(2, false), [Breach::KEEPS]);
    assert_eq!(judged(3, false), [""; 0]);
    assert_eq!(judged(2, true), [""; 0]);
}

#[test]
fn an_announcement_without_an_echo_is_made_again() {
    let judged = |wait: u64, echoed: bool, again: bool| {
        let mut scene = joined();
        let announces = |echo: u8| [30, 8, 0x30 | echo, 7, 10, 0, 2, 2];
        scene.send(Backward, ack(0).options(&announces(0)));
        if echoed {
            scene.send(Forward, data(0, 0).options(&announces(1)));
        }
        if again {
            scene.now += 300_000_000;
            scene.send(Backward, ack(0).options(&announces(0)));
        }
        scene.now += wait * 1_000_000;
        scene.send(Backward, ack(0).options(&dss(Some(0), None, false)));
        scene.looks()
    };
    assert_eq!(judged(1_000, false, false), [Breach::UNHEARD]);
    assert_eq!(judged(800, false, false), [""; 0]);
    assert_eq!(judged(1_000, true, false), [""; 0]);
    assert_eq!(judged(1_000, false, true), [""; 0]);
    assert_eq!(judged(1_500, false, true), [Breach::UNHEARD]);
}

#[test]
fn a_data_ack_knows_what_subflows_acknowledged_long_ago() {
    let judged = |acked: u32, wait: u64| {
        let mut scene = joined();
        scene.send(Forward, data(0, 100).options(&dss(None, Some((0, 1, 100)), false)));
        scene.send(Forward, second(data(0, 100)).options(&dss(None, Some((100, 1, 100)), false)));
        scene.send(Backward, ack(100).options(&dss(Some(100), None, false)));
        scene.send(Backward, second(ack(acked)).options(&dss(Some(100), None, false)));
        scene.now += wait * 1_000_000;
        scene.send(Backward, second(ack(acked)).options(&dss(Some(100), None, false)));
        scene.send(Backward, second(ack(100)).options(&dss(Some(200), None, false)));
        scene.looks()
    };
    assert_eq!(judged(100, 200), [Breach::LEAVES_OUT_DATA]);
    assert_eq!(judged(100, 100), [""; 0]);
    // What a subflow has not acknowledged is its own affair.
    assert_eq!(judged(0, 200), [""; 0]);
}

#[test]
fn the_handshake_of_a_join_is_no_round_trip_for_the_joined_host() {
    let judged = |answer: &[u8], wait: u64| {
        let mut scene = Scene::mptcp();
        scene.send(Forward, second(sample::syn(0xffff_ffff)).options(&join(0)));
        scene.send(Backward, second(sample::syn_ack(999, 0)).options(&[&SYN[..], answer].concat()));
        scene.send(Forward, second(data(0, 0)));
        scene.enters(Backward, second(sample::data(1000, 0, 100)).options(&dss(None, Some((0, 1, 100)), false)));
        scene.now += wait * 1_000_000;
        scene.send(Backward, second(ack(0)));
        scene.looks()
    };
    let late = "nothing for longer than its timer lasts";
    let joined = [30, 16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!([judged(&[], 3100), judged(&joined, 6600)], [[late]; 2]);
    assert_eq!(judged(&joined, 3100), [""; 0]);
}
