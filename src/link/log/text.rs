//! The packet log as text: one line a packet.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use crate::case::{Action, Direction, LinkId, Packet, Removal, Strip};
use crate::link::identity::UNCOUNTED;
use crate::link::options;
use crate::link::packet::View;
use crate::link::stage::{Lost, Nanos};

use super::{LinkLog, Record};

pub(super) fn write(log: &LinkLog, to: &mut impl Write) -> io::Result<()> {
    head(log, to)?;
    for record in &log.log.head {
        line(log.id, record, to)?;
    }
    if log.log.left_out() > 0 {
        writeln!(to, "... {} packets left out ...", log.log.left_out())?;
    }
    for record in &log.log.tail {
        line(log.id, record, to)?;
    }
    Ok(())
}

fn head(log: &LinkLog, to: &mut impl Write) -> io::Result<()> {
    let story = &log.story;
    let late = Millis(story.lateness.as_nanos() as Nanos);
    writeln!(to, "link {}, carried by {}", log.id, story.carrier)?;
    writeln!(to, "{} packets, {} lost, {} touched, at most {late} late", story.packets, story.lost, story.touched)?;
    if log.missed > 0 {
        writeln!(to, "{} more packets passed unseen, because the capture had no room for them", log.missed)?;
    }
    for (number, [left, right]) in log.flows.iter().enumerate() {
        writeln!(to, "flow {number}: {left} at {}, {right} at {}", log.id.left(), log.id.right())?;
    }
    for trouble in &log.trouble {
        writeln!(to, "trouble: {trouble}")?;
    }
    for direction in Direction::BOTH {
        let left_out = log.faults_left_out(direction);
        if left_out > 0 {
            writeln!(to, "the list of faults {direction} leaves out the last {left_out}")?;
        }
    }
    writeln!(to)
}

fn line(id: LinkId, record: &Record, to: &mut impl Write) -> io::Result<()> {
    let (from, towards) = match record.direction {
        Direction::Forward => (id.left(), id.right()),
        Direction::Backward => (id.right(), id.left()),
    };
    let time = Duration::from_nanos(record.at);
    write!(to, "{:5}.{:06} {from} > {towards}  ", time.as_secs(), time.subsec_micros())?;
    match record.packet {
        Packet::Other => write!(to, "not TCP, {} bytes", record.length)?,
        _ => write!(to, "flow {} {}", record.flow, Words(record))?,
    }
    writeln!(to, "  {}", decision(record))
}

/// A packet in words.
struct Words<'a>(&'a Record);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        let (begin, end) = (record.sequence, record.sequence + u64::from(record.payload));
        match record.packet {
            Packet::Cell(cell) => write!(f, "bytes {begin}..{end} (cell {cell})")?,
            Packet::Inner(_) => write!(f, "bytes {begin}..{end}")?,
            Packet::Syn => write!(f, "SYN")?,
            Packet::SynAck => write!(f, "SYN/ACK")?,
            Packet::Fin => write!(f, "FIN at {begin}")?,
            Packet::Rst => write!(f, "RST")?,
            Packet::Ack(offset) => write!(f, "ACK of {offset}")?,
            Packet::Other => write!(f, "not TCP")?,
        }
        write!(f, ", {}  [{}]", Carriage(record.carriage), record.flags)?;
        if let Some(acknowledged) = record.acknowledgement {
            write!(f, " ack {acknowledged}")?;
        }
        write!(f, " win {}", record.window)?;
        let options = View::of(record.frame()).segment.map(|segment| options::describe(segment.options));
        match options.filter(|options| !options.is_empty()) {
            Some(options) => write!(f, " <{options}>"),
            None => Ok(()),
        }
    }
}

/// How often something was carried, in words.
struct Carriage(u32);

impl fmt::Display for Carriage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == UNCOUNTED {
            return f.write_str("not counted");
        }
        let time = self.0 + 1;
        let ending = match (time % 10, time % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        write!(f, "{time}{ending} time")
    }
}

/// A span of time in milliseconds.
struct Millis(Nanos);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

/// What was decided, in words.
pub(super) fn decision(record: &Record) -> String {
    let fate = &record.fate;
    let refused = fate.changes.iter().flatten().find(|change| change.action == Action::Refuse);
    match fate.lost {
        Some(Lost::By(stage)) if refused.is_some() => return format!("refused with a RST: {stage}"),
        Some(Lost::By(stage)) => return format!("dropped: {stage}"),
        Some(Lost::QueueFull) => return "dropped: queue full".to_owned(),
        None => {}
    }
    let mut parts = Vec::new();
    if record.overflowed {
        parts.push("lost: too many packets under way".to_owned());
    }
    for change in fate.changes.iter().flatten() {
        parts.push(format!("{}: {}", rewriting(change.action), change.stage));
    }
    if let Some((bit, stage)) = fate.flip {
        parts.push(format!("bit {bit} flipped: {stage}"));
    }
    if let Some(stage) = fate.doubled {
        let copy = if fate.leaves.1.is_none() { ", but the copy found the queue full" } else { "" };
        parts.push(format!("doubled: {stage}{copy}"));
    }
    let shift = fate.effective_shift();
    if let Some(stage) = fate.shifted.filter(|_| shift != 0) {
        let way = if shift > 0 { "late" } else { "early" };
        parts.push(format!("{} {way}: {stage}", Millis(shift.unsigned_abs())));
    }
    if parts.is_empty() {
        parts.push("passed".to_owned());
    }
    if record.due > record.at {
        parts.push(format!("due after {}", Millis(record.due - record.at)));
        match record.lateness {
            Some(late) => parts.push(format!("left {} after that", Millis(late))),
            None => parts.push("still under way at the end".to_owned()),
        }
    }
    parts.join(", ")
}

/// A rewriting in words.
fn rewriting(action: Action) -> String {
    match action {
        Action::Strip(Strip { option, by: Removal::Nops }) => format!("{option} replaced by NOPs"),
        Action::Strip(Strip { option, by: Removal::Nothing }) => format!("{option} removed"),
        Action::Clamp(mss) => format!("MSS lowered to {mss}"),
        Action::Split(at) => format!("split at {at}"),
        Action::Merge(merge) if merge.options.loses() => {
            format!("waits {} to be merged, options of the {}", Millis(merge.within.as_nanos() as Nanos), merge.options)
        }
        Action::Merge(merge) => format!("waits {} to be merged", Millis(merge.within.as_nanos() as Nanos)),
        Action::Alter(at) => format!("payload altered at {at}"),
        Action::Mark => "CE marked".to_owned(),
        Action::Reset(towards) => format!("RST sent to {towards}"),
        Action::Refuse => "refused".to_owned(),
        Action::Drop | Action::Flip(_) | Action::Duplicate | Action::Late(_) | Action::Early(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lossy;
    use super::*;

    #[test]
    fn every_packet_is_a_line_in_words() {
        let mut bytes = Vec::new();
        write(&lossy(), &mut bytes).unwrap();
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn carriages_are_counted_as_people_do() {
        let words = |carriage| Carriage(carriage).to_string();
        assert_eq!(words(0), "1st time");
        assert_eq!(words(1), "2nd time");
        assert_eq!(words(2), "3rd time");
        assert_eq!(words(10), "11th time");
        assert_eq!(words(21), "22nd time");
        assert_eq!(words(UNCOUNTED), "not counted");
    }
}
