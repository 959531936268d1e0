use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::case::{
    Endpoint, Happening, Impairments, Jitter, Knobs, LinkId, Loss, Pattern, Pick, PmEndpoint, Receiving, Sending,
    SocketOptions, Syncookies, Topology,
};
use crate::case::{Manner, SocketOption, Sysctl};

const DRAWS: u64 = 5_000;

fn draws(space: &Space, count: u64) -> impl Iterator<Item = Case> {
    (0..count).map(move |index| draw(space, Seed(11).child(index)))
}

/// How often each thing was met.
#[derive(Default)]
struct Met(BTreeMap<String, u64>);

impl Met {
    fn when(&mut self, holds: bool, name: impl ToString) {
        *self.0.entry(name.to_string()).or_default() += u64::from(holds);
    }

    /// Checks that each thing was met at least `least` times.
    fn at_least(&self, least: u64) {
        let rare: Vec<_> = self.0.iter().filter(|(_, count)| **count < least).collect();
        assert!(rare.is_empty(), "met less than {least} times in {DRAWS} draws: {rare:?}");
    }

    fn share(&self, name: &str) -> f64 {
        self.0[name] as f64 / DRAWS as f64
    }
}

fn ends(case: &Case) -> [&Endpoint; 2] {
    [&case.client, &case.server]
}

fn ways(case: &Case) -> impl Iterator<Item = &Impairments> {
    case.links.values().flat_map(|link| [&link.forward, &link.backward])
}

fn loses_announcements(way: &Impairments) -> bool {
    use crate::case::TcpOption::{AddAddr, AddAddrEcho};
    way.rules.iter().any(|rule| matches!(rule.on, Pick::Carries(AddAddr | AddAddrEcho)))
}

fn is_impaired(case: &Case) -> bool {
    case.links.values().any(|link| link.is_impaired())
}

#[test]
fn the_same_seed_draws_the_same_case() {
    let space = Space::default();
    for seed in 0..200 {
        assert_eq!(draw(&space, Seed(seed)), draw(&space, Seed(seed)));
        assert_eq!(draw(&space, Seed(seed)).seed, Seed(seed));
    }
}

#[test]
fn every_drawn_case_is_valid_and_makes_sense() {
    for case in draws(&Space::default(), DRAWS) {
        assert_eq!(case.validate(), Ok(()), "{case:?}");
        let path = case.path();
        assert!(case.links.keys().all(|id| path.contains(id)), "a link off the path: {case:?}");
        assert!(case.hosts.values().all(|knobs| *knobs != Knobs::default()), "{case:?}");
        for way in ways(&case) {
            let delayed = !way.delay.is_zero();
            assert!(delayed || (way.jitter.is_none() && way.reorder.is_none()), "no delay: {case:?}");
        }
        for end in ends(&case) {
            let buffer = [end.options.rcvbuf, end.options.rcvbuf_late].into_iter().flatten().min();
            let lowat = end.options.rcvlowat.unwrap_or(0);
            assert!(buffer.is_none_or(|buffer| lowat <= (buffer / 2).max(1)), "{case:?}");
            let rests: Duration = end.read.pauses.iter().chain(&end.write.pauses).map(|pause| pause.lasts).sum();
            // One waits for a timer of MPTCP's.
            assert!(rests <= Duration::from_secs(if ways(&case).any(loses_announcements) { 6 } else { 1 }), "{case:?}");
        }
    }
}

#[test]
fn every_place_is_met() {
    let mut met = Met::default();
    let space = Space::default();
    for case in draws(&space, DRAWS) {
        for pairing in Pairing::ALL {
            met.when(case.pairing() == pairing, pairing);
        }
        for family in Family::ALL {
            met.when(case.family == family, family);
        }
        for (client, server) in &space.hosts {
            met.when((case.client.host, case.server.host) == (*client, *server), format!("{client}>{server}"));
        }
        met.when(case.address == Address::Far, "far");
        met.when(case.address == Address::Beyond, "beyond");
    }
    met.at_least(100);
}

#[test]
fn leaving_rounds_fast_open_and_settings_are_met() {
    let mut met = Met::default();
    for case in draws(&Space::default(), DRAWS) {
        let leaves = |how| case.ending.leave.is_some_and(|leave| leave.how == how);
        for how in [Manner::Close, Manner::Unread, Manner::Linger] {
            met.when(leaves(how), how);
        }
        met.when(case.rounds.count > 1 && case.rounds.reuse, "rounds on one socket");
        met.when(case.rounds.count > 1 && !case.rounds.reuse, "rounds on new sockets");
        met.when(case.client.options.fastopen && case.rounds.count > 1, "fast open with a cookie");
        let ends = ends(&case);
        met.when(ends.iter().any(|end| !end.changes.is_empty()), "changes");
        for option in SocketOption::ALL {
            met.when(ends.iter().any(|end| end.smallest(option).is_some()), option);
        }
        for sysctl in Sysctl::ALL {
            met.when(case.hosts.values().any(|knobs| knobs.sysctls.contains_key(&sysctl)), sysctl);
        }
    }
    met.at_least(10);
}

#[test]
fn every_way_to_send_and_receive_is_met_and_the_plain_ones_most() {
    let mut met = Met::default();
    for case in draws(&Space::default(), DRAWS) {
        for end in ends(&case) {
            for send in Sending::ALL {
                met.when(end.io.send == send, format!("send by {send}"));
            }
            for receive in Receiving::ALL {
                met.when(end.io.receive == receive, format!("receive by {receive}"));
            }
            met.when(end.io != Default::default(), "not plain");
        }
    }
    met.at_least(100);
    // Of two ends each.
    assert!((0.5..0.7).contains(&met.share("not plain")), "{}", met.share("not plain"));
}

#[test]
fn every_group_and_kind_is_met_with_and_without_the_others() {
    let mut met = Met::default();
    for case in draws(&Space::default(), DRAWS) {
        let options = |holds: fn(&SocketOptions) -> bool| ends(&case).iter().any(|end| holds(&end.options));
        let pattern = |holds: fn(&Pattern) -> bool| {
            ends(&case).iter().any(|end| holds(&end.write.pattern)) && ends(&case).iter().any(|end| end.payload > 0)
        };
        let knobs = |holds: fn(&Knobs) -> bool| case.hosts.values().any(holds);
        let way = |holds: fn(&Impairments) -> bool| ways(&case).any(holds);
        for (name, holds) in [
            (
                "nothing but a transfer",
                case.links.is_empty() && case.hosts.is_empty() && options(|it| *it == Default::default()),
            ),
            ("fixed", pattern(|it| matches!(it, Pattern::Fixed(_)))),
            ("one byte", pattern(|it| matches!(it, Pattern::Fixed(1)))),
            ("uniform", pattern(|it| matches!(it, Pattern::Uniform { .. }))),
            ("powers of two", pattern(|it| matches!(it, Pattern::PowersOfTwo { .. }))),
            ("dribble", pattern(|it| matches!(it, Pattern::Dribble { .. }))),
            ("bursts", pattern(|it| matches!(it, Pattern::Bursts { .. }))),
            ("around", pattern(|it| matches!(it, Pattern::Around { .. }))),
            ("writer pauses", ends(&case).iter().any(|end| !end.write.pauses.is_empty())),
            ("reader pauses", ends(&case).iter().any(|end| !end.read.pauses.is_empty())),
            ("sndbuf", options(|it| it.sndbuf.is_some())),
            ("rcvbuf", options(|it| it.rcvbuf.is_some())),
            ("sndbuf late", options(|it| it.sndbuf_late.is_some())),
            ("rcvbuf late", options(|it| it.rcvbuf_late.is_some())),
            ("least rcvbuf", options(|it| it.rcvbuf.is_some_and(|bytes| bytes <= 1152))),
            ("nodelay", options(|it| it.nodelay)),
            ("cork", options(|it| it.cork)),
            ("notsent lowat", options(|it| it.notsent_lowat.is_some())),
            ("rcvlowat", options(|it| it.rcvlowat.is_some())),
            ("maxseg", options(|it| it.maxseg.is_some())),
            (
                "maxseg on mptcp",
                ends(&case).iter().any(|end| end.protocol != Default::default() && end.options.maxseg.is_some()),
            ),
            ("reno", options(|it| it.congestion == Some(Congestion::Reno))),
            ("cubic", options(|it| it.congestion == Some(Congestion::Cubic))),
            ("tcp_rmem", knobs(|it| it.tcp_rmem.is_some())),
            ("tcp_wmem", knobs(|it| it.tcp_wmem.is_some())),
            ("no sack", knobs(|it| !it.sack)),
            ("no timestamps", knobs(|it| !it.timestamps)),
            ("no window scaling", knobs(|it| !it.window_scaling)),
            ("no syncookies", knobs(|it| it.syncookies == Syncookies::Off)),
            ("syncookies", knobs(|it| it.syncookies == Syncookies::Always)),
            ("mptcp checksum", knobs(|it| it.mptcp_checksum)),
            ("client first", case.ending.first == First::Client),
            ("server first", case.ending.first == First::Server),
            ("half-closed", case.ending.second == Second::AfterEnd),
            ("pause before shutdown", !case.ending.pause.is_zero()),
            ("refusals", case.refusals > 0),
            ("two CPUs", case.cpus == 2),
            ("timestamps", ends(&case).iter().any(|end| end.io.timestamps)),
            ("inq", ends(&case).iter().any(|end| end.io.inq)),
            ("mtu", case.links.values().any(|link| link.mtu != 1500)),
            (
                "unequal mtus",
                case.path().iter().map(|id| case.link(*id).mtu).collect::<std::collections::BTreeSet<_>>().len() > 1,
            ),
            ("offloads", case.links.values().any(|link| link.left != Default::default())),
            ("independent loss", way(|it| matches!(it.loss, Some(Loss::Independent(_))))),
            ("bursty loss", way(|it| matches!(it.loss, Some(Loss::GilbertElliott { .. })))),
            ("loss of first carriages", way(|it| matches!(it.loss, Some(Loss::Cells { carriages: 1, .. })))),
            ("loss of retransmissions", way(|it| matches!(it.loss, Some(Loss::Cells { carriages: 2.., .. })))),
            ("lossy handshake", way(|it| it.loss.is_some() && !it.spare_handshake)),
            ("corrupt", way(|it| it.corrupt > 0.0)),
            ("duplicate", way(|it| it.duplicate > 0.0)),
            ("delay", way(|it| !it.delay.is_zero())),
            ("uniform jitter", way(|it| matches!(it.jitter, Some(Jitter::Uniform(_))))),
            ("normal jitter", way(|it| matches!(it.jitter, Some(Jitter::Normal(_))))),
            ("reorder", way(|it| it.reorder.is_some())),
            ("rate", way(|it| it.rate.is_some())),
            ("outage", way(|it| it.outages.len() == 1)),
            ("two outages", way(|it| it.outages.len() == 2)),
            ("window opened in vain", way(|it| it.rules.iter().any(|rule| rule.on == Pick::AckAgain))),
        ] {
            met.when(holds, name);
        }
    }
    met.at_least(20);
}

#[test]
fn boundary_sizes_are_met_for_each_family() {
    let mut met = Met::default();
    for case in draws(&Space::default(), 4 * DRAWS) {
        let segment = endpoints::full_segment(case.family);
        for size in [0, 1, 2, 8191, 8192, 8193, 65_535, 65_536, 65_537] {
            met.when(ends(&case).iter().any(|end| end.payload == size), size);
        }
        for (name, size) in [("-1", segment - 1), ("", segment), ("+1", segment + 1)] {
            met.when(ends(&case).iter().any(|end| end.payload == size), format!("{} segment{name}", case.family));
        }
        let (client, server) = (case.client.payload, case.server.payload);
        met.when(client > 0 && server == 20 * client, "1:20");
        met.when(server > 0 && client == 20 * server, "20:1");
        met.when(client > 1000 && server == 0, "N:0");
        met.when(server > 1000 && client == 0, "0:N");
        met.when(client.max(server) > 1 << 20, "above 1 MiB");
        met.when(client.max(server) > 4 << 20, "above 4 MiB");
    }
    met.at_least(40);
}

#[test]
fn readers_that_rest_often_close_the_window() {
    let mut met = Met::default();
    for case in draws(&Space::default(), DRAWS) {
        for (reader, sender) in [(&case.client, &case.server), (&case.server, &case.client)] {
            let rests = reader.read.pauses.iter().any(|pause| {
                let left = sender.payload.saturating_sub(pause.at);
                pause.lasts >= Duration::from_millis(100)
                    && reader.options.rcvbuf.is_some_and(|bytes| left > 2 * u64::from(bytes))
            });
            met.when(rests, "window closed");
        }
    }
    assert!((0.03..0.2).contains(&met.share("window closed")), "{}", met.share("window closed"));
}

#[test]
fn shares_are_as_meant() {
    let mut met = Met::default();
    let mut bytes = 0;
    let chain = Space { paths: vec![1], ..Space::default() };
    for case in draws(&chain, DRAWS) {
        met.when(is_impaired(&case), "impaired");
        met.when(case.is_loopback(), "loopback");
        met.when(case.cpus == 2, "two CPUs");
        let lossy = ways(&case).any(|way| way.loss.is_some());
        met.when(lossy, "lossy");
        met.when(lossy && ways(&case).any(|way| way.spare_handshake), "spared");
        bytes += case.client.payload + case.server.payload;
    }
    assert!((0.4..0.5).contains(&met.share("impaired")), "{}", met.share("impaired"));
    assert!((0.12..0.2).contains(&met.share("loopback")), "{}", met.share("loopback"));
    assert!((0.07..0.13).contains(&met.share("two CPUs")), "{}", met.share("two CPUs"));
    let spared = met.share("spared") / met.share("lossy");
    assert!((0.7..0.8).contains(&spared), "{spared}");
    let mean = bytes / DRAWS;
    assert!((100 << 10..800 << 10).contains(&mean), "a case has {mean} bytes on average");
}

#[test]
fn every_way_to_have_several_paths_is_met() {
    let mut met = Met::default();
    let pm = |case: &Case, holds: fn(&PmEndpoint) -> bool| {
        case.hosts.values().flat_map(|knobs| &knobs.pm.endpoints).any(holds)
    };
    let happens = |case: &Case, holds: fn(&Happening) -> bool| case.events.iter().any(|event| holds(&event.what));
    for case in draws(&Space::default().with_long_waits(), DRAWS) {
        for (name, holds) in [
            ("two", case.topology == Topology::Parallel(2)),
            ("three", case.topology == Topology::Parallel(3)),
            ("four", case.topology == Topology::Parallel(4)),
            ("diamond", case.topology == Topology::Diamond),
            ("signal", pm(&case, |it| it.signal)),
            ("subflow", pm(&case, |it| it.subflow && !it.fullmesh)),
            ("fullmesh", pm(&case, |it| it.fullmesh)),
            ("backup", pm(&case, |it| it.backup)),
            ("laminar", pm(&case, |it| it.laminar)),
            ("port", pm(&case, |it| it.port.is_some())),
            ("id", pm(&case, |it| it.id.is_some())),
            ("first path", pm(&case, |it| it.link == LinkId::Path1)),
            ("no limit", case.hosts.values().any(|knobs| knobs.pm.subflows == Some(0))),
            ("stale", case.hosts.values().any(|knobs| knobs.stale_loss_cnt.is_some())),
            ("deny", case.hosts.values().any(|knobs| !knobs.join_initial)),
            ("block", happens(&case, |it| matches!(it, Happening::Block { .. }))),
            ("down", happens(&case, |it| matches!(it, Happening::Down { .. }))),
            ("add", happens(&case, |it| matches!(it, Happening::Add { .. }))),
            ("remove", happens(&case, |it| matches!(it, Happening::Remove { .. }))),
            ("flush", happens(&case, |it| matches!(it, Happening::Flush { .. }))),
            ("full mesh", happens(&case, |it| matches!(it, Happening::Fullmesh { .. }))),
            ("destroy", happens(&case, |it| matches!(it, Happening::Destroy { .. }))),
            ("first goes", case.events.iter().any(|event| case.loses_its_first(&event.what))),
            ("user space", case.hosts.values().any(|knobs| knobs.pm.userspace)),
            ("change", happens(&case, |it| matches!(it, Happening::Backup { .. }))),
            ("stranded", happens(&case, |it| it.outage().is_some_and(|lasts| lasts >= Duration::from_secs(8)))),
            ("unheard", ends(&case).iter().any(|end| end.write.pauses.iter().any(|rest| rest.lasts.as_secs() >= 2))),
            ("long", case.topology.paths() > 1 && case.client.payload.max(case.server.payload) > 1 << 20),
        ] {
            met.when(holds, name);
        }
        met.when(case.topology.paths() > 1, "several");
    }
    met.at_least(10);
    assert!((0.22..0.28).contains(&met.share("several")), "{}", met.share("several"));
}

#[test]
fn only_as_many_paths_as_asked_for_are_drawn() {
    let space = Space { paths: vec![3], pairings: Pairing::ALL.to_vec(), ..Space::default() };
    assert!(draws(&space, 300).all(|case| case.topology == Topology::Parallel(3) && case.is_mptcp()));
    let long = |case: &Case| case.events.iter().any(|event| event.what.outage() >= Some(Duration::from_secs(8)));
    assert!(!draws(&Space::default(), DRAWS).any(|case| long(&case)), "in real time nobody waits so long");
    let space = Space { paths: vec![1], ..Space::default() };
    assert!(draws(&space, 300).all(|case| case.topology == Topology::Chain && case.events.is_empty()));
}

#[test]
fn a_space_is_kept_to() {
    let space = Space {
        families: vec![Family::V6],
        hosts: vec![(Host::Ns4, Host::Ns1), (Host::Ns2, Host::Ns2)],
        size_max: 1000,
        congestions: vec![],
        groups: vec![Group::Loss, Group::Options],
        ..Space::default().without_mptcp()
    };
    for links in [LinkFilter::Any, LinkFilter::Plain, LinkFilter::Impaired] {
        for case in draws(&Space { links, ..space.clone() }, 500) {
            assert_eq!((case.family, case.pairing()), (Family::V6, Pairing::default()));
            assert!(space.hosts.contains(&(case.client.host, case.server.host)));
            assert!(ends(&case).iter().all(|end| end.payload <= 1000 && end.options.congestion.is_none()));
            assert!(case.hosts.is_empty() && case.ending == Ending::default() && case.cpus == 1);
            match links {
                LinkFilter::Any => {}
                LinkFilter::Plain => assert!(case.links.is_empty()),
                LinkFilter::Impaired => assert!(ways(&case).any(|way| way.loss.is_some())),
            }
        }
    }
}

#[test]
fn a_group_alone_draws_nothing_else() {
    for group in Group::ALL {
        let space = Space { groups: vec![group], ..Space::default() };
        for case in draws(&space, 300) {
            assert!(group.is_impairment() || !is_impaired(&case), "{group}: {case:?}");
            assert!(group == Group::Cpus || case.cpus == 1, "{group}: {case:?}");
            let sets = matches!(group, Group::Knobs | Group::Paths | Group::Fastopen | Group::Tuning);
            assert!(sets || case.hosts.is_empty(), "{group}: {case:?}");
        }
    }
}

#[test]
fn the_kernel_impairs_some_links_where_it_is_asked_to() {
    let one_path = Space { paths: vec![1], ..Space::default() };
    assert!(draws(&one_path, 300).all(|case| !case.has_netem()));
    let drawn: Vec<Case> = draws(&one_path.with_netem(), 2000).collect();
    assert!(drawn.iter().all(|case| case.validate().is_ok()));
    let share = drawn.iter().filter(|case| case.has_netem()).count() as f64 / drawn.len() as f64;
    assert!((0.03..0.08).contains(&share), "{share}");
}

#[test]
fn proptest_draws_the_case_of_a_seed() {
    use proptest::strategy::ValueTree;
    let space = Space::default();
    let mut runner = TestRunner::deterministic();
    for _ in 0..100 {
        let case = cases(&space).new_tree(&mut runner).unwrap().current();
        assert_eq!(case, draw(&space, case.seed));
    }
}

#[test]
fn a_share_of_impaired_cases_has_a_middlebox_and_every_kind_is_met() {
    let space = Space { links: LinkFilter::Impaired, paths: vec![1], ..Space::default() };
    let mut met = Met::default();
    for case in draws(&space, DRAWS) {
        let rules: Vec<_> = ways(&case).flat_map(|way| &way.rules).collect();
        let rule = |holds: fn(&crate::case::Action) -> bool| rules.iter().any(|rule| holds(&rule.action));
        use crate::case::Action::*;
        met.when(!rules.is_empty(), "middlebox");
        met.when(rule(|it| matches!(it, Strip(what) if what.option.is_mptcp())), "strip MPTCP");
        met.when(rule(|it| matches!(it, Strip(what) if !what.option.is_mptcp())), "strip TCP");
        met.when(rule(|it| matches!(it, Split(_))), "split");
        met.when(rule(|it| matches!(it, Merge(_))), "merge");
        met.when(rule(|it| matches!(it, Clamp(_))), "clamp");
        met.when(rule(|it| matches!(it, Mark)), "mark");
        met.when(rule(|it| matches!(it, Drop)), "drop");
        met.when(rule(|it| matches!(it, Late(_))), "hold");
        met.when(rule(|it| matches!(it, Reset(_))), "reset");
        met.when(rule(|it| matches!(it, Alter(_))), "alter");
        met.when(ways(&case).any(|way| way.renumber != 0), "renumber");
    }
    met.at_least(5);
    assert!((0.2..0.3).contains(&met.share("middlebox")), "{}", met.share("middlebox"));
}

#[test]
fn most_payloads_are_small_and_some_need_megabytes() {
    let mut met = Met::default();
    for case in draws(&Space::default(), DRAWS) {
        let most = ends(&case).into_iter().map(|end| end.payload).max().unwrap_or_default();
        met.when(most > 2 << 20, "above 2 MiB");
        met.when(most > 64 << 10, "above 64 KiB");
    }
    met.at_least(DRAWS / 200);
    assert!(met.share("above 2 MiB") < 0.03, "{}", met.share("above 2 MiB"));
}
