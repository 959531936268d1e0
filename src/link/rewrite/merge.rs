//! Makes one segment of two, as GRO does it (Documentation/networking/segmentation-offloads.rst), or a proxy that has less
//! regard for options.

use super::layout::{Layout, set_header_length};
use crate::case::Kept;
use crate::link::options::{Found, each, kind};
use crate::link::packet::{Flags, View, checksum_holds};

const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

/// The two segments as one of at most `most` bytes, header of Ethernet included; `None` if they stay two: other flows,
/// a gap, damage, no room, or options that differ and must not. It has the first one's number, and acknowledges what the
/// second one does.
pub fn merge(first: &[u8], second: &[u8], kept: Kept, most: usize) -> Option<Vec<u8>> {
    let (one, two) = (View::of(first).segment?, View::of(second).segment?);
    let (of_one, of_two) = (Layout::of(first)?, Layout::of(second)?);
    let goes_on = (one.source, one.destination) == (two.source, two.destination)
        && one.payload > 0
        && two.payload > 0
        && two.sequence == one.sequence.wrapping_add(one.payload);
    let plain = |flags: Flags| !flags.syn() && !flags.rst() && flags.ack();
    let (flags_of_one, flags_of_two) = (first[of_one.tcp + 13], second[of_two.tcp + 13]);
    let alike = kept.loses() || same(one.options, two.options);
    if !(goes_on && alike && plain(one.flags) && plain(two.flags))
        || one.flags.fin()
        || (flags_of_one | flags_of_two) & URG != 0
        || flags_of_two & CWR != 0
        || congestion(first, of_one) != congestion(second, of_two)
        || !(checksum_holds(first) && checksum_holds(second))
    {
        return None;
    }
    let options = if kept == Kept::Second { two.options } else { one.options };
    let mut merged = first[..of_one.options().start].to_vec();
    merged.extend_from_slice(options);
    let length = merged.len() - of_one.tcp;
    set_header_length(&mut merged, of_one.tcp, length);
    merged.extend_from_slice(&first[of_one.payload..of_one.end]);
    merged.extend_from_slice(&second[of_two.payload..of_two.end]);
    if merged.len() > most {
        return None;
    }
    // What the second one acknowledges, and the window it announces, are the later news.
    let (to, from) = (of_one.tcp, of_two.tcp);
    merged[to + 8..to + 12].copy_from_slice(&second[from + 8..from + 12]);
    merged[to + 14..to + 16].copy_from_slice(&second[from + 14..from + 16]);
    merged[to + 13] = flags_of_one & !PSH | flags_of_two;
    of_one.seal(&mut merged);
    Some(merged)
}

/// What the IP header says of congestion.
fn congestion(frame: &[u8], layout: Layout) -> u8 {
    let (at, shift) = layout.congestion();
    frame[at] >> shift & 3
}

/// Whether options are the same, timestamps apart.
fn same(one: &[u8], two: &[u8]) -> bool {
    let timeless = |options| each(options).filter(|found| !matches!(found, Ok(Found { kind: kind::TIMESTAMPS, .. })));
    timeless(one).eq(timeless(two))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::case::Direction::{Backward, Forward};
    use crate::link::rewrite::split::split;
    use crate::link::sample::{self, Sample};

    const MOST: usize = 1514;
    /// DSS options with mappings of their own.
    const ONE: [u8; 8] = [30, 8, 0x20, 0x01, 0, 0, 0, 1];
    const TWO: [u8; 8] = [30, 8, 0x20, 0x01, 0, 0, 0, 2];

    fn frames(one: Sample, two: Sample) -> [Vec<u8>; 2] {
        [one.frame(Forward), two.frame(Forward)]
    }

    fn merged(one: Sample, two: Sample, kept: Kept) -> Option<Vec<u8>> {
        let [one, two] = frames(one, two);
        merge(&one, &two, kept, MOST)
    }

    proptest! {
        #[test]
        fn what_was_split_is_whole_again(at: u32, payload in 2u32..1400, fin: bool, v6: bool, sequence: u32) {
            let mut sample = sample::data(sequence, 9, payload).options(&ONE);
            if fin { sample = sample.fin(); }
            if v6 { sample = sample.v6(); }
            let whole = sample.frame(Forward);
            let mut first = whole.clone();
            let second = split(&mut first, at).expect("there is enough to cut");
            prop_assert_eq!(merge(&first, &second, Kept::Same, MOST), Some(whole));
        }
    }

    #[test]
    fn options_are_those_of_either_of_the_first_or_of_the_second() {
        let (one, two) = (sample::data(1, 5, 100).options(&ONE), sample::data(101, 9, 50).options(&TWO));
        assert_eq!(merged(one, two, Kept::Same), None);
        for (kept, expected) in [(Kept::First, ONE), (Kept::Second, TWO)] {
            let frame = merged(one, two, kept).unwrap();
            assert!(checksum_holds(&frame));
            let segment = View::of(&frame).segment.unwrap();
            assert_eq!((segment.sequence, segment.acknowledgement, segment.payload), (1, 9, 150));
            assert_eq!(segment.options, expected);
        }
        let longer = two.options(&[1, 1, 4, 2]);
        let frame = merged(one.options(&[]), longer, Kept::Second).unwrap();
        assert!(checksum_holds(&frame) && View::of(&frame).segment.unwrap().payload == 150);
    }

    #[test]
    fn timestamps_may_differ_and_nothing_else() {
        let stamp = |at, rest: &[u8]| [&[1, 1, 8, 10, 0, 0, 0, at, 0, 0, 0, 0][..], rest].concat();
        let pair = |rest: &[u8]| {
            let options = [stamp(1, &ONE), stamp(2, rest)];
            merged(sample::data(1, 5, 9).options(&options[0]), sample::data(10, 5, 9).options(&options[1]), Kept::Same)
        };
        assert!(pair(&ONE).is_some());
        assert!(pair(&TWO).is_none() && pair(&[]).is_none());
    }

    #[test]
    fn what_does_not_belong_together_stays_apart() {
        let one = sample::data(1, 5, 100);
        let others = [
            sample::data(102, 5, 100),
            sample::data(1, 5, 100),
            sample::data(101, 5, 0),
            sample::data(101, 5, 100).ports(40001, 5000),
            sample::data(101, 5, 100).rst(),
            sample::data(101, 5, 1400),
        ];
        for other in others {
            assert_eq!(merged(one, other, Kept::First), None, "{other:?}");
        }
        assert_eq!(merged(one.fin(), sample::data(101, 5, 100), Kept::First), None);
        let [one, mut two] = frames(one, sample::data(101, 5, 100));
        *two.last_mut().unwrap() ^= 1;
        assert_eq!(merge(&one, &two, Kept::First, MOST), None, "damage is not hidden");
        let back = sample::data(101, 5, 100).frame(Backward);
        assert_eq!(merge(&one, &back, Kept::First, MOST), None);
    }

    #[test]
    fn a_fin_goes_with_the_whole() {
        let frame = merged(sample::data(1, 5, 100), sample::data(101, 5, 1).fin(), Kept::Same).unwrap();
        assert!(View::of(&frame).segment.unwrap().flags.fin());
    }
}
