//! Whether addresses that a host announces are announced again until they are heard.
//!
//! RFC 8684, section 3.4.1: an ADD_ADDR is echoed, and sent again where no echo comes. Linux waits for the longest timeout of its
//! subflows, for twice as long the next time, and does so three times (net/mptcp/pm.c, mptcp_pm_add_addr_timer).

use super::options::Options;
use super::rest::SPARE;
use crate::link::stage::Nanos;

/// How often an address is announced before Linux gives up.
const MOST: u32 = 4;

/// What a connection of one host has announced that was not echoed yet.
#[derive(Debug, Default)]
pub(super) struct Announced {
    waiting: Vec<Waiting>,
}

/// An address that was announced and not heard.
#[derive(Debug)]
struct Waiting {
    id: u8,
    /// How often it was sent, and when last.
    times: u32,
    at: Nanos,
    /// The longest timeout of a subflow since then: its timer was set when it was sent.
    timeout: Nanos,
}

impl Announced {
    /// Takes note of the options of a packet that the host sends, or that comes to it.
    pub fn takes(&mut self, options: &Options, sent: bool, now: Nanos) {
        match options.announced {
            Some((id, false)) if sent => self.sends(id, now),
            Some((id, true)) if !sent => self.forget(id),
            _ => {}
        }
        if sent {
            options.removed.iter().for_each(|id| self.forget(*id));
        }
    }

    /// The host announces an address.
    fn sends(&mut self, id: u8, now: Nanos) {
        let times = 1 + self.waiting.iter().find(|known| known.id == id).map_or(0, |known| known.times);
        self.forget(id);
        if times < MOST {
            self.waiting.push(Waiting { id, times, at: now, timeout: 0 });
        }
    }

    /// The peer has echoed it, or the host takes it back.
    fn forget(&mut self, id: u8) {
        self.waiting.retain(|known| known.id != id);
    }

    /// Which address has waited for too long, where no subflow now waits for an acknowledgement for longer than
    /// `timeout`. To be asked before each packet.
    pub fn is_too_late(&mut self, timeout: Nanos, now: Nanos) -> Option<String> {
        self.waiting.iter_mut().for_each(|known| known.timeout = known.timeout.max(timeout));
        let most = |known: &Waiting| ((2 * known.timeout) << (known.times - 1)) + SPARE;
        let known = self.waiting.iter().find(|known| now.saturating_sub(known.at) > most(known))?;
        let id = known.id;
        let [late, most] = [now - known.at, most(known)].map(|time| time / 1_000_000);
        self.forget(id);
        Some(format!("address {id}, {late} ms after it was announced without an echo, where {most} are the most"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Nanos = 300_000_000;

    fn late(times: u32, wait: Nanos) -> bool {
        let mut announced = Announced::default();
        (0..times).for_each(|_| announced.sends(2, 0));
        announced.is_too_late(TIMEOUT, wait).is_some()
    }

    #[test]
    fn an_address_is_announced_again_after_twice_the_time_each() {
        assert_eq!([2 * TIMEOUT + SPARE, 2 * TIMEOUT + SPARE + 1].map(|wait| late(1, wait)), [false, true]);
        assert_eq!([4 * TIMEOUT + SPARE, 4 * TIMEOUT + SPARE + 1].map(|wait| late(2, wait)), [false, true]);
        assert!(late(3, 8 * TIMEOUT + SPARE + 1) && !late(MOST, 99 * TIMEOUT));
    }

    #[test]
    fn the_longest_timeout_since_it_was_announced_counts() {
        let mut announced = Announced::default();
        announced.sends(2, 0);
        assert_eq!(announced.is_too_late(3 * TIMEOUT, 1), None);
        assert_eq!(announced.is_too_late(TIMEOUT, 6 * TIMEOUT + SPARE), None);
        assert!(announced.is_too_late(TIMEOUT, 6 * TIMEOUT + SPARE + 1).is_some());
    }

    #[test]
    fn what_was_heard_or_taken_back_is_not() {
        let judged = |sent: bool, options: Options| {
            let mut announced = Announced::default();
            announced.takes(&Options { announced: Some((2, false)), ..Options::default() }, true, 0);
            announced.takes(&options, sent, 1);
            announced.is_too_late(TIMEOUT, 99 * TIMEOUT).is_some()
        };
        let echo = |id| Options { announced: Some((id, true)), ..Options::default() };
        let taken_back = Options { removed: vec![1, 2], ..Options::default() };
        assert_eq!([judged(false, echo(2)), judged(true, taken_back)], [false; 2]);
        assert_eq!([judged(false, echo(3)), judged(true, echo(2))], [true; 2]);
    }
}
