//! Makes the events of a case happen, each at its moment, and undoes those that last only a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::path_managers;
use crate::case::{Case, Event, Happening, LinkId, Moment};
use crate::copier::Progress;
use crate::link::Relay;
use crate::net::NetError;
use crate::observation::Happened;
use crate::topology::Topology;

/// The longest sleep between two looks. Nothing depends on it; it only bounds the cost of a lost wake-up.
const REST: Duration = Duration::from_secs(1);

/// What the thread that makes events happen shares with those around it.
#[derive(Debug, Default)]
pub(super) struct Switch {
    stopped: AtomicBool,
    healed: AtomicBool,
}

impl Switch {
    /// Nothing more is to happen.
    pub(super) fn stop(&self, thread: &Thread) {
        self.stopped.store(true, Ordering::Release);
        thread.unpark();
    }

    /// From now on no link may be out of order.
    pub(super) fn heal(&self, thread: &Thread) {
        self.healed.store(true, Ordering::Release);
        thread.unpark();
    }
}

/// What the events work on.
pub(super) struct Stage<'a> {
    pub(super) case: &'a Case,
    pub(super) topology: &'a Topology,
    pub(super) relay: &'a Relay,
    /// The client's and the server's.
    pub(super) progress: [&'a Progress; 2],
    pub(super) switch: &'a Switch,
}

/// Something to be undone.
struct Undo {
    at: Duration,
    what: Happening,
}

impl Stage<'_> {
    /// Makes everything happen, until nothing is left to do or it is stopped. Returns what happened, and in words what
    /// failed.
    pub(super) fn run(&self) -> (Vec<Happened>, Vec<String>) {
        let start = Instant::now();
        let mut trouble = Vec::new();
        let mut happened = Vec::new();
        let mut waiting: Vec<(usize, &Event)> = self.case.events.iter().enumerate().collect();
        let mut undo: Vec<Undo> = Vec::new();
        loop {
            let done = waiting.is_empty() && undo.is_empty();
            if done || self.switch.stopped.load(Ordering::Acquire) {
                break;
            }
            let now = start.elapsed();
            let healed = self.switch.healed.load(Ordering::Acquire);
            let note = |result: Result<(), NetError>| result.err().map(|error| format!("event: {error}"));
            if let Some(place) = undo.iter().position(|undo| healed || undo.at <= now) {
                trouble.extend(note(self.undo(&mut undo, place)));
            } else if let Some(place) = waiting.iter().position(|(_, event)| self.is_due(event.when, now)) {
                let (nth, event) = waiting.remove(place);
                let what = event.what;
                match self.topology.traffic() {
                    Ok(traffic) => happened.push(Happened {
                        event: nth,
                        after: now,
                        received: self.progress.map(|progress| progress.received()),
                        bytes: traffic.carried,
                    }),
                    Err(error) => trouble.push(format!("event: {error}")),
                }
                match what.outage() {
                    // The links have been healed for good.
                    Some(_) if healed => {}
                    Some(lasts) => {
                        trouble.extend(note(self.set(&what, true)));
                        undo.push(Undo { at: now + lasts, what });
                    }
                    None => trouble.extend(note(path_managers::carry_out(self.case, self.topology, &what))),
                }
            } else {
                let moments = waiting.iter().filter_map(|(_, event)| match event.when {
                    Moment::After(at) => Some(at),
                    Moment::Client(_) | Moment::Server(_) => None,
                });
                let next = moments.chain(undo.iter().map(|undo| undo.at)).min();
                thread::park_timeout(next.map_or(REST, |at| at.saturating_sub(now).min(REST)));
            }
        }
        // All links work again at the end, so that packets still under way can arrive.
        while !undo.is_empty() {
            trouble.extend(self.undo(&mut undo, 0).err().map(|error| error.to_string()));
        }
        (happened, trouble)
    }

    /// Undoes one of them, unless another one still interrupts the same link in the same way.
    fn undo(&self, undo: &mut Vec<Undo>, place: usize) -> Result<(), NetError> {
        let what = undo.remove(place).what;
        if undo.iter().any(|other| is_same_outage(&other.what, &what)) { Ok(()) } else { self.set(&what, false) }
    }

    /// Whether a moment has come. If not, this thread is woken up when it comes.
    fn is_due(&self, moment: Moment, now: Duration) -> bool {
        let (reader, bytes) = match moment {
            Moment::After(at) => return at <= now,
            Moment::Client(bytes) => (self.progress[1], bytes),
            Moment::Server(bytes) => (self.progress[0], bytes),
        };
        reader.wake_at(bytes);
        reader.received() >= bytes
    }

    /// Puts a link out of order, or back.
    fn set(&self, what: &Happening, out: bool) -> Result<(), NetError> {
        match *what {
            Happening::Block { link, .. } => {
                self.relay.block(link, out);
                Ok(())
            }
            Happening::Down { link, .. } if out => self.topology.take_down(self.case, link),
            Happening::Down { link, .. } => self.topology.bring_up(self.case, link),
            _ => Ok(()),
        }
    }
}

/// Whether two outages concern the same link in the same way: then they end together, with the later one.
fn is_same_outage(one: &Happening, other: &Happening) -> bool {
    one.link() == other.link() && std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// The links that may be down for a while.
pub(super) fn downs(case: &Case) -> Vec<LinkId> {
    let down = |event: &Event| match event.what {
        Happening::Down { link, .. } => Some(link),
        _ => None,
    };
    case.events.iter().filter_map(down).collect()
}
