//! How long the sender of a TCP flow may stay silent while some of its data is unacknowledged.

use std::collections::VecDeque;

use crate::link::stage::Nanos;

const MILLI: Nanos = 1_000_000;
/// The least retransmission timeout of Linux.
const LEAST: Nanos = 200 * MILLI;
/// The timeout before any round trip is known, after the SYN has timed out (RFC 6298 section 5.7).
const UNKNOWN: Nanos = 3000 * MILLI;
/// What may come on top: a tail loss probe before the timer, its delay for late acknowledgements, and a packet that cannot
/// be sent yet (TCP_RESOURCE_PROBE_INTERVAL).
pub(super) const SPARE: Nanos = 500 * MILLI;
/// How often a timeout may double before nothing is judged any more: orphaned connections are given up by then.
const DOUBLES: u32 = 5;
/// How many packets under way are remembered.
const MOST: usize = 4096;

/// What is unacknowledged, and since when neither end has sent anything about it.
///
/// RFC 6298: a timer runs while anything is unacknowledged. It lasts for the smoothed round trip plus four times its
/// variation, neither of which exceeds the slowest round trip, and at least 200 ms. It doubles with each timeout, until data
/// is acknowledged that was sent only once.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// What was sent for the first time: its end, and when.
    under_way: VecDeque<(u64, Nanos)>,
    /// When a SYN was sent that has no answer yet.
    opened: Option<Nanos>,
    slowest: Option<Nanos>,
    /// Up to where something was sent again, and how often since that was settled.
    repeated: u64,
    repeats: u32,
    since: Nanos,
    /// Whether it is not judged, or no longer.
    over: bool,
}

impl Rest {
    /// Nothing is under way. Only where time is `exact` it is judged.
    pub fn new(exact: bool) -> Rest {
        Rest { over: !exact, ..Rest::default() }
    }

    /// A SYN is sent.
    pub fn opens(&mut self, now: Nanos) {
        self.opened.get_or_insert(now);
        self.since = now;
    }

    /// The bytes from `begin` to before `end` are sent, of which all before `sent` were sent before.
    pub fn sends(&mut self, begin: u64, end: u64, sent: u64, now: Nanos) {
        if begin == end {
            return;
        }
        self.since = now;
        if begin < sent {
            self.repeated = self.repeated.max(end);
            self.repeats += 1;
        }
        if end > sent {
            self.under_way.push_back((end, now));
            self.over |= self.under_way.len() > MOST;
        }
    }

    /// A packet comes that acknowledges everything before `acked`.
    pub fn hears(&mut self, acked: u64, now: Nanos) {
        self.since = now;
        let mut sample = |at: Nanos| self.slowest = self.slowest.max(Some(now.saturating_sub(at)));
        if let Some(opened) = self.opened.take() {
            sample(opened);
        }
        while let Some(&(_, at)) = self.under_way.front().filter(|(end, _)| *end <= acked) {
            self.under_way.pop_front();
            sample(at);
        }
        if acked > self.repeated {
            self.repeats = 0;
        }
    }

    /// How long its timer lasts at the most.
    pub fn timeout(&self) -> Nanos {
        self.slowest.map_or(UNKNOWN, |slowest| LEAST + 5 * slowest) << self.repeats.min(DOUBLES)
    }

    /// How long nothing has been done about unacknowledged data, if that is too long.
    pub fn is_too_long(&mut self, now: Nanos) -> Option<String> {
        let most = 2 * self.timeout() + SPARE;
        let rest = now.saturating_sub(self.since);
        self.over |= self.repeats >= DOUBLES;
        if self.over || self.under_way.is_empty() || rest <= most {
            return None;
        }
        self.over = true;
        let [rest, most, slowest] = [rest, most, self.slowest.unwrap_or_default()].map(|time| time / MILLI);
        Some(format!("{rest} ms where {most} are the most, after round trips of up to {slowest} ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest() -> Rest {
        let mut rest = Rest::default();
        rest.opens(0);
        rest.hears(0, 10 * MILLI);
        rest.sends(0, 1000, 0, 10 * MILLI);
        rest
    }

    #[test]
    fn what_is_under_way_is_sent_again_before_its_timer_has_run_out_twice() {
        // Twice 250 ms, and the spare.
        assert_eq!(rest().is_too_long(1010 * MILLI), None);
        assert!(rest().is_too_long(1011 * MILLI).is_some());
        let mut done = rest();
        done.hears(1000, 20 * MILLI);
        assert_eq!(done.is_too_long(99_000 * MILLI), None);
    }

    #[test]
    fn each_repetition_doubles_it_until_new_bytes_are_acknowledged() {
        let mut again = rest();
        again.sends(0, 1000, 1000, 300 * MILLI);
        assert_eq!(again.is_too_long(1800 * MILLI), None);
        let mut settled = rest();
        settled.sends(0, 1000, 1000, 12 * MILLI);
        settled.sends(1000, 2000, 1000, 13 * MILLI);
        settled.hears(2000, 14 * MILLI);
        settled.sends(2000, 3000, 2000, 15 * MILLI);
        assert!(settled.is_too_long(1016 * MILLI).is_some());
    }

    #[test]
    fn without_a_round_trip_nothing_is_known() {
        let mut rest = Rest::default();
        rest.sends(0, 10, 0, 0);
        assert_eq!(rest.is_too_long(6500 * MILLI), None);
        assert!(rest.is_too_long(6501 * MILLI).is_some());
        assert_eq!(rest.is_too_long(9000 * MILLI), None, "told once");
    }
}
