//! How a byte stream is cut into calls, and where the caller rests.

use std::time::Duration;

use super::BUFFER;
use crate::case::{Chunks, Pattern, Pause};
use crate::seed::Stream;

/// Cuts one stream as [`Chunks`] says.
///
/// The size of a call is a function of the offset it starts at, not of the calls before it: how the kernel splits one
/// call never shifts what is drawn for the rest of the stream.
#[derive(Clone, Debug)]
pub(super) struct Cutter {
    pattern: Pattern,
    /// In order of their offset.
    pauses: Vec<Pause>,
    random: Stream,
}

impl Cutter {
    pub(super) fn new(chunks: &Chunks, random: Stream) -> Cutter {
        let mut pauses = chunks.pauses.clone();
        pauses.sort_by_key(|pause| pause.at);
        Cutter { pattern: chunks.pattern, pauses, random }
    }

    /// The size of a call at `offset`: at least 1, at most [`BUFFER`], and not across the next rest.
    pub(super) fn size(&self, offset: u64) -> usize {
        let size = self.size_by_pattern(offset).clamp(1, BUFFER as u64);
        let room = self.next_rest(offset).map_or(u64::MAX, |at| at - offset);
        size.min(room) as usize
    }

    /// How long to rest at `offset`. Several rests at one offset follow one another.
    pub(super) fn rest(&self, offset: u64) -> Duration {
        let first = self.pauses.partition_point(|pause| pause.at < offset);
        let here = self.pauses[first..].iter().take_while(|pause| pause.at == offset);
        let burst = match self.pattern {
            Pattern::Bursts { every, rest, .. } if every > 0 && offset > 0 && offset.is_multiple_of(every.into()) => {
                rest
            }
            _ => Duration::ZERO,
        };
        here.fold(burst, |total, pause| total.saturating_add(pause.lasts))
    }

    fn size_by_pattern(&self, offset: u64) -> u64 {
        let random = || self.random.at(offset);
        match self.pattern {
            Pattern::Whole => BUFFER as u64,
            Pattern::Fixed(size) => size.into(),
            Pattern::Uniform { min, max } => u64::from(min) + random().below(u64::from(max.saturating_sub(min)) + 1),
            Pattern::PowersOfTwo { max } => 1 << random().below(u64::from(max.max(1).ilog2()) + 1),
            Pattern::Dribble { bytes } if offset < bytes.into() => 1,
            Pattern::Dribble { .. } => BUFFER as u64,
            Pattern::Bursts { chunk, .. } => chunk.into(),
            Pattern::Around { unit } => (u64::from(unit) + random().below(5)).saturating_sub(2),
        }
    }

    /// The first offset beyond `offset` where there is a rest.
    fn next_rest(&self, offset: u64) -> Option<u64> {
        let pause = self.pauses.get(self.pauses.partition_point(|pause| pause.at <= offset)).map(|pause| pause.at);
        let burst = match self.pattern {
            Pattern::Bursts { every, .. } if every > 0 => Some((offset / u64::from(every) + 1) * u64::from(every)),
            _ => None,
        };
        [pause, burst].into_iter().flatten().min()
    }
}
