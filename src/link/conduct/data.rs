//! An MPTCP connection as one of its hosts sees it: what was mapped, acknowledged and ended (RFC 8684 section 3.3).

use sha2::{Digest, Sha256};

use super::announced::Announced;
use super::flow::{Flow, Lag, says};
use super::options::{Dss, Map, Mptcp};
use super::ranges::Ranges;
use super::{Passing, Wrong};
use crate::link::stage::Nanos;
use crate::observation::Breach;
use crate::payload::Payload;

/// A DATA_ACK covers everything that a subflow acknowledged this long ago, if only the host itself can delay it.
const LAG: Nanos = 150_000_000;

/// How many keys that a host offers for one connection are kept.
const OFFERED: usize = 16;

/// A connection, seen from one host.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// What is derived from the key of the host, and of its peer.
    keys: [Option<Key>; 2],
    /// The keys that the host has offered in its answers to a SYN.
    offered: Vec<u64>,
    /// Whether data arrives, or leaves, in ways that are not tracked here: without a mapping, in a SYN, after a fallback.
    blind: bool,
    /// The end of what the host has sent.
    sent: u64,
    fin: Option<u64>,
    acked: u64,
    /// Up to where it may send.
    edge: u64,
    /// The end of the window announced last: before the edge, if the window was taken back.
    window_end: u64,
    /// Whether it has, or had, several flows.
    pub shared: bool,
    /// When a backup last carried what another flow had carried, or kept, before.
    pub reinjected: Option<Nanos>,
    came: Ranges,
    came_fin: Option<u64>,
    /// What its subflows have acknowledged, and so passed on to the connection.
    passed: Ranges,
    lag: Lag,
    /// What the host has announced.
    pub announced: Announced,
    stream: Option<Payload>,
}

/// What is derived from a key (RFC 8684 section 3.1).
#[derive(Clone, Copy, Debug)]
struct Key {
    token: u32,
    /// The data sequence number of the first byte.
    base: u64,
}

impl Key {
    fn of(key: u64) -> Key {
        let hash: [u8; 32] = Sha256::digest(key.to_be_bytes()).into();
        let token = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let [.., a, b, c, d, e, f, g, h] = hash;
        Key { token, base: u64::from_be_bytes([a, b, c, d, e, f, g, h]).wrapping_add(1) }
    }
}

impl Connection {
    /// A connection of which nothing was seen yet. Delays are judged only if time is `exact`.
    pub fn new(exact: bool) -> Connection {
        Connection { lag: Lag::new(exact, LAG), ..Connection::default() }
    }

    /// Up to where the host may have given data to its flows.
    pub fn edge(&self) -> u64 {
        self.edge.max(self.sent)
    }

    /// Whether neither host has ended its data, as far as is known.
    pub fn goes_on(&self) -> bool {
        !self.blind && self.fin.is_none() && self.came_fin.is_none()
    }

    /// Takes the keys of an MP_CAPABLE: the sender's first.
    ///
    /// A server that remembers no SYN (SYN cookies) offers another key in each of its answers. The client names the one
    /// that it took, and that one counts for both (net/mptcp/subflow.c, mptcp_subflow_init_cookie_req).
    pub fn learn(&mut self, keys: &[u64], sent: bool) {
        let order = if sent { [0, 1] } else { [1, 0] };
        for (place, key) in order.into_iter().zip(keys) {
            self.keys[place].get_or_insert_with(|| Key::of(*key));
        }
        match *keys {
            [own] if sent && self.offered.len() < OFFERED => self.offered.push(own),
            [_, named] if sent => self.keys[1] = Some(Key::of(named)),
            // A middlebox may have altered a key: the host keeps its own.
            [_, named] if self.offered.contains(&named) => self.keys[0] = Some(Key::of(named)),
            _ => {}
        }
    }

    /// Whether a token is that of the key of the host, or of its peer if the host is the one that joins.
    pub fn is(&self, token: u32, sent: bool) -> bool {
        self.keys[usize::from(sent)].is_some_and(|key| key.token == token)
    }

    /// What a segment maps: the place of its payload in the data, how much of the payload is mapped, and where the data ends,
    /// if it says so. `None` if that is unknown.
    fn place(&mut self, flow: &Flow, passing: &Passing<'_>, own: bool) -> Result<Option<Place>, Wrong> {
        let length = passing.payload.len() as u64;
        let (key, around) = match own {
            true => (self.keys[0], self.sent),
            false => (self.keys[1], self.came.prefix().unwrap_or_default()),
        };
        self.blind |= passing.options.breaks || length > 0 && passing.segment.flags.syn();
        if self.blind {
            return Ok(None);
        }
        let dss = match &passing.options.mptcp {
            Some(Mptcp::Dss(dss)) => *dss,
            // It maps the first data, and is repeated in each segment of it (RFC 8684 section 3.1).
            Some(Mptcp::Capable { maps, .. }) if length > 0 => {
                let begin = flow.begin(passing.segment, own);
                let mapped = u64::from(maps.unwrap_or_default());
                let Some(begin) = begin.filter(|begin| *begin == 0 || begin + length <= mapped) else {
                    self.blind = true;
                    return Ok(None);
                };
                return Ok(Some(Place { begin, length, fin: None }));
            }
            _ => {
                self.blind |= length > 0;
                return Ok(None);
            }
        };
        let (Dss { map: Some(map), fin, .. }, Some(key)) = (dss, key) else {
            self.blind |= length > 0;
            return Ok(None);
        };
        let Map { data, subflow, length: mapped } = map;
        let Some(begin) = data.offset(key.base, around).filter(|_| mapped > 0) else {
            // An infinite mapping, or one from before the first byte.
            self.blind |= mapped == 0;
            return Ok(None);
        };
        let mapped = u64::from(mapped) - u64::from(fin);
        let end = fin.then_some(begin + mapped);
        if length == 0 {
            return Ok(Some(Place { begin, length: 0, fin: end }));
        }
        let Some(at) = flow.begin(passing.segment, own) else { return Ok(None) };
        // Counted around what the flow has sent: 32 bits wrap.
        let first = u64::from(subflow.wrapping_sub(1));
        let inside = (at as u32).wrapping_sub(first as u32);
        if u64::from(inside) + length > mapped {
            if own {
                let what = format!("{length} bytes from {at} on, mapped are {mapped} from {first} on");
                return Err(("a mapping that does not cover its segment", what));
            }
            self.blind = true;
            return Ok(None);
        }
        Ok(Some(Place { begin: begin + u64::from(inside), length, fin: end }))
    }

    /// The host sends a packet on one of its flows.
    pub fn sends(&mut self, flow: &mut Flow, passing: &Passing<'_>, in_order: bool, of: &Payload) -> Result<(), Wrong> {
        (flow.is_new, flow.has_waited) = (false, false);
        let place = self.place(flow, passing, true)?;
        if self.blind {
            return Ok(());
        }
        if let Some(Place { begin, length, fin }) = place {
            let end = begin + length;
            if length > 0 {
                (flow.is_new, flow.data) = (begin >= self.sent, begin);
                let is_beyond = end > self.edge.max(self.sent);
                flow.has_waited = end > self.window_end;
                self.sent = self.sent.max(end);
                flow.opens(self.edge.saturating_sub(begin));
                let skip = self.acked.saturating_sub(begin).min(length);
                says(&mut self.stream, begin + skip, &passing.payload[skip as usize..], of)?;
                // Data queued in one of several flows for a retransmission has opened that flow's window, before it is seen.
                if is_beyond && !self.shared {
                    return Err((
                        "data beyond MPTCP's window",
                        format!("{begin}..{end} where {} is the most", self.edge),
                    ));
                }
            }
            if let (Some(fin), Some(before)) = (fin, self.fin)
                && fin != before
            {
                return Err(("a DATA_FIN that moved", format!("from {before} to {fin}")));
            }
            self.fin = self.fin.or(fin);
            if let Some(fin) = self.fin.filter(|fin| self.sent > *fin) {
                return Err(("data behind a DATA_FIN", format!("{begin}..{end} behind {fin}")));
            }
        }
        self.acknowledges(flow, passing, in_order)
    }

    fn acknowledges(&mut self, flow: &mut Flow, passing: &Passing<'_>, in_order: bool) -> Result<(), Wrong> {
        let Some(Mptcp::Dss(Dss { ack: Some(ack), .. })) = passing.options.mptcp else { return Ok(()) };
        let (Some(key), Some(prefix)) = (self.keys[1], self.came.prefix()) else { return Ok(()) };
        let offset = ack.offset(key.base, prefix).unwrap_or_default();
        let most = prefix + u64::from(self.came_fin == Some(prefix));
        if offset > most {
            return Err(("a DATA_ACK of what never came", format!("of {offset} where {most} came")));
        }
        let before = flow.data_ack;
        flow.data_ack = before.max(offset);
        if in_order && offset < before {
            return Err(("a DATA_ACK that went back", format!("from {before} to {offset}")));
        }
        self.passes(flow);
        let Some(passed) = self.passed.prefix() else { return Ok(()) };
        self.lag.comes(passed, offset, passing.now);
        match self.lag.acknowledges(offset, passed, passing.now).filter(|_| in_order) {
            None => Ok(()),
            Some(what) => {
                self.lag.over = true;
                Err((Breach::LEAVES_OUT_DATA, what))
            }
        }
    }

    /// What a flow has acknowledged is the connection's to acknowledge: in order, nobody else keeps it.
    fn passes(&mut self, flow: &mut Flow) {
        let passed = &mut self.passed;
        let ack = flow.ack;
        flow.unpassed.retain(|[begin, end, data]| {
            if *end <= ack {
                passed.add(*data, data + (end - begin));
            }
            *end > ack
        });
    }

    /// A packet is handed to the host on one of its flows.
    pub fn receives(&mut self, flow: &mut Flow, passing: &Passing<'_>) {
        let segment = passing.segment;
        if let Ok(Some(Place { begin, length, fin })) = self.place(flow, passing, false) {
            self.came.add(begin, begin + length);
            if let Some(at) = flow.begin(segment, false).filter(|_| length > 0) {
                // A retransmission may be another copy of data that is acknowledged already.
                flow.unpassed.push([at, at + length, begin]);
            }
            self.came_fin = self.came_fin.or(fin);
        }
        let window = flow.window(segment);
        match &passing.options.mptcp {
            Some(Mptcp::Dss(Dss { ack: Some(ack), .. })) => {
                let Some(key) = self.keys[0] else { return };
                let Some(offset) = ack.offset(key.base, self.sent) else { return };
                self.acked = self.acked.max(offset.min(self.sent));
                self.announces(offset + window);
            }
            // Until data flows, the first subflow's window counts.
            _ if flow.first => self.announces(flow.acked().max(self.acked) + window),
            _ => {}
        }
    }

    fn announces(&mut self, window_end: u64) {
        self.edge = self.edge.max(window_end);
        self.window_end = window_end;
    }
}

/// Where a segment stands among the data.
struct Place {
    begin: u64,
    length: u64,
    fin: Option<u64>,
}
