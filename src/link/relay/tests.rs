use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;
use crate::case::{Action, Fault, Impairments, Link, Packet};
use crate::link::sample;

/// Frames one by one, and many at a time.
const WAYS: [RelayOptions; 2] =
    [RelayOptions { batches: false, sabotage: false }, RelayOptions { batches: true, sabotage: false }];

/// A link between two ends that deal in whole frames, as devices do.
fn link(link: Link, how: RelayOptions) -> (UnixDatagram, UnixDatagram, Relay) {
    let pair = || {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (ours, OwnedFd::from(theirs))
    };
    let ((ours_left, left), (ours_right, right)) = (pair(), pair());
    let wiring = Wiring { id: LinkId::Ns1Ns2, link, carrier: Carrier::Tap { left, right } };
    (ours_left, ours_right, Relay::start_with(Seed(1), vec![wiring], Conduct::default(), how).unwrap())
}

fn receive(end: &UnixDatagram) -> Vec<u8> {
    let mut buffer = [0; MAX_FRAME];
    let length = end.recv(&mut buffer).expect("a frame arrives");
    buffer[..length].to_vec()
}

fn fault(packet: Packet, carriage: u32, action: Action) -> Fault {
    Fault { flow: 0, packet, carriage, action }
}

#[test]
fn frames_cross_in_both_directions_and_are_counted() {
    for how in WAYS {
        let (left, right, relay) = link(Link::default(), how);
        let (there, back) =
            (sample::syn(1).frame(Direction::Forward), sample::syn_ack(1, 2).frame(Direction::Backward));
        left.send(&there).unwrap();
        assert_eq!(receive(&right), there);
        right.send(&back).unwrap();
        assert_eq!(receive(&left), back);
        let logs = relay.stop();
        assert_eq!((logs[0].story.packets, logs[0].story.lost, logs[0].story.touched), (2, 0, 0));
        assert_eq!(logs[0].trouble, [""; 0]);
    }
}

#[test]
fn what_faults_say_happens_to_the_packets_they_name() {
    for how in WAYS {
        let late = Action::Late(Duration::from_secs(3600));
        let faults = vec![
            fault(Packet::Cell(0), 0, Action::Drop),
            fault(Packet::Cell(1), 0, Action::Duplicate),
            fault(Packet::Cell(2), 0, late),
        ];
        let forward = Impairments { faults: faults.clone(), delay: Duration::from_millis(5), ..Impairments::default() };
        let (left, right, relay) = link(Link { forward, ..Link::default() }, how);
        let frames: Vec<Vec<u8>> = [sample::syn(0)]
            .into_iter()
            .chain((0..4).map(|cell| sample::data(1 + cell * 1448, 1, 1448)))
            .map(|sample| sample.frame(Direction::Forward))
            .collect();
        for frame in &frames {
            left.send(frame).unwrap();
        }
        let mut arrived: Vec<Vec<u8>> = (0..4).map(|_| receive(&right)).collect();
        relay.heal();
        arrived.push(receive(&right));
        let expected: Vec<Vec<u8>> = [0, 2, 2, 4, 3].map(|index: usize| frames[index].clone()).to_vec();
        assert_eq!(arrived, expected);
        let logs = relay.stop();
        assert_eq!((logs[0].story.lost, logs[0].story.touched), (1, 2));
        assert_eq!(logs[0].faults(Direction::Forward), faults);
    }
}

#[test]
fn healing_lets_everything_leave_at_once() {
    for how in WAYS {
        let forward = Impairments { delay: Duration::from_secs(3600), ..Impairments::default() };
        let (left, right, relay) = link(Link { forward, ..Link::default() }, how);
        let first = sample::syn(1).frame(Direction::Forward);
        left.send(&first).unwrap();
        while relay.packets() < 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        relay.heal();
        assert_eq!(receive(&right), first);
        let second = sample::syn(9).frame(Direction::Forward);
        left.send(&second).unwrap();
        assert_eq!(receive(&right), second);
    }
}

#[test]
fn a_device_that_is_full_for_a_while_loses_nothing() {
    let (left, right, relay) = link(Link::default(), RelayOptions::default());
    let frames = 500;
    let sent = std::thread::spawn(move || {
        for cell in 0..frames {
            left.send(&sample::data(1 + cell * 1448, 1, 1448).frame(Direction::Forward)).unwrap();
        }
        left
    });
    for cell in 0..frames {
        assert_eq!(receive(&right), sample::data(1 + cell * 1448, 1, 1448).frame(Direction::Forward));
    }
    drop(sent.join().unwrap());
    assert_eq!(relay.stop()[0].trouble, [""; 0]);
}

#[test]
fn a_device_that_takes_no_frame_is_trouble() {
    for how in WAYS {
        let (left, right, relay) = link(Link::default(), how);
        drop(right);
        left.send(&sample::syn(1).frame(Direction::Forward)).unwrap();
        while relay.packets() < 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let logs = relay.stop();
        assert!(
            logs[0].trouble[0].contains("a frame was lost at the device of ns2: ECONNREFUSED"),
            "{:?}",
            logs[0].trouble
        );
    }
}
