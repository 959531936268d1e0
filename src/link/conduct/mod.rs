//! The conduct of a host, judged by its packets: whether it follows the protocols, whatever becomes of the transfer.
//!
//! A `Watch` stands at one endpoint's host, where all links that lead to the other one begin. It sees the host's packets
//! before anything is done to them, and packets for the host after everything was done to them. So a host is held to what
//! it has received and nothing else; losses, delays and middleboxes on the way make no difference. Each check errs on the
//! lenient side if the host may know less, or more, than was seen.
//!
//! Sources: RFC 9293 (TCP), RFC 7323 (window scale), RFC 2018 and 2883 (SACK), RFC 8684 (MPTCP).

mod announced;
mod backups;
mod data;
mod flow;
mod options;
mod ranges;
mod rest;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::case::{Case, Direction, Happening, Host, Impairments, LinkId, SocketOption, Syncookies};
use crate::observation::Breach;
use crate::payload::{Payload, Sender, StreamId};

use super::identity::MAX_FLOWS;
use super::packet::{ETHERNET_HEADER, Segment, View, checksum_holds};
use super::stage::Nanos;
use data::Connection;
use flow::Flow;
use options::{Mptcp, Options};

/// The least segment sizes that a SYN cookie can hold, over IPv4 and IPv6: a smaller one becomes this (net/ipv4/syncookies.c and
/// net/ipv6/syncookies.c, msstab).
const IN_COOKIES: [u16; 2] = [536, 1280 - 60];

/// How many breaches of one host are kept: the first ones matter.
const KEPT: usize = 8;

/// The conduct of both endpoints' hosts.
#[derive(Debug, Default)]
pub struct Conduct {
    watches: Vec<Watch>,
    /// Whether packets may arrive damaged.
    damaged: bool,
}

/// The conduct of one endpoint's host.
#[derive(Debug)]
struct Watch {
    host: Host,
    side: Sender,
    /// Whether all links to the other endpoint are seen.
    whole: bool,
    /// Whether the host's packets are seen in the order in which it made them.
    in_order: bool,
    /// Whether time is virtual, so that nothing but the host itself makes it late.
    exact: bool,
    /// Whether its use of backups is judged.
    backups: bool,
    /// Whether it is judged by what it announces again.
    announces: bool,
    /// Whether it keeps what it knows of a client in SYN cookies.
    cookies: bool,
    /// Whether a DATA_ACK is compared with the data that has come: not with checksums, which need whole mappings.
    judges_acks: bool,
    payload: Payload,
    flows: Vec<Flow>,
    connections: Vec<Connection>,
    breaches: Vec<(LinkId, Breach)>,
}

/// A segment that leaves a host or arrives at it.
pub(super) struct Passing<'a> {
    segment: &'a Segment<'a>,
    options: Options,
    /// What it carries.
    payload: &'a [u8],
    now: Nanos,
}

/// What was wrong: first what it looks like, without numbers, then the numbers.
pub(super) type Wrong = (&'static str, String);

impl Conduct {
    /// For a case of which these links are seen. `exact`: in virtual time.
    pub fn of(case: &Case, seen: &[LinkId], exact: bool) -> Conduct {
        if case.is_loopback() {
            return Conduct::default();
        }
        let path = case.path();
        let corks = [&case.client, &case.server]
            .iter()
            .any(|end| end.options.cork || end.smallest(SocketOption::TcpCork).is_some());
        // A device that is down takes no packets, however right the host is.
        let exact = exact && case.events.iter().all(|event| event.what.outage().is_none());
        let checks = case.hosts.values().any(|knobs| knobs.mptcp_checksum);
        let judges_acks = exact && !checks;
        // The use of backups is judged only in virtual time: in real time, packets of several links are not seen in the order
        // in which the host sent or received them. A corked subflow makes no progress, so MPTCP's own timer turns to a backup.
        // With checksums MPTCP retransmits whole mappings, including new data in them (net/mptcp/protocol.c, __mptcp_retrans).
        // And a subflow whose address is removed ends before its packets show it.
        let stay = case.events.iter().all(|event| matches!(event.what, Happening::Backup { .. }));
        let backups = exact && !corks && !checks && stay;
        let watch = |(side, host): (Sender, Host)| {
            let mut doors = path.iter().filter(|link| link.left() == host || link.right() == host);
            let whole = doors.all(|link| seen.contains(link));
            let payload = Payload::new(case.seed, StreamId { sender: side, connection: 0 });
            // With two CPUs, two packets may be sent at once.
            let in_order = case.cpus == 1;
            // Where nothing happens to its addresses, and the kernel knows when.
            let again = case.knobs(host).add_addr_timeout != Some(0) && !case.knobs(host).pm.userspace;
            let announces = exact && again && case.events.is_empty();
            let (flows, connections, breaches) = Default::default();
            Watch {
                host,
                side,
                whole,
                in_order,
                exact,
                judges_acks,
                backups,
                announces,
                cookies: case.knobs(host).syncookies == Syncookies::Always,
                payload,
                flows,
                connections,
                breaches,
            }
        };
        let ends = [(Sender::Client, case.client.host), (Sender::Server, case.server.host)];
        let watches = ends.map(watch).into_iter().filter(|watch| watch.whole).collect();
        // Damage on any link counts, not only on the last one.
        let damages = |impairments: &Impairments| impairments.corrupt > 0.0 || impairments.flips();
        let damaged = case.links.values().any(|link| Direction::BOTH.iter().any(|way| damages(link.impairments(*way))));
        Conduct { watches, damaged }
    }

    /// A frame enters a link, as its sender made it or as the previous link left it.
    pub fn enters(&mut self, link: LinkId, direction: Direction, now: Nanos, frame: &[u8]) {
        let from = if direction == Direction::Forward { link.left() } else { link.right() };
        if let Some(watch) = self.watches.iter_mut().find(|watch| watch.host == from) {
            watch.pass(link, now, frame, Watch::sends);
        }
    }

    /// A frame is about to be handed to the host at the end of a link.
    pub fn leaves(&mut self, link: LinkId, direction: Direction, now: Nanos, frame: &[u8]) {
        let to = if direction == Direction::Forward { link.right() } else { link.left() };
        if let Some(watch) = self.watches.iter_mut().find(|watch| watch.host == to)
            && (!self.damaged || is_sound(frame))
        {
            watch.pass(link, now, frame, Watch::receives);
        }
    }

    /// The first breaches that were seen, each with its link.
    pub fn finish(self) -> Vec<(LinkId, Breach)> {
        self.watches.into_iter().flat_map(|watch| watch.breaches).collect()
    }
}

impl Watch {
    fn pass(
        &mut self,
        link: LinkId,
        now: Nanos,
        frame: &[u8],
        look: fn(&mut Watch, &Passing<'_>) -> Result<(), Wrong>,
    ) {
        let Some(segment) = View::of(frame).segment else { return };
        let Some(payload) = payload(frame, &segment) else { return };
        let options = Options::of(segment.options);
        let passing = Passing { segment: &segment, options, payload, now };
        for number in 0..self.flows.len() {
            let flow = &mut self.flows[number];
            if let Err(wrong) = flow.check_timer(now).and_then(|()| flow.check_delayed_ack(now)) {
                let (local, remote) = (self.flows[number].local, self.flows[number].remote);
                self.keep(link, now, format!("{local}>{remote}"), wrong);
            }
        }
        if self.announces
            && let Err((flow, wrong)) = self.check_announcements(now)
        {
            self.keep(link, now, flow, wrong);
        }
        if let Err(wrong) = look(self, &passing) {
            self.keep(link, now, format!("{}>{}", segment.source, segment.destination), wrong);
        }
        if self.backups {
            self.note_given_to_backups(now);
        }
    }

    fn keep(&mut self, link: LinkId, now: Nanos, flow: String, (looks, what): Wrong) {
        if self.breaches.len() < KEPT {
            let at = std::time::Duration::from_nanos(now);
            self.breaches.push((link, Breach { at, by: self.side, flow, looks: looks.to_owned(), what }));
        }
    }

    /// The flow between these addresses.
    fn flow(&self, local: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.flows.iter().rposition(|flow| flow.local == local && flow.remote == remote)
    }

    /// The flow that a segment belongs to. A SYN with a new sequence number begins one.
    fn flow_of(&mut self, passing: &Passing<'_>, sent: bool) -> Option<usize> {
        let segment = passing.segment;
        let (local, remote) = match sent {
            true => (segment.source, segment.destination),
            false => (segment.destination, segment.source),
        };
        let known = self.flow(local, remote);
        if !segment.flags.syn() || segment.flags.rst() {
            return known;
        }
        let number = known.filter(|number| !self.flows[*number].is_another(segment, sent));
        if number.is_none() && self.flows.len() < MAX_FLOWS {
            let least_mss = if self.cookies { IN_COOKIES[usize::from(local.is_ipv6())] } else { 0 };
            let mut flow = Flow::new(local, remote, self.exact);
            (flow.least_mss, flow.cookies) = (least_mss, self.cookies);
            self.flows.push(flow);
            return Some(self.flows.len() - 1);
        }
        number
    }

    /// A packet that the host sends.
    fn sends(&mut self, passing: &Passing<'_>) -> Result<(), Wrong> {
        let Some(number) = self.flow_of(passing, true) else { return Ok(()) };
        let flow = &mut self.flows[number];
        flow.sends(passing, self.in_order)?;
        self.join(number, passing, true);
        let flow = &mut self.flows[number];
        match flow.connection {
            None => flow.says(passing, &self.payload),
            Some(connection) => {
                self.connections[connection].announced.takes(&passing.options, true, passing.now);
                self.connections[connection].sends(flow, passing, self.in_order, &self.payload)?;
                self.note_priority(number, passing, true);
                self.check_backup(number, passing)
            }
        }
    }

    /// A packet that is handed to the host.
    fn receives(&mut self, passing: &Passing<'_>) -> Result<(), Wrong> {
        let Some(number) = self.flow_of(passing, false) else { return Ok(()) };
        let is_next = self.flows[number].is_next(passing.segment);
        self.flows[number].receives(passing);
        self.join(number, passing, false);
        let flow = &mut self.flows[number];
        let Some(connection) = flow.connection else { return Ok(()) };
        self.connections[connection].announced.takes(&passing.options, false, passing.now);
        self.connections[connection].receives(flow, passing);
        self.note_priority(number, passing, is_next);
        if is_next { self.check_removed_address(connection, passing) } else { Ok(()) }
    }

    /// What the host has announced on its connections is heard, or announced again.
    fn check_announcements(&mut self, now: Nanos) -> Result<(), (String, Wrong)> {
        for (number, connection) in self.connections.iter_mut().enumerate().filter(|(_, known)| known.goes_on()) {
            let flows = || self.flows.iter().filter(|flow| flow.connection == Some(number));
            let timeout = flows().map(Flow::timeout).max().unwrap_or_default();
            if let (Some(what), Some(flow)) = (connection.announced.is_too_late(timeout, now), flows().next()) {
                return Err((format!("{}>{}", flow.local, flow.remote), (Breach::UNHEARD, what)));
            }
        }
        Ok(())
    }

    /// A host that receives a REMOVE_ADDR closes its subflows to that address (RFC 8684 section 3.4.2). If it keeps one, its
    /// counters decide whether it heeded the option, because the peer may have closed the subflow itself.
    fn check_removed_address(&self, connection: usize, passing: &Passing<'_>) -> Result<(), Wrong> {
        let removed = &passing.options.removed;
        let theirs = |flow: &&Flow| {
            // Kernels do not agree on an identifier for the first address.
            let id = flow.remote_id.filter(|id| *id != 0);
            flow.connection == Some(connection) && flow.is_kept() && id.is_some_and(|id| removed.contains(&id))
        };
        let flow = self.flows.iter().find(theirs).filter(|_| self.connections[connection].goes_on());
        flow.map_or(Ok(()), |flow| Err((Breach::KEEPS, format!("{}>{}", flow.local, flow.remote))))
    }

    /// Finds out which MPTCP connection a flow belongs to.
    fn join(&mut self, number: usize, passing: &Passing<'_>, sent: bool) {
        let flow = &mut self.flows[number];
        match &passing.options.mptcp {
            Some(Mptcp::Capable { version: 1, keys, .. }) => {
                let connection = *flow.connection.get_or_insert_with(|| {
                    self.connections.push(Connection::new(self.judges_acks));
                    self.connections.len() - 1
                });
                flow.first = true;
                // The sender's own key comes first.
                let connection = &mut self.connections[connection];
                connection.learn(keys, sent);
            }
            Some(Mptcp::Join { token, backup, id }) => {
                if !sent {
                    flow.remote_id = flow.remote_id.or(*id);
                }
                // The token comes from the key of the host that receives the SYN.
                let known = token.and_then(|token| self.connections.iter().rposition(|known| known.is(token, sent)));
                if let Some(known) = known.filter(|_| flow.connection.is_none()) {
                    self.connections[known].shared = true;
                    flow.connection = Some(known);
                }
                flow.backup |= *backup && passing.segment.flags.syn();
            }
            _ => {}
        }
    }
}

/// Whether the checksums of a frame are right, that of an IPv4 header among them.
fn is_sound(frame: &[u8]) -> bool {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    let version = packet.first().map_or(0, |first| first >> 4);
    let header = packet.first().and_then(|first| packet.get(..usize::from(first & 0xf) * 4)).unwrap_or_default();
    let words = header.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    // The sum of one's complement, its own checksum included, is all ones.
    let sum: u32 = words.sum();
    let is_right = version != 4 || (sum & 0xffff) + (sum >> 16) == 0xffff;
    is_right && checksum_holds(frame)
}

/// What a segment carries, where the whole frame is there.
fn payload<'a>(frame: &'a [u8], segment: &Segment<'_>) -> Option<&'a [u8]> {
    let headers = if segment.source.is_ipv4() { usize::from(frame[ETHERNET_HEADER] & 0xf) * 4 } else { 40 };
    let start = ETHERNET_HEADER + headers + 20 + segment.options.len();
    frame.get(start..start + segment.payload as usize)
}
