//! One TCP flow as one of its hosts sees it: what the host sent, and what it received.

use std::net::SocketAddr;

use super::options::Mptcp;
use super::ranges::Ranges;
use super::rest::Rest;
use super::{Passing, Wrong};
use crate::link::packet::Segment;
use crate::link::stage::Nanos;
use crate::observation::Breach;
use crate::payload::Payload;

/// A flow whose packets are acknowledged within this time is well: no timer of its sender has run out, the least of which
/// is 200 ms.
const WELL: Nanos = 150_000_000;

/// A host processes packets that arrive at the same moment one by one, and may answer the first before it knows the second.
pub(super) const MOMENT: Nanos = 1_000_000;

/// An acknowledgement covers everything that arrived this long ago, if nothing else makes the host wait: none is delayed for
/// more than 200 ms (TCP_DELACK_MAX).
const LAG: Nanos = 250_000_000;

/// A flow, seen from one host.
#[derive(Debug)]
pub(super) struct Flow {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The MPTCP connection that it belongs to.
    pub connection: Option<usize>,
    /// Whether it is that connection's first.
    pub first: bool,
    /// Whether one of the hosts has made it a backup from its beginning.
    pub backup: bool,
    /// Whether an MP_PRIO was seen, which makes it a backup, or no longer one.
    pub may_change: bool,
    /// If the only such change made it a backup: when, and up to where data may have been given to this flow before.
    pub retired: Option<(Nanos, u64)>,
    /// The identifier of the peer's address.
    pub remote_id: Option<u8>,
    /// Whether the packet at hand carries data that was not sent before by any flow.
    pub is_new: bool,
    /// Whether it carries data for which the window announced last has no room: it may have waited in another flow.
    pub has_waited: bool,
    /// Whether it has carried data that another flow had sent before.
    pub reinjects: bool,
    /// Up to where it may have been given data as a backup while no other subflow worked: that leaves by its own queue.
    pub given: u64,
    /// Where in the data it stands.
    pub data: u64,
    /// Mappings of received segments that this flow has not acknowledged yet: begin and end in the flow, and the place in the
    /// data.
    pub unpassed: Vec<[u64; 3]>,
    /// The first sequence number of the host, and of its peer.
    numbers: [Option<u32>; 2],
    /// The window scales in the SYNs of the host, and of its peer.
    scales: [Option<u8>; 2],
    /// The peer's maximum segment size.
    mss: Option<u16>,
    /// The least one that the host remembers.
    pub least_mss: u16,
    /// Whether it keeps what it knows of a client in SYN cookies.
    pub cookies: bool,
    /// The end of what the host has sent.
    pub sent: u64,
    fin: Option<u64>,
    /// What its peer has selectively acknowledged.
    acked: u64,
    /// Since when nothing more was acknowledged, while data is under way.
    waits_since: Nanos,
    was_late: bool,
    /// Since when packets have come that only an established connection sends.
    established: Option<Nanos>,
    /// Whether an end or a reset was seen, either way.
    ends: bool,
    /// Whether a reset was seen, either way.
    reset: bool,
    rest: Rest,
    /// Up to where it may send.
    edge: u64,
    /// The window that counts, and the number of the packet that brought it.
    window: (u64, i64),
    /// Up to where it lets its peer send.
    lets: u64,
    /// What has come.
    came: Ranges,
    came_fin: Option<u64>,
    /// Since when it has not acknowledged what has come.
    lag: Lag,
    /// What it last acknowledged.
    pub ack: u64,
    /// What it last acknowledged for its MPTCP connection.
    pub data_ack: u64,
    stream: Option<Payload>,
}

impl Flow {
    pub fn new(local: SocketAddr, remote: SocketAddr, exact: bool) -> Flow {
        Flow {
            local,
            remote,
            connection: None,
            first: false,
            backup: false,
            may_change: false,
            retired: None,
            remote_id: None,
            is_new: false,
            has_waited: false,
            reinjects: false,
            given: 0,
            data: 0,
            unpassed: Vec::new(),
            numbers: [None; 2],
            scales: [None; 2],
            mss: None,
            least_mss: 0,
            cookies: false,
            sent: 0,
            fin: None,
            acked: 0,
            waits_since: 0,
            was_late: false,
            established: None,
            ends: false,
            reset: false,
            rest: Rest::new(exact),
            edge: 0,
            window: (0, i64::MIN),
            lets: 0,
            came: Ranges::default(),
            came_fin: None,
            lag: Lag::new(exact, LAG),
            ack: 0,
            data_ack: 0,
            stream: None,
        }
    }

    /// Whether a SYN is of another flow between the same addresses.
    pub fn is_another(&self, segment: &Segment<'_>, sent: bool) -> bool {
        let first = segment.sequence.wrapping_add(1);
        let known = self.numbers[usize::from(!sent)];
        // With SYN cookies, an answer that is sent again may have another number.
        let renumbered = segment.flags.ack() && self.established.is_none();
        known.is_some_and(|known| known != first) && !renumbered
    }

    /// The offset in the host's stream, or in its peer's, that a number stands for.
    fn offset(&self, number: u32, own: bool) -> Option<i64> {
        let base = self.numbers[usize::from(!own)]?;
        let around = if own { self.sent } else { self.came.prefix()? };
        let relative = number.wrapping_sub(base);
        Some(around as i64 + i64::from(relative.wrapping_sub(around as u32) as i32))
    }

    /// Where the payload of a segment begins, in the stream of its sender.
    pub fn begin(&self, segment: &Segment<'_>, own: bool) -> Option<u64> {
        let offset = self.offset(segment.sequence.wrapping_add(u32::from(segment.flags.syn())), own)?;
        u64::try_from(offset).ok()
    }

    /// What the peer has selectively acknowledged to the host.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Whether the peer answers in time, and both may go on.
    pub fn is_well(&self, now: Nanos) -> bool {
        let established = self.established.is_some_and(|since| now.saturating_sub(since) > MOMENT);
        established && !self.ends && !self.backup && !self.was_late && !self.waits(now)
    }

    /// Whether it could carry data before that time.
    pub fn was_there(&self, before: Nanos) -> bool {
        self.established.is_some_and(|since| since < before)
    }

    /// Whether the host has neither ended it nor seen a reset.
    pub fn is_kept(&self) -> bool {
        self.established.is_some() && self.fin.is_none() && !self.reset
    }

    /// Whether a packet of the peer is the next one in order, neither late nor a duplicate.
    pub fn is_next(&self, segment: &Segment<'_>) -> bool {
        let begin = self.begin(segment, false);
        begin.is_some() && begin == self.came.prefix()
    }

    /// An error if its sender has been silent for too long.
    pub fn check_timer(&mut self, now: Nanos) -> Result<(), Wrong> {
        let judged = self.established.is_some() && !self.ends;
        let late = if judged { self.rest.is_too_long(now) } else { None };
        late.map_or(Ok(()), |what| Err(("nothing for longer than its timer lasts", what)))
    }

    /// Whether the host has kept an acknowledgement to itself for too long.
    pub fn check_delayed_ack(&mut self, now: Nanos) -> Result<(), Wrong> {
        // A flow of MPTCP's may leave aside what is beyond the window of its connection.
        let judged = self.established.is_some() && !self.ends && self.connection.is_none();
        let late = if judged { self.lag.check_delayed_ack(now) } else { None };
        self.lag.over |= late.is_some();
        late.map_or(Ok(()), |what| Err((Breach::OWES, what)))
    }

    /// How long its sender waits for an acknowledgement at the most.
    pub fn timeout(&self) -> Nanos {
        self.rest.timeout()
    }

    fn waits(&self, now: Nanos) -> bool {
        self.sent > self.acked && now.saturating_sub(self.waits_since) > WELL
    }

    /// The host sends a packet.
    pub fn sends(&mut self, passing: &Passing<'_>, in_order: bool) -> Result<(), Wrong> {
        let Passing { segment, options, payload, now } = passing;
        let flags = segment.flags;
        self.is_new = false;
        if flags.rst() {
            (self.ends, self.reset) = (true, true);
            return Ok(());
        }
        if flags.syn() {
            // Linux takes no round trip from the handshake of a subflow that joins it (net/ipv4/tcp_minisocks.c, tcp_check_req),
            // nor does a cookie hold when it was sent (net/ipv4/syncookies.c, cookie_tcp_reqsk_init).
            let unknown = self.cookies || matches!(options.mptcp, Some(Mptcp::Join { .. }));
            if !(flags.ack() && unknown) {
                self.rest.opens(*now);
            }
            self.numbers[0] = Some(segment.sequence.wrapping_add(1));
            self.scales[0] = options.scale;
        }
        self.was_late |= self.waits(*now);
        let Some(begin) = self.begin(segment, true) else { return Ok(()) };
        let end = begin + payload.len() as u64;
        self.rest.sends(begin, end, self.sent, *now);
        if self.sent == self.acked {
            self.waits_since = *now;
        }
        let most = self.edge;
        self.is_new = end > self.sent && !payload.is_empty();
        if self.is_new {
            self.sent = end;
        }
        if flags.fin() {
            self.ends = true;
            if let Some(fin) = self.fin.filter(|fin| *fin != end) {
                return Err(("a FIN that moved", format!("from {fin} to {end}")));
            }
            self.fin = Some(end);
        }
        if let Some(fin) = self.fin.filter(|fin| self.sent > *fin) {
            return Err(("data behind a FIN", format!("{begin}..{end} behind a FIN at {fin}")));
        }
        if flags.syn() {
            self.lets = self.lets.max(segment.window.into());
            return Ok(());
        }
        if flags.ack() {
            self.acknowledges(segment, in_order, *now)?;
        }
        for [left, right] in &options.sack {
            let edges = [*left, *right].map(|edge| self.offset(edge, false));
            let [Some(left), Some(right)] = edges.map(|edge| u64::try_from(edge?).ok()) else { continue };
            // A FIN counts as a byte.
            let right = right - u64::from(self.came_fin.is_some_and(|fin| right == fin + 1));
            if left < right && !self.came.may_hold(left, right) {
                return Err(("a selective acknowledgement of what never came", format!("{left}..{right}")));
            }
        }
        // MPTCP shares one window among its flows, which is judged there (RFC 8684, section 3.3.4).
        if self.is_new && end > most && self.connection.is_none() {
            return Err(("data beyond the window", format!("{begin}..{end} where {most} is the most")));
        }
        // Where a peer names no size, Fast Open goes by one from before, or by its own (net/ipv4/tcp_output.c,
        // tcp_send_syn_data).
        if let Some(mss) = self.mss.map(|mss| mss.max(self.least_mss))
            && payload.len() > usize::from(mss)
        {
            return Err(("a segment larger than the peer takes", format!("{} bytes of {mss}", payload.len())));
        }
        Ok(())
    }

    fn acknowledges(&mut self, segment: &Segment<'_>, in_order: bool, now: Nanos) -> Result<(), Wrong> {
        let (Some(offset), Some(prefix)) = (self.offset(segment.acknowledgement, false), self.came.prefix()) else {
            return Ok(());
        };
        let offset = u64::try_from(offset).unwrap_or_default();
        let most = prefix + u64::from(self.came_fin == Some(prefix));
        if offset > most {
            return Err(("an acknowledgement of what never came", format!("of {offset} where {most} came")));
        }
        let before = self.ack;
        self.ack = before.max(offset);
        if in_order && offset < before {
            return Err(("an acknowledgement that went back", format!("from {before} to {offset}")));
        }
        let scale = if self.scales[1].is_some() { self.scales[0].unwrap_or(0) } else { 0 };
        let lets = offset + (u64::from(segment.window) << scale);
        // Who takes back what it let its peer send has no memory left for it; and MPTCP counts its window otherwise.
        self.lag.over |= lets + (1 << scale) <= self.lets || self.connection.is_some();
        self.lets = self.lets.max(lets);
        match self.lag.acknowledges(offset, prefix, now) {
            Some(what) => Err((Breach::LEAVES_OUT, what)),
            None => Ok(()),
        }
    }

    /// The bytes of a plain TCP flow are those of the endpoint's stream.
    pub fn says(&mut self, passing: &Passing<'_>, of: &Payload) -> Result<(), Wrong> {
        let Some(begin) = self.begin(passing.segment, true) else { return Ok(()) };
        // Probes of a window carry what is acknowledged already, or nothing of worth.
        let skip = (self.acked.saturating_sub(begin) as usize).min(passing.payload.len());
        says(&mut self.stream, begin + skip as u64, &passing.payload[skip..], of)
    }

    /// A packet is handed to the host.
    pub fn receives(&mut self, passing: &Passing<'_>) {
        let Passing { segment, options, payload, now } = passing;
        let flags = segment.flags;
        if flags.rst() {
            (self.ends, self.reset) = (true, true);
            return;
        }
        if flags.syn() {
            self.numbers[1] = Some(segment.sequence.wrapping_add(1));
            self.scales[1] = options.scale;
            self.mss = options.mss.or(self.mss);
            self.edge = self.edge.max(segment.window.into());
        }
        self.was_late |= self.waits(*now);
        if !flags.syn() {
            self.established.get_or_insert(*now);
        }
        if let Some(begin) = self.begin(segment, false) {
            let end = begin + payload.len() as u64;
            self.came.add(begin, end);
            // What it did not ask for it may leave aside: data in a SYN, or beyond its window.
            self.lag.over |= end > self.lets && !payload.is_empty();
            self.lag.comes(self.came.prefix().unwrap_or_default(), self.ack, *now);
            if flags.fin() {
                self.ends = true;
                self.came_fin = Some(end);
            }
        }
        if let Some(offset) = self.offset(segment.acknowledgement, true).filter(|_| flags.ack())
            && let Ok(offset) = u64::try_from(offset)
        {
            let window = self.announced(segment);
            let number = self.offset(segment.sequence, false).unwrap_or_default();
            // RFC 9293, section 3.10.7.4; a smaller window in a packet that is otherwise no news does not count on Linux.
            let is_news = offset > self.acked || number > self.window.1;
            if is_news || number == self.window.1 && (window > self.window.0 || window == 0) {
                self.window = (window, number);
            }
            if offset > self.acked {
                (self.acked, self.waits_since) = (offset.min(self.sent), *now);
            }
            self.edge = self.edge.max(offset + window);
            self.rest.hears(self.acked, *now);
        }
    }

    /// The window that counts once a packet has come: the one that it brings, or an older one.
    pub fn window(&self, segment: &Segment<'_>) -> u64 {
        self.announced(segment).max(self.window.0)
    }

    /// Linux treats a flow's window as at least as large as what is left of its connection's, until the peer announces
    /// another one (net/mptcp/protocol.c, mptcp_check_allowed_size).
    pub fn opens(&mut self, window: u64) {
        self.window.0 = self.window.0.max(window);
    }

    /// The window that a packet of the peer announces.
    fn announced(&self, segment: &Segment<'_>) -> u64 {
        let scale = match self.scales {
            [Some(_), Some(scale)] if !segment.flags.syn() => scale,
            _ => 0,
        };
        u64::from(segment.window) << scale
    }
}

/// How far acknowledgements lag behind what has come.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When the first came that has not, and up to where.
    since: Option<(Nanos, u64)>,
    /// How long that may take.
    most: Nanos,
    /// Whether it is not to be judged any more.
    pub over: bool,
}

impl Lag {
    /// Nothing has come. Only where time is `exact` it is judged.
    pub fn new(exact: bool, most: Nanos) -> Lag {
        Lag { over: !exact, most, since: None }
    }

    /// All up to `prefix` has come, of which `acked` is acknowledged.
    pub fn comes(&mut self, prefix: u64, acked: u64, now: Nanos) {
        if prefix > acked {
            self.since.get_or_insert((now, prefix));
        }
    }

    /// What came long ago and is not acknowledged.
    pub fn check_delayed_ack(&self, now: Nanos) -> Option<String> {
        let (since, up_to) = self.since.filter(|_| !self.over)?;
        let late = now.saturating_sub(since);
        (late > self.most).then(|| format!("{} ms after {up_to} had come", late / 1_000_000))
    }

    /// `ack` is acknowledged of what has come up to `prefix`: what it leaves out that came long ago.
    pub fn acknowledges(&mut self, ack: u64, prefix: u64, now: Nanos) -> Option<String> {
        let (since, up_to) = self.since.filter(|_| !self.over)?;
        if ack >= up_to {
            self.since = (prefix > ack).then_some((now, prefix));
            return None;
        }
        let late = now.saturating_sub(since);
        (late > self.most).then(|| format!("of {ack}, {} ms after {up_to} had come", late / 1_000_000))
    }
}

/// Whether the bytes from `begin` on are those of the stream, once it is known which stream it is. As long as they match no
/// stream, it is something else, which is not judged.
pub(super) fn says(stream: &mut Option<Payload>, begin: u64, bytes: &[u8], of: &Payload) -> Result<(), Wrong> {
    if bytes.is_empty() {
        return Ok(());
    }
    let Some(stream) = stream else {
        let found = of.locate(bytes).filter(|found| found.offset == begin && found.stream.sender == of.stream().sender);
        *stream = found.map(|found| of.of(found.stream));
        return Ok(());
    };
    match stream.agreement(begin, bytes) {
        all if all == bytes.len() => Ok(()),
        right => {
            let at = begin + right as u64;
            Err((
                "bytes that are not those of the stream",
                format!("from {at} on, in {begin}..{}", begin + bytes.len() as u64),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_well_a_moment_after_it_has_come_up() {
        let address = "10.0.1.1:1".parse().unwrap();
        let flow = Flow { established: Some(5), ..Flow::new(address, address, true) };
        assert_eq!([5, 5 + MOMENT, 6 + MOMENT].map(|now| flow.is_well(now)), [false, false, true]);
        assert!(!Flow::new(address, address, true).is_well(WELL));
    }
}
