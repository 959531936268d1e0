//! Backups: new data goes over them only if no other subflow works (RFC 8684 section 3.3.8), and MP_PRIO makes subflows backups.
//!
//! Data is given to a subflow some time before it leaves, and a retransmission may go over any subflow. So what counts is
//! which subflows worked when data was given, as far as packets tell.

use super::flow::{Flow, MOMENT};
use super::{Breach, Nanos, Passing, Watch, Wrong};

impl Watch {
    /// Notes an MP_PRIO. `sure`: the host has sent it, or certainly reads it.
    pub(super) fn note_priority(&mut self, number: usize, passing: &Passing<'_>, sure: bool) {
        let flow = &mut self.flows[number];
        let (Some(backup), Some(connection)) = (passing.options.prio, flow.connection) else { return };
        if !(flow.may_change && backup) {
            let edge = self.connections[connection].edge();
            flow.retired = (backup && sure && !flow.may_change).then_some((passing.now, edge));
        }
        flow.may_change = true;
    }

    /// The other subflows of a flow's connection that work and are no backups.
    fn working(&self, number: usize, now: Nanos) -> impl Iterator<Item = &Flow> {
        let of = self.flows[number].connection;
        let others = self.flows.iter().enumerate().filter(move |(other, _)| *other != number).map(|(_, flow)| flow);
        others.filter(move |other| other.connection == of && other.is_well(now) && !other.may_change)
    }

    /// Notes up to where backups may be given data now, because no other subflow works. It leaves by them even if another one
    /// works by then.
    pub(super) fn note_given_to_backups(&mut self, now: Nanos) {
        for number in 0..self.flows.len() {
            let flow = &self.flows[number];
            let connection = flow.connection.filter(|_| flow.backup && flow.is_kept());
            if let Some(connection) = connection.filter(|_| self.working(number, now).next().is_none()) {
                self.flows[number].given = self.connections[connection].edge();
            }
        }
    }

    /// New data goes over a backup only if no other subflow works (RFC 8684 section 3.3.8).
    pub(super) fn check_backup(&mut self, number: usize, passing: &Passing<'_>) -> Result<(), Wrong> {
        let flow = &mut self.flows[number];
        // A retransmission over another subflow goes on with data that still waits in the queue of the subflow in trouble, which
        // has not been on the wire before. The same holds for data that waited there for a closed window.
        let reinjects = (!flow.is_new || flow.has_waited) && !passing.payload.is_empty();
        // The timer that is behind it may use several backups at once, each for another part.
        let connection = flow.connection.map(|connection| &mut self.connections[connection]);
        if let Some(connection) = connection.filter(|_| flow.backup) {
            connection.reinjected = if reinjects { Some(passing.now) } else { connection.reinjected };
            flow.reinjects |= connection.reinjected.is_some_and(|at| passing.now - at <= MOMENT);
        }
        flow.reinjects |= reinjects;
        if flow.reinjects {
            return Ok(());
        }
        let flow = &self.flows[number];
        if !self.backups || !flow.is_new {
            return Ok(());
        }
        let length = passing.payload.len();
        let judged = flow.backup && !flow.may_change && flow.data >= flow.given;
        if judged && self.working(number, passing.now).next().is_some() {
            return Err((Breach::PREFERS, format!("{length} bytes")));
        }
        // Data in a flow's own queue still leaves by that flow after it became a backup. But data beyond the window of that
        // moment had not been given to any flow yet (net/mptcp/protocol.c, mptcp_check_allowed_size).
        let after = |(at, edge): (Nanos, u64)| {
            flow.data >= edge && self.working(number, passing.now).any(|other| other.was_there(at))
        };
        match flow.retired.filter(|retired| after(*retired)) {
            None => Ok(()),
            Some((at, edge)) => {
                let late = passing.now.saturating_sub(at) / 1_000_000;
                let what = format!("{length} bytes from {} on, {late} ms after the window ended at {edge}", flow.data);
                Err((Breach::STAYS, what))
            }
        }
    }
}
