//! Which rungs of a ladder are shown, and what is said of the others.

use std::ops::Range;
use std::time::Duration;

use super::wire::Rung;
use crate::case::Direction;
use crate::report::words::counted;

/// How many of the first and of the last rungs are shown in any case.
const ENDS: usize = 10;

/// How many rungs before and behind one to which something was done.
const AROUND: usize = 1;

/// Fewer regular rungs in a row than this are not folded: a line about them would save nothing.
const FEW: usize = 4;

/// The most rungs of a link that are shown: half of them from the beginning, half from the end.
const SHOWN_MAX: usize = 240;

/// A silence worth a line.
const SILENCE: Duration = Duration::from_millis(100);

/// One line of a ladder.
#[derive(Clone, Debug, PartialEq)]
pub enum Row<'a> {
    /// A packet.
    Rung(&'a Rung),
    /// Several packets, in words.
    Folded(String),
    /// Nothing for this long.
    Silence(Duration),
}

/// Folds what is regular. `all`: shows every rung.
pub fn fold(rungs: &[Rung], all: bool) -> Vec<Row<'_>> {
    let mut shown = vec![all; rungs.len()];
    if !all {
        choose(rungs, &mut shown);
    }
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut at = 0;
    while at < rungs.len() {
        let run = shown[at..].iter().take_while(|shown| !**shown).count();
        if run >= FEW {
            silence(rungs, at, &mut rows);
            rows.push(Row::Folded(folded(&rungs[at..at + run])));
            at += run;
        } else {
            silence(rungs, at, &mut rows);
            rows.push(Row::Rung(&rungs[at]));
            at += 1;
        }
    }
    rows
}

fn choose(rungs: &[Rung], shown: &mut [bool]) {
    let count = rungs.len();
    for (at, rung) in rungs.iter().enumerate() {
        if at < ENDS || at + ENDS >= count {
            shown[at] = true;
        }
        if rung.notable {
            let around = if rung.note.is_empty() { 0 } else { AROUND };
            shown[at.saturating_sub(around)..(at + around + 1).min(count)].fill(true);
        }
    }
    let places: Vec<usize> = (0..count).filter(|at| shown[*at]).collect();
    if places.len() > SHOWN_MAX {
        shown[places[SHOWN_MAX / 2]..places[places.len() - SHOWN_MAX / 2]].fill(false);
    }
}

/// Says where nothing went before the rung at `at`.
fn silence<'a>(rungs: &[Rung], at: usize, rows: &mut Vec<Row<'a>>) {
    let Some(before) = at.checked_sub(1) else { return };
    let quiet = rungs[at].at.saturating_sub(rungs[before].at);
    if quiet >= SILENCE {
        rows.push(Row::Silence(quiet));
    }
}

/// Says what several rungs were.
fn folded(rungs: &[Rung]) -> String {
    let mut parts = Vec::new();
    for (direction, arrow) in [(Direction::Forward, '→'), (Direction::Backward, '←')] {
        let these = || rungs.iter().filter(|rung| rung.direction == direction);
        let data: Vec<&Rung> = these().filter(|rung| !rung.bytes.is_empty()).collect();
        if !data.is_empty() {
            let Range { start, end } = span(&data);
            let segments = counted(data.len() as u64, "more data segment");
            parts.push(format!("{arrow} {segments}, {start}..{end}"));
        }
        let rest = || these().filter(|rung| rung.bytes.is_empty());
        if rest().count() > 0 {
            let kind = if rest().all(|rung| rung.ack.is_some()) { "more ack" } else { "more packet" };
            let up_to = rest().filter_map(|rung| rung.ack).max().map(|ack| format!(" up to {ack}"));
            parts.push(format!("{arrow} {}{}", counted(rest().count() as u64, kind), up_to.unwrap_or_default()));
        }
    }
    let touched = rungs.iter().filter(|rung| !rung.note.is_empty()).count();
    if touched > 0 {
        parts.push(format!("something was done to {touched} of them"));
    }
    parts.join("   ")
}

fn span(data: &[&Rung]) -> Range<i64> {
    let start = data.iter().map(|rung| rung.bytes.start).min().unwrap_or(0);
    start..data.iter().map(|rung| rung.bytes.end).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::wire::Line;
    use super::*;

    fn rung(at: u64, bytes: Range<i64>, note: &str) -> Rung {
        Rung {
            at: Duration::from_millis(at),
            direction: Direction::Forward,
            text: format!("{}..{}", bytes.start, bytes.end),
            note: note.to_owned(),
            line: Line::Plain,
            notable: !note.is_empty(),
            bytes,
            ack: Some(0),
        }
    }

    fn stream(count: i64) -> Vec<Rung> {
        (0..count).map(|at| rung(at as u64, at * 10..at * 10 + 10, "")).collect()
    }

    #[test]
    fn what_is_regular_is_one_line() {
        let rungs = stream(100);
        let rows = fold(&rungs, false);
        assert_eq!(rows.len(), 2 * ENDS + 1);
        assert_eq!(rows[ENDS], Row::Folded("→ 80 more data segments, 100..900".to_owned()));
        assert_eq!(fold(&rungs, true).len(), 100);
    }

    #[test]
    fn a_fault_is_shown_with_what_is_around_it() {
        let mut rungs = stream(100);
        rungs[50] = rung(50, 500..510, "dropped: loss");
        let rows = fold(&rungs, false);
        let shown: Vec<u128> = rows
            .iter()
            .filter_map(|row| if let Row::Rung(rung) = row { Some(rung.at.as_millis()) } else { None })
            .collect();
        assert_eq!(shown[ENDS..ENDS + 3], [49, 50, 51]);
    }

    #[test]
    fn many_faults_are_bounded_and_counted() {
        let rungs: Vec<Rung> = (0..2000).map(|at| rung(at as u64, at * 10..at * 10 + 10, "dropped: loss")).collect();
        let rows = fold(&rungs, false);
        assert_eq!(rows.len(), SHOWN_MAX + 1);
        assert!(rows.iter().any(|row| matches!(row, Row::Folded(text) if text.contains("done to 1760 of them"))));
    }

    #[test]
    fn silence_is_said_once() {
        let rungs = [rung(0, 0..10, ""), rung(1500, 10..20, "")];
        let silent = Row::Silence(Duration::from_millis(1500));
        assert_eq!(fold(&rungs, false).iter().filter(|row| **row == silent).count(), 1);
    }
}
