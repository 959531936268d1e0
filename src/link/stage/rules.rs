//! Middleboxes: what rules do to the packets that they pick.
//!
//! Which packets a rule picks is a matter of what they carry; whether it acts on one of these is drawn at the packet's
//! place. Only `skip` and `times` count packets in the order in which they come, each connection for itself.

use std::collections::HashMap;

use crate::case::{LinkId, Packet, Pick, Rule, TcpOption};
use crate::link::identity::Unit;
use crate::link::options;
use crate::link::packet::{Segment, checksum_holds};
use crate::seed::Stream;

use super::{Fate, Parcel, Stage, faults};

/// The name of this stage in logs.
pub const NAME: &str = "rule";

/// The rules that lose, flip, double and rewrite.
#[derive(Debug)]
pub struct Meddling {
    rules: Vec<Working>,
    link: LinkId,
}

/// The rules that make packets late or early. Where several pick one packet, the latest counts.
#[derive(Debug)]
pub struct Delaying(Vec<Working>);

/// A rule at work.
#[derive(Debug)]
struct Working {
    rule: Rule,
    stream: Stream,
    /// How many packets of each flow it has picked.
    picked: HashMap<u32, u32>,
}

/// The stages for `rules`: those that meddle, and those that delay; `None` if there is none. `stream` gives the random
/// stream for what a rule does.
pub fn stages(rules: &[Rule], link: LinkId, stream: impl Fn(&str) -> Stream) -> (Option<Meddling>, Option<Delaying>) {
    let work = |rule: &Rule| Working { rule: rule.clone(), stream: stream(kind(rule)), picked: HashMap::new() };
    let (delaying, meddling): (Vec<_>, Vec<_>) = rules.iter().map(work).partition(|work| work.rule.action.shifts());
    (
        (!meddling.is_empty()).then_some(Meddling { rules: meddling, link }),
        (!delaying.is_empty()).then_some(Delaying(delaying)),
    )
}

/// The name of a rule's random stream: what it does.
fn kind(rule: &Rule) -> &'static str {
    use crate::case::Action::*;
    match rule.action {
        Drop => "drop",
        Flip(_) => "flip",
        Duplicate => "duplicate",
        Late(_) => "late",
        Early(_) => "early",
        Strip(_) => "strip",
        Clamp(_) => "clamp",
        Split(_) => "split",
        Merge(_) => "merge",
        Alter(_) => "alter",
        Mark => "mark",
        Reset(_) => "reset",
        Refuse => "refuse",
    }
}

impl Working {
    /// The number of the packet's name that it acts on, where it acts.
    fn acts(&mut self, parcel: &Parcel<'_>) -> Option<usize> {
        let segment = parcel.segment?;
        let unit = parcel.units.first()?;
        if !picks(self.rule.on, segment, parcel.sequence, unit) || !concerns(&self.rule, segment) {
            return None;
        }
        let rewrites = self.rule.action.rewrites();
        if rewrites && !checksum_holds(parcel.frame) {
            return None;
        }
        let number = self.picked.entry(unit.flow).or_default();
        let nth = *number;
        *number = number.saturating_add(1);
        let Rule { skip, times, chance, .. } = self.rule;
        let within = nth >= skip && times.is_none_or(|times| nth - skip < times);
        (within && self.stream.at(unit.place()).chance(chance)).then_some(0)
    }
}

/// Whether `pick` means this segment, whose payload begins at `sequence` of its stream.
fn picks(pick: Pick, segment: &Segment<'_>, sequence: u64, unit: &Unit) -> bool {
    match pick {
        Pick::Any => true,
        Pick::Syn => unit.packet == Packet::Syn,
        Pick::SynAck => unit.packet == Packet::SynAck,
        Pick::ThirdAck => unit.packet == Packet::Ack(0) && sequence == 0,
        Pick::Data(from) => segment.payload > 0 && sequence + u64::from(segment.payload) > from,
        Pick::Ack => matches!(unit.packet, Packet::Ack(_)),
        Pick::AckAgain => matches!(unit.packet, Packet::Ack(_)) && unit.carriage > 0,
        Pick::Fin => segment.flags.fin(),
        Pick::Rst => segment.flags.rst(),
        Pick::DataFin => options::each(segment.options).flatten().any(|found| found.ends_data()),
        Pick::Carries(option) => options::carries(segment.options, option),
    }
}

/// Whether a segment has what the rule changes: what has not is not picked, so that it neither counts nor fills the log.
fn concerns(rule: &Rule, segment: &Segment<'_>) -> bool {
    use crate::case::Action::*;
    match rule.action {
        Strip(what) => options::carries(segment.options, what.option),
        Clamp(_) => segment.flags.syn() && options::carries(segment.options, TcpOption::Mss),
        Split(_) => segment.payload > 1,
        Merge(_) => segment.payload > 0 && !segment.flags.syn() && !segment.flags.fin() && !segment.flags.rst(),
        Alter(_) => segment.payload > 0,
        Reset(_) | Refuse => !segment.flags.rst(),
        Drop | Flip(_) | Duplicate | Late(_) | Early(_) | Mark => true,
    }
}

impl Stage for Meddling {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        for work in &mut self.rules {
            if let Some(index) = work.acts(parcel) {
                fate.act(work.rule.action, parcel, self.link, NAME, 1 << index);
            }
        }
    }
}

impl Stage for Delaying {
    fn work(&mut self, parcel: &Parcel<'_>, fate: &mut Fate) {
        let latest = self
            .0
            .iter_mut()
            .filter_map(|work| Some((faults::shift(work.rule.action)?, work.acts(parcel)?)))
            .max_by_key(|&(shift, _)| shift);
        if let Some((shift, index)) = latest {
            fate.shift(shift, NAME, 1 << index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Action, Direction, Removal, Strip};
    use crate::link::identity::{Identifier, Identity};
    use crate::link::packet::View;
    use crate::link::sample::{self, Sample};
    use crate::link::stage::Lost;
    use crate::seed::Seed;

    const DSS: [u8; 4] = [30, 4, 0x20, 0x00];
    const DATA_FIN: [u8; 4] = [30, 4, 0x20, 0x10];
    const ADD_ADDR: [u8; 8] = [30, 8, 0x30, 1, 10, 0, 1, 2];
    const ECHO: [u8; 8] = [30, 8, 0x31, 1, 10, 0, 1, 2];
    const MPC: [u8; 4] = [30, 4, 0x01, 0x01];

    /// A small connection: what the client sends.
    fn packets() -> Vec<Sample> {
        vec![
            sample::syn(99).options(&MPC),
            sample::data(100, 1, 0).options(&MPC),
            sample::data(100, 1, 1448).options(&DSS),
            sample::data(1548, 1, 1448).options(&DSS),
            sample::data(2996, 1, 0).options(&ADD_ADDR),
            sample::data(2996, 501, 0).options(&ECHO),
            sample::data(2996, 501, 100).options(&DATA_FIN).fin(),
        ]
    }

    /// The numbers of the packets that `rule` touches.
    fn touched(rule: Rule, packets: &[Sample]) -> Vec<usize> {
        let (meddling, delaying) = stages(&[rule], LinkId::Ns1Ns2, |name| Seed(1).stream(name));
        let mut stage: Box<dyn Stage> = match (meddling, delaying) {
            (Some(stage), None) => Box::new(stage),
            (None, Some(stage)) => Box::new(stage),
            _ => panic!("one rule is one stage"),
        };
        let mut identifier = Identifier::new();
        let mut identity = Identity::default();
        let mut touches = |sample: &Sample| {
            let frame = sample.frame(Direction::Forward);
            let view = View::of(&frame);
            identifier.identify(Direction::Forward, &view, &frame, &mut identity);
            let parcel = Parcel {
                segment: view.segment.as_ref(),
                sequence: identity.sequence,
                frame: &frame,
                ..Parcel::bare(0, frame.len(), &identity.units)
            };
            let mut fate = Fate::of(&parcel);
            stage.work(&parcel, &mut fate);
            fate.actions().next().is_some()
        };
        (0..packets.len()).filter(|&number| touches(&packets[number])).collect()
    }

    fn dropped(on: Pick) -> Vec<usize> {
        touched(Rule::always(on, Action::Drop), &packets())
    }

    #[test]
    fn packets_are_picked_by_what_they_carry() {
        assert_eq!(dropped(Pick::Any), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(dropped(Pick::Syn), [0]);
        assert_eq!(dropped(Pick::SynAck), [0; 0]);
        assert_eq!(dropped(Pick::ThirdAck), [1]);
        assert_eq!(dropped(Pick::Data(0)), [2, 3, 6]);
        assert_eq!(dropped(Pick::Data(1447)), [2, 3, 6]);
        assert_eq!(dropped(Pick::Data(1448)), [3, 6]);
        assert_eq!(dropped(Pick::Ack), [1, 4, 5]);
        assert_eq!(dropped(Pick::AckAgain), [4]);
        assert_eq!(dropped(Pick::Fin), [6]);
        assert_eq!(dropped(Pick::DataFin), [6]);
        assert_eq!(dropped(Pick::Carries(TcpOption::Dss)), [2, 3, 6]);
        assert_eq!(dropped(Pick::Carries(TcpOption::AddAddr)), [4]);
        assert_eq!(dropped(Pick::Carries(TcpOption::AddAddrEcho)), [5]);
        assert_eq!(dropped(Pick::Carries(TcpOption::MpCapable)), [0, 1]);
    }

    #[test]
    fn acknowledgements_of_nothing_new_differ_from_others() {
        let packets = [
            sample::data(100, 1, 0),
            sample::data(100, 1, 0),
            sample::data(100, 500, 0),
            sample::data(100, 500, 20),
            sample::data(120, 500, 0),
            sample::data(120, 500, 0).options(&DATA_FIN),
        ];
        assert_eq!(touched(Rule::always(Pick::AckAgain, Action::Drop), &packets), [1, 4, 5]);
    }

    #[test]
    fn a_rule_skips_and_ends_as_it_says() {
        let rule = |skip, times| Rule { skip, times, ..Rule::always(Pick::Data(0), Action::Drop) };
        assert_eq!(touched(rule(1, None), &packets()), [3, 6]);
        assert_eq!(touched(rule(0, Some(2)), &packets()), [2, 3]);
        assert_eq!(touched(rule(1, Some(1)), &packets()), [3]);
    }

    #[test]
    fn connections_are_counted_apart() {
        let mut both = packets();
        both.extend(packets().into_iter().map(|sample| sample.ports(40_001, 5000)));
        assert_eq!(touched(Rule::once(Pick::Fin, Action::Drop), &both), [6, 13]);
    }

    #[test]
    fn what_has_nothing_to_change_is_not_picked() {
        let strip = Action::Strip(Strip { option: TcpOption::Dss, by: Removal::Nops });
        assert_eq!(touched(Rule { skip: 1, ..Rule::always(Pick::Any, strip) }, &packets()), [3, 6]);
        assert_eq!(touched(Rule::always(Pick::Any, Action::Clamp(500)), &packets()), [0; 0]);
        assert_eq!(touched(Rule::always(Pick::Any, Action::Split(0)), &packets()), [2, 3, 6]);
        let late = Action::Late(std::time::Duration::from_secs(1));
        assert_eq!(touched(Rule::once(Pick::Carries(TcpOption::AddAddr), late), &packets()), [4]);
    }

    #[test]
    fn a_chance_is_drawn_at_the_packet_s_place() {
        let some = |chance| {
            let rule = Rule { chance, ..Rule::always(Pick::Data(0), Action::Mark) };
            let packets: Vec<Sample> = (0..1000).map(|cell| sample::data(cell * 1448, 1, 1448)).collect();
            touched(rule, &packets)
        };
        let (few, many) = (some(0.1), some(0.5));
        assert!((60..140).contains(&few.len()), "{}", few.len());
        assert!((450..550).contains(&many.len()), "{}", many.len());
        assert!(few.iter().all(|number| many.contains(number)));
    }

    #[test]
    fn a_damaged_packet_is_not_made_whole_again() {
        let (meddling, _) =
            stages(&[Rule::always(Pick::Any, Action::Split(5))], LinkId::Ns1Ns2, |name| Seed(1).stream(name));
        let mut frame = sample::data(1, 1, 100).frame(Direction::Forward);
        let last = frame.len() - 1;
        frame[last] ^= 1;
        let view = View::of(&frame);
        let units = [crate::link::stage::tests::unit(Packet::Inner(1), 0)];
        let parcel = Parcel { segment: view.segment.as_ref(), frame: &frame, ..Parcel::bare(0, frame.len(), &units) };
        let mut fate = Fate::of(&parcel);
        meddling.unwrap().work(&parcel, &mut fate);
        assert!(!fate.is_rewritten());
    }

    #[test]
    fn a_refused_packet_is_lost_and_one_action_says_so() {
        let rule = Rule::always(Pick::Any, Action::Refuse);
        let (meddling, _) = stages(&[rule], LinkId::Ns1Ns2, |name| Seed(1).stream(name));
        let frame = sample::syn(1).frame(Direction::Forward);
        let view = View::of(&frame);
        let units = [crate::link::stage::tests::unit(Packet::Syn, 0)];
        let parcel = Parcel { segment: view.segment.as_ref(), frame: &frame, ..Parcel::bare(0, frame.len(), &units) };
        let mut fate = Fate::of(&parcel);
        meddling.unwrap().work(&parcel, &mut fate);
        assert_eq!(fate.lost, Some(Lost::By(NAME)));
        assert!(fate.is_rewritten());
        assert_eq!(fate.actions().collect::<Vec<_>>(), [(Action::Refuse, 1)]);
    }
}
