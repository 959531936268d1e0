//! The packets of a run as ladders, one for each link, on one axis of time:
//!
//! ```text
//!        ms  ns1, client                                        ns2, server
//!     0.000  ├─ SYN  mss 1460  sackOK  ts  wscale 7  MP_CAPABLE ─────────▶│
//!     0.052  │◀──────────────────────── ack 0  MP_CAPABLE key ───────────┤
//!     0.180  ├─ 0..1448  dsn 0..1448 of map 0..31328 ─────✗               │  dropped: fault
//!         ⋮  → 212 more data segments, 1448..308424   ← 40 more acks up to 300000
//!         ·  204.1 ms of silence
//! ```
//!
//! A packet stands where it came to the link, before anything was done to it. Sequence numbers count from the first byte
//! of each direction, data sequence numbers (`dsn`, `dack`) from the first byte of the connection. Segments with data tell
//! acknowledgements only where they are news.

mod fold;
mod mptcp;
mod wire;

use std::time::Duration;

use super::phrase;
use crate::case::Direction;
use crate::link::log::read::Captured;
use crate::report::words::counted;
use fold::Row;
use wire::{Keys, Line, Rung, Rungs};

/// The widest and the narrowest that the space between both ends gets, in characters.
const WIDEST: usize = 118;
const NARROWEST: usize = 48;

/// How many flows of a link are named.
const FLOWS: usize = 16;

/// Draws the packets of `links`, whose time begins with the first packet of any of them. `role` says what a host is in
/// the case (`client`, `server`), where it is something. `all`: nothing is folded.
pub fn draw(links: &[Captured], role: &dyn Fn(&str) -> Option<&'static str>, all: bool) -> String {
    let zero = links.iter().filter_map(|link| link.packets.first().map(|packet| packet.at)).min().unwrap_or_default();
    let keys = Keys::of(links);
    let ladders: Vec<String> = links
        .iter()
        .filter(|link| !link.packets.is_empty())
        .map(|link| ladder(link, &wire::rungs(link, &keys, zero), role, all))
        .collect();
    ladders.join("\n")
}

fn ladder(link: &Captured, rungs: &Rungs, role: &dyn Fn(&str) -> Option<&'static str>, all: bool) -> String {
    let rows = fold::fold(&rungs.rungs, all);
    let longest = rows.iter().map(|row| if let Row::Rung(rung) = row { rung.text.chars().count() } else { 0 }).max();
    let width = (longest.unwrap_or(0) + 10).clamp(NARROWEST, WIDEST);
    let mut text = head(link, rungs, role, width);
    for row in &rows {
        match row {
            Row::Rung(rung) => text.push_str(&line(rung, width)),
            Row::Folded(said) => text.push_str(&format!("{:>10}  {said}\n", '⋮')),
            Row::Silence(quiet) => text.push_str(&format!("{:>10}  {} of silence\n", '·', phrase::time(*quiet))),
        }
    }
    text
}

/// What the link is, and the names of its ends above its ladder.
fn head(link: &Captured, rungs: &Rungs, role: &dyn Fn(&str) -> Option<&'static str>, width: usize) -> String {
    let packets = counted(link.packets.len() as u64, "packet");
    let unseen = if link.unseen > 0 { format!(", {} more not kept", link.unseen) } else { String::new() };
    let mut text = format!("  link {}: {packets}{unseen}\n", link.name);
    let several = rungs.flows.len() > 1;
    for (number, [left, right]) in rungs.flows.iter().enumerate().take(FLOWS) {
        let name = if several { format!("#{} ", number + 1) } else { String::new() };
        text.push_str(&format!("  {name}{left} ⇄ {right}\n"));
    }
    if let Some(more @ 1..) = rungs.flows.len().checked_sub(FLOWS) {
        text.push_str(&format!("  and {more} more flows\n"));
    }
    let [left, right] = [&link.ends[0], &link.ends[1]].map(|host| match role(host) {
        Some(role) => format!("{host}, {role}"),
        None => host.clone(),
    });
    let gap = (width + 2).saturating_sub(left.chars().count());
    text.push_str(&format!("\n{:>10}  {left}{right:>gap$}\n", "ms"));
    text
}

/// A packet: its time, its rung, and what was done to it.
fn line(rung: &Rung, width: usize) -> String {
    let room = width - 6;
    let said = match rung.text.chars().count() {
        length if length > room => rung.text.chars().take(room - 1).chain(['…']).collect(),
        _ => rung.text.clone(),
    };
    // Both ends of a rung take a sign and a piece of line.
    let rest = width - said.chars().count() - 3;
    let drawn = match rung.direction {
        Direction::Forward => format!("├─ {said} {}", stroke(rung.line, rest, false)),
        Direction::Backward => format!("{} {said} ─┤", stroke(rung.line, rest, true)),
    };
    let note = if rung.note.is_empty() { String::new() } else { format!("  {}", rung.note) };
    format!("{:>10}  {drawn}{note}\n", millis(rung.at))
}

/// The line from the text to the other end, `length` characters and the end itself; from the other end where `mirrored`.
fn stroke(line: Line, length: usize, mirrored: bool) -> String {
    let of = |sign: char, count: usize| std::iter::repeat_n(sign, count);
    let half = (length - 1) / 2;
    let mut signs: Vec<char> = match line {
        Line::Plain => of('─', length - 1).chain(['▶']).collect(),
        Line::Lost => of('─', half).chain(['✗']).chain(of(' ', length - 1 - half)).collect(),
        Line::Changed => of('─', half).chain(['≠']).chain(of('─', length - 2 - half)).chain(['▶']).collect(),
        Line::Doubled => of('═', length - 1).chain(['▶']).collect(),
        Line::Shifted => of('┄', length - 1).chain(['▶']).collect(),
    };
    signs.push('│');
    if mirrored {
        signs.reverse();
        signs.iter_mut().filter(|sign| **sign == '▶').for_each(|sign| *sign = '◀');
    }
    signs.into_iter().collect()
}

/// A point in time in milliseconds, to the microsecond.
fn millis(at: Duration) -> String {
    format!("{}.{:03}", at.as_millis(), at.as_micros() % 1000)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::link::log::read;

    /// A run of an MPTCP case across one rough link, in virtual time; see its case beside it.
    fn rough() -> Captured {
        read::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rough/ns1-ns2.pcapng")).unwrap()
    }

    fn role(host: &str) -> Option<&'static str> {
        [("ns1", "client"), ("ns2", "server")].into_iter().find(|(name, _)| *name == host).map(|(_, role)| role)
    }

    #[test]
    fn a_rough_run_is_drawn_as_a_ladder() {
        insta::assert_snapshot!(draw(&[rough()], &role, false));
    }

    #[test]
    fn all_packets_are_drawn_where_they_are_wanted() {
        let link = rough();
        let rungs = draw(std::slice::from_ref(&link), &role, true);
        let drawn = rungs.lines().filter(|line| line.contains('│') && !line.contains('⋮')).count();
        assert_eq!(drawn, link.packets.len(), "{rungs}");
        assert!(rungs.lines().all(|line| !line.contains('⋮')));
    }

    #[test]
    fn links_share_one_axis_of_time() {
        let mut later = Captured { name: "ns2-ns3".to_owned(), ..rough() };
        later.packets.iter_mut().for_each(|packet| packet.at += Duration::from_millis(500));
        let text = draw(&[later, rough()], &role, false);
        let first: Vec<&str> = text.lines().filter(|line| line.contains("├─ SYN")).collect();
        assert!(first[0].trim_start().starts_with("500.000") && first[1].trim_start().starts_with("0.000"), "{text}");
    }

    #[test]
    fn what_is_no_segment_breaks_nothing() {
        let mut link = rough();
        for (number, packet) in link.packets.iter_mut().enumerate() {
            packet.frame.truncate(number * 3 % 90);
        }
        assert!(draw(&[link], &role, true).contains("not TCP"));
    }

    #[test]
    fn every_stroke_has_its_length_and_its_direction() {
        for line in [Line::Plain, Line::Lost, Line::Changed, Line::Doubled, Line::Shifted] {
            for length in 3..20 {
                let [there, back] = [false, true].map(|mirrored| stroke(line, length, mirrored));
                assert_eq!((there.chars().count(), back.chars().count()), (length + 1, length + 1), "{line:?}");
                assert!(there.ends_with('│') && back.starts_with('│'));
            }
        }
    }

    #[test]
    fn times_are_in_milliseconds() {
        assert_eq!(millis(Duration::from_nanos(1_234_567_890)), "1234.567");
        assert_eq!(millis(Duration::from_micros(5)), "0.005");
    }
}
