//! The ranges of everything in a case.
//!
//! A case outside of them is no test of a transport: it asks for what the kernel refuses, or takes for ever. Files are
//! checked when they are read; what the generators draw, and every step towards a simpler case, stays within.

pub(super) mod netem;

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    Action, Address, Case, Chunks, Direction, Endpoint, FORMAT, Family, Happening, Host, Impairments, Jitter, Knobs,
    LinkId, Loss, MAX_CARRIAGES, MAX_PATHS, Merge, Moment, PathManager, Pattern, PmEndpoint, Rule, SocketOptions,
    Topology,
};

/// The most bytes of one direction: 1 GiB.
pub const MAX_PAYLOAD: u64 = 1 << 30;
/// The most bytes of one direction that are sent from a file in memory: 256 MiB.
pub const MAX_FILE: u64 = 256 << 20;
/// The most bytes of one call: what an endpoint's buffer holds.
pub const MAX_CHUNK: u32 = 64 << 10;
/// The most pauses of one stream at one end.
pub const MAX_PAUSES: usize = 64;
/// The longest all rests of one stream at one end may take together.
pub const MAX_REST: Duration = Duration::from_secs(60);
/// The most refused connects.
pub const MAX_REFUSALS: u8 = 16;
/// The most connections of a case, one after the other.
pub const MAX_ROUNDS: u8 = 16;
/// The most changes of socket options at one end.
pub const MAX_CHANGES: usize = 64;
/// The most CPUs of a case.
pub const MAX_CPUS: u8 = 2;
/// The largest socket buffer, and the largest maximum of `tcp_rmem` and `tcp_wmem`: 64 MiB.
pub const MAX_BUFFER: u32 = 64 << 20;
/// The largest SO_RCVLOWAT.
pub const MAX_RCVLOWAT: u32 = 64 << 10;
/// The values of TCP_MAXSEG that the kernel takes (`TCP_MIN_MSS` to `MAX_TCP_WINDOW`, net/ipv4/tcp.c).
pub const MAXSEG: RangeInclusive<u16> = 88..=32_767;
/// The MTU of a link: from the least that IPv6 works with (RFC 8200, section 5) to a jumbo frame.
pub const MTU: RangeInclusive<u16> = 1280..=9000;
/// The longest delay, jitter, and delay of a single packet.
pub const MAX_DELAY: Duration = Duration::from_secs(10);
/// The longest that a segment waits to be merged with the next one.
pub const MAX_HELD: Duration = Duration::from_millis(100);
/// The latest end of an outage.
pub const MAX_OUTAGE: Duration = Duration::from_secs(60);
/// The most outages of one direction of a link.
pub const MAX_OUTAGES: usize = 64;
/// The longest queue of a limited rate, in packets.
pub const MAX_QUEUE: u32 = 100_000;
/// The highest limit of a path manager (MPTCP_PM_ADDR_MAX, net/mptcp/pm_kernel.c).
pub const MAX_PM_LIMIT: u8 = 8;
/// The most events.
pub const MAX_EVENTS: usize = 64;
/// The most endpoints of a path manager.
pub const MAX_PM_ENDPOINTS: usize = 8;
/// How long the name of a scheduler is, with a zero at its end (MPTCP_SCHED_NAME_MAX, include/net/mptcp.h).
const SCHEDULER_NAME: usize = 16;
/// The most rules of one direction of a link.
pub const MAX_RULES: usize = 16;
/// The most packets that a rule passes over, or acts on where it is counted.
pub const MAX_SKIP: u32 = 1 << 20;
/// The most packets of the stream that a rule takes.
pub const MAX_TAKEN: u32 = 6;
/// The most single faults of one direction of a link.
pub const MAX_FAULTS: usize = 10_000;

/// A value out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is, as the case file names it: `links.ns2-ns3.forward.loss.independent`; elements of lists by their
    /// number from 0: `client.write.pauses.0.at`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.what)
    }
}

impl Case {
    /// Checks that everything is within its range.
    ///
    /// # Errors
    /// Every value that is not, in the order of the file.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut check = Check { problems: Vec::new() };
        check.case(self);
        if check.problems.is_empty() { Ok(()) } else { Err(check.problems) }
    }
}

/// Collects problems.
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn must(&mut self, holds: bool, field: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(Problem { field: field.to_owned(), what: what() });
        }
    }

    fn within<T: PartialOrd + Display>(&mut self, field: &str, value: T, range: RangeInclusive<T>) {
        let holds = range.contains(&value);
        self.must(holds, field, || format!("is {value}: must be between {} and {}", range.start(), range.end()));
    }

    fn probability(&mut self, field: &str, value: f64) {
        self.within(field, value, 0.0..=1.0);
    }

    fn lasts(&mut self, field: &str, value: Duration, most: Duration) {
        self.must(value <= most, field, || format!("is {}: must be at most {}", show(value), show(most)));
    }

    fn count(&mut self, field: &str, count: usize, most: usize) {
        self.must(count <= most, field, || format!("has {count} entries: must have at most {most}"));
    }

    fn case(&mut self, case: &Case) {
        self.must(case.format == FORMAT, "format", || format!("is {}: must be {FORMAT}", case.format));
        self.within("refusals", case.refusals, 0..=MAX_REFUSALS);
        self.within("cpus", case.cpus, 1..=MAX_CPUS);
        self.within("rounds.count", case.rounds.count, 1..=MAX_ROUNDS);
        if let Some(leave) = case.ending.leave {
            self.within("ending.leave.sent", leave.sent, 0..=MAX_PAYLOAD);
            self.within("ending.leave.received", leave.received, 0..=MAX_PAYLOAD);
        }
        self.lasts("ending.pause", case.ending.pause, MAX_REST);
        self.endpoint("client", &case.client, case.server.payload);
        self.endpoint("server", &case.server, case.client.payload);
        self.topology(case);
        self.must(case.address != Address::Beyond || case.beyond().is_some(), "address", || {
            format!("is beyond: {} must be on the way from {} to another host", case.server.host, case.client.host)
        });
        for (host, knobs) in &case.hosts {
            let Some(name) = &knobs.scheduler else { continue };
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            let fits = (1..SCHEDULER_NAME).contains(&name.len()) && name.chars().all(plain);
            self.must(fits, &format!("hosts.{host}.scheduler"), || {
                format!("is {name:?}: must be 1 to {} letters, digits, - _ .", SCHEDULER_NAME - 1)
            });
        }
        self.must(!case.bound || case.address != Address::Beyond, "bound", || {
            "must not be with the address of another host: a server that stands in for that listens on all".to_owned()
        });
        self.events(case);
        for (host, knobs) in &case.hosts {
            self.knobs(&format!("hosts.{host}"), knobs);
            self.path_manager(&format!("hosts.{host}.pm"), *host, &knobs.pm, case);
        }
        for (id, link) in &case.links {
            self.must(case.topology.links().contains(id), &format!("links.{id}"), || {
                format!("is no link of this topology: it has {}", names(case.topology.links()))
            });
            self.within(&format!("links.{id}.mtu"), link.mtu, MTU);
            for direction in Direction::BOTH {
                self.impairments(&format!("links.{id}.{direction}"), link.impairments(direction));
                let fits = !link.impairments(direction).merges() || case.has_one_mtu();
                self.must(fits, &format!("links.{id}.{direction}.rules"), || {
                    "merge segments, which needs links of one MTU: what ICMP says of a packet too big would be about none that \
                     its sender knows"
                        .to_owned()
                });
                let holds = link.impairments(direction).renumber == 0 || case.has_one_mtu();
                self.must(holds, &format!("links.{id}.{direction}.renumber"), || {
                    "needs links of one MTU: what ICMP says of a packet too big is not renumbered, so its sender would \
                     never know"
                        .to_owned()
                });
            }
        }
        self.netem(case);
    }

    fn events(&mut self, case: &Case) {
        self.count("events", case.events.len(), MAX_EVENTS);
        for (nth, event) in case.events.iter().enumerate() {
            let at = format!("events.{nth}");
            match event.when {
                Moment::Client(bytes) => self.within(&format!("{at}.when.client"), bytes, 0..=MAX_PAYLOAD),
                Moment::Server(bytes) => self.within(&format!("{at}.when.server"), bytes, 0..=MAX_PAYLOAD),
                Moment::After(time) => self.lasts(&format!("{at}.when.after"), time, MAX_OUTAGE),
            }
            if let Some(lasts) = event.what.outage() {
                self.lasts(&format!("{at}.do"), lasts, MAX_OUTAGE);
            }
            self.happening(&format!("{at}.do"), case, &event.what);
            if let Happening::Add { host, endpoint } = event.what {
                self.pm_endpoint(&format!("{at}.do.add.endpoint"), host, &endpoint, case);
            }
        }
    }

    fn happening(&mut self, at: &str, case: &Case, what: &Happening) {
        let (ways, links) = (case.topology.ways(), case.topology.links());
        let (first, further) = (ways.first(), ways.get(1..).unwrap_or_default());
        if let Some(link) = what.link() {
            let there = |host: Host| links.contains(&link) && (link.left() == host || link.right() == host);
            let ours = match (what, what.host()) {
                (Happening::Down { .. }, _) => ways.contains(&link),
                // The first path of a server is that of all subflows that nobody announced anything for.
                (Happening::Remove { .. } | Happening::Destroy { .. }, Some(host)) => {
                    further.contains(&link) || (Some(&link) == first && host == case.client.host)
                }
                (Happening::Fullmesh { .. }, Some(host)) => further.contains(&link) && there(host),
                (_, None) => links.contains(&link),
                (_, Some(host)) => there(host),
            };
            self.must(ours, at, || format!("is about {link}: that cannot be in this topology"));
        }
        if let Happening::Flush { host } | Happening::Destroy { host, .. } = *what {
            self.must(case.topology.hosts().contains(&host), at, || format!("is about {host}: it is not there"));
        }
        if let Happening::Destroy { host, .. } = *what {
            self.must(case.knobs(host).pm.userspace, at, || {
                format!("destroys a subflow: hosts.{host}.pm.userspace must be true for that")
            });
        }
    }

    fn topology(&mut self, case: &Case) {
        if let Topology::Parallel(paths) = case.topology {
            self.within("topology.parallel", paths, 1..=MAX_PATHS);
        }
        if let Some((client, server)) = case.topology.ends() {
            for (name, at, wanted) in [("client", case.client.host, client), ("server", case.server.host, server)] {
                self.must(at == wanted, &format!("{name}.host"), || {
                    format!("is {at}: must be {wanted} in this topology")
                });
            }
        }
    }

    fn path_manager(&mut self, at: &str, host: Host, pm: &PathManager, case: &Case) {
        for (name, limit) in [("subflows", pm.subflows), ("accepted", pm.accepted)] {
            if let Some(limit) = limit {
                self.within(&format!("{at}.{name}"), limit, 0..=MAX_PM_LIMIT);
            }
        }
        self.count(&format!("{at}.endpoints"), pm.endpoints.len(), MAX_PM_ENDPOINTS);
        for (nth, endpoint) in pm.endpoints.iter().enumerate() {
            let at = format!("{at}.endpoints.{nth}");
            self.pm_endpoint(&at, host, endpoint, case);
            let others = &pm.endpoints[..nth];
            let once = others.iter().all(|other| other.link != endpoint.link);
            self.must(once, &format!("{at}.link"), || "is that of an endpoint before it".to_owned());
            let taken = endpoint.id.is_some() && others.iter().any(|other| other.id == endpoint.id);
            self.must(!taken, &format!("{at}.id"), || "is that of an endpoint before it".to_owned());
        }
    }

    /// What the kernel takes: net/mptcp/pm_kernel.c, mptcp_pm_nl_add_addr_doit.
    fn pm_endpoint(&mut self, at: &str, host: Host, endpoint: &PmEndpoint, case: &Case) {
        let PmEndpoint { link, signal, subflow, fullmesh, other_family, port, id, .. } = *endpoint;
        let ours = case.topology.links().contains(&link) && (link.left() == host || link.right() == host);
        self.must(ours, &format!("{at}.link"), || format!("is {link}: {host} is not at that link of this topology"));
        self.must(!other_family || case.family != Family::V4, &format!("{at}.other_family"), || {
            "needs IPv6 sockets, which take IPv4 as well: family v6 or v4mapped".to_owned()
        });
        self.must(!(signal && fullmesh), &format!("{at}.fullmesh"), || "must not be with signal".to_owned());
        if let Some(port) = port {
            self.within(&format!("{at}.port"), port, 1..=u16::MAX);
            self.must(signal && !subflow, &format!("{at}.port"), || "must be with signal, without subflow".to_owned());
        }
        if let Some(id) = id {
            self.within(&format!("{at}.id"), id, 1..=u8::MAX);
        }
    }

    fn endpoint(&mut self, at: &str, endpoint: &Endpoint, incoming: u64) {
        self.within(&format!("{at}.payload"), endpoint.payload, 0..=MAX_PAYLOAD);
        self.must(!endpoint.io.send.is_from_file() || endpoint.payload <= MAX_FILE, &format!("{at}.io.send"), || {
            format!("is {}, for {} bytes: must be for at most {MAX_FILE}", endpoint.io.send, endpoint.payload)
        });
        self.chunks(&format!("{at}.write"), &endpoint.write, endpoint.payload);
        self.chunks(&format!("{at}.read"), &endpoint.read, incoming);
        self.options(&format!("{at}.options"), &endpoint.options);
        self.count(&format!("{at}.changes"), endpoint.changes.len(), MAX_CHANGES);
        for (nth, change) in endpoint.changes.iter().enumerate() {
            self.within(&format!("{at}.changes.{nth}.at"), change.at, 0..=MAX_PAYLOAD);
            self.within(&format!("{at}.changes.{nth}.value"), change.value, change.option.range());
        }
    }

    fn chunks(&mut self, at: &str, chunks: &Chunks, bytes: u64) {
        let pattern = format!("{at}.pattern");
        let size = 1..=MAX_CHUNK;
        match chunks.pattern {
            Pattern::Whole => {}
            Pattern::Fixed(bytes) => self.within(&format!("{pattern}.fixed"), bytes, size),
            Pattern::Uniform { min, max } => {
                self.within(&format!("{pattern}.uniform.min"), min, size.clone());
                self.within(&format!("{pattern}.uniform.max"), max, size);
                self.must(min <= max, &format!("{pattern}.uniform.min"), || {
                    format!("is {min}: must not be above max, which is {max}")
                });
            }
            Pattern::PowersOfTwo { max } => {
                let field = format!("{pattern}.powers-of-two.max");
                self.within(&field, max, size);
                self.must(max.is_power_of_two(), &field, || format!("is {max}: must be a power of two"));
            }
            Pattern::Dribble { bytes } => {
                self.within(&format!("{pattern}.dribble.bytes"), u64::from(bytes), 1..=MAX_PAYLOAD);
            }
            Pattern::Bursts { chunk, every, rest } => {
                self.within(&format!("{pattern}.bursts.chunk"), chunk, size);
                self.within(&format!("{pattern}.bursts.every"), u64::from(every), 1..=MAX_PAYLOAD);
                let rests = bytes / u64::from(every.max(1));
                let total = rest.saturating_mul(u32::try_from(rests).unwrap_or(u32::MAX));
                self.must(rest <= MAX_REST && total <= MAX_REST, &format!("{pattern}.bursts.rest"), || {
                    format!("is {}, {rests} times: all rests must take at most {}", show(rest), show(MAX_REST))
                });
            }
            Pattern::Around { unit } => self.within(&format!("{pattern}.around.unit"), unit, size),
        }
        self.pauses(&format!("{at}.pauses"), chunks);
    }

    fn pauses(&mut self, at: &str, chunks: &Chunks) {
        self.count(at, chunks.pauses.len(), MAX_PAUSES);
        for (nth, pause) in chunks.pauses.iter().enumerate() {
            self.within(&format!("{at}.{nth}.at"), pause.at, 0..=MAX_PAYLOAD);
        }
        for (nth, pair) in chunks.pauses.windows(2).enumerate() {
            self.must(pair[0].at < pair[1].at, &format!("{at}.{}.at", nth + 1), || {
                format!("is {}: must be above the offset of the pause before it, {}", pair[1].at, pair[0].at)
            });
        }
        let total = chunks.pauses.iter().fold(Duration::ZERO, |sum, pause| sum.saturating_add(pause.lasts));
        self.must(total <= MAX_REST, at, || format!("take {}: must take at most {}", show(total), show(MAX_REST)));
    }

    fn options(&mut self, at: &str, options: &SocketOptions) {
        let buffers = [
            ("sndbuf", options.sndbuf),
            ("rcvbuf", options.rcvbuf),
            ("sndbuf_late", options.sndbuf_late),
            ("rcvbuf_late", options.rcvbuf_late),
            ("notsent_lowat", options.notsent_lowat),
        ];
        for (name, value) in buffers {
            if let Some(value) = value {
                self.within(&format!("{at}.{name}"), value, 1..=MAX_BUFFER);
            }
        }
        if let Some(value) = options.rcvlowat {
            self.within(&format!("{at}.rcvlowat"), value, 1..=MAX_RCVLOWAT);
        }
        for (option, value) in &options.extra {
            self.within(&format!("{at}.extra.{option}"), *value, option.range());
        }
        if let Some(value) = options.maxseg {
            self.within(&format!("{at}.maxseg"), value, MAXSEG);
        }
    }

    fn knobs(&mut self, at: &str, knobs: &Knobs) {
        for (sysctl, value) in &knobs.sysctls {
            self.within(&format!("{at}.sysctls.{sysctl}"), *value, sysctl.range());
        }
        for (name, value) in [("tcp_rmem", knobs.tcp_rmem), ("tcp_wmem", knobs.tcp_wmem)] {
            let Some([least, default, most]) = value else { continue };
            let holds = 1 <= least && least <= default && default <= most && most <= MAX_BUFFER;
            self.must(holds, &format!("{at}.{name}"), || {
                format!("is [{least}, {default}, {most}]: must not decrease, nor leave 1 to {MAX_BUFFER}")
            });
        }
    }

    fn impairments(&mut self, at: &str, impairments: &Impairments) {
        match impairments.loss {
            None => {}
            Some(Loss::Independent(probability)) => self.probability(&format!("{at}.loss.independent"), probability),
            Some(Loss::GilbertElliott { to_bad, to_good, good, bad }) => {
                for (name, value) in [("to_bad", to_bad), ("to_good", to_good), ("good", good), ("bad", bad)] {
                    self.probability(&format!("{at}.loss.gilbert-elliott.{name}"), value);
                }
            }
            Some(Loss::Cells { probability, carriages }) => {
                self.probability(&format!("{at}.loss.cells.probability"), probability);
                self.within(&format!("{at}.loss.cells.carriages"), carriages, 1..=MAX_CARRIAGES);
            }
        }
        self.outages(&format!("{at}.outages"), impairments);
        self.probability(&format!("{at}.corrupt"), impairments.corrupt);
        self.probability(&format!("{at}.duplicate"), impairments.duplicate);
        if let Some(rate) = impairments.rate {
            self.within(&format!("{at}.rate.kbit"), rate.kbit, 1..=u32::MAX);
            self.within(&format!("{at}.rate.queue"), rate.queue, 1..=MAX_QUEUE);
        }
        self.lasts(&format!("{at}.delay"), impairments.delay, MAX_DELAY);
        match impairments.jitter {
            None => {}
            Some(Jitter::Uniform(spread)) => self.lasts(&format!("{at}.jitter.uniform"), spread, MAX_DELAY),
            Some(Jitter::Normal(spread)) => self.lasts(&format!("{at}.jitter.normal"), spread, MAX_DELAY),
        }
        if let Some(reorder) = impairments.reorder {
            self.probability(&format!("{at}.reorder.probability"), reorder.probability);
            self.probability(&format!("{at}.reorder.correlation"), reorder.correlation);
        }
        self.count(&format!("{at}.faults"), impairments.faults.len(), MAX_FAULTS);
        for (nth, fault) in impairments.faults.iter().enumerate() {
            self.action(&format!("{at}.faults.{nth}.action"), fault.action);
        }
        self.count(&format!("{at}.rules"), impairments.rules.len(), MAX_RULES);
        for (nth, rule) in impairments.rules.iter().enumerate() {
            self.rule(&format!("{at}.rules.{nth}"), rule);
        }
    }

    fn action(&mut self, at: &str, action: Action) {
        match action {
            Action::Late(by) => self.lasts(&format!("{at}.late"), by, MAX_DELAY),
            Action::Early(by) => self.lasts(&format!("{at}.early"), by, MAX_DELAY),
            Action::Merge(Merge { within, .. }) => self.lasts(&format!("{at}.merge.within"), within, MAX_HELD),
            Action::Clamp(mss) => self.within(&format!("{at}.clamp"), mss, MAXSEG),
            _ => {}
        }
    }

    /// A middlebox that takes all packets for ever is a cut cable, and one that alters many is no test of a checksum.
    fn rule(&mut self, at: &str, rule: &Rule) {
        self.action(&format!("{at}.action"), rule.action);
        self.probability(&format!("{at}.chance"), rule.chance);
        self.within(&format!("{at}.skip"), rule.skip, 0..=MAX_SKIP);
        let field = format!("{at}.times");
        let most = match rule.action {
            Action::Alter(_) => 1,
            action if action.takes() && !rule.spares_the_stream() => MAX_TAKEN,
            Action::Reset(_) => MAX_TAKEN,
            _ => MAX_SKIP,
        };
        match rule.times {
            Some(times) => self.within(&field, times, 1..=most),
            None => self.must(most == MAX_SKIP, &field, || format!("is missing: must be between 1 and {most}")),
        }
    }

    fn outages(&mut self, at: &str, impairments: &Impairments) {
        self.count(at, impairments.outages.len(), MAX_OUTAGES);
        for (nth, outage) in impairments.outages.iter().enumerate() {
            self.must(outage.from < outage.to, &format!("{at}.{nth}.to"), || {
                format!("is {}: must be after its beginning, {}", show(outage.to), show(outage.from))
            });
            self.lasts(&format!("{at}.{nth}.to"), outage.to, MAX_OUTAGE);
        }
        for (nth, pair) in impairments.outages.windows(2).enumerate() {
            self.must(pair[0].to <= pair[1].from, &format!("{at}.{}.from", nth + 1), || {
                format!(
                    "is {}: must not be before the end of the outage before it, {}",
                    show(pair[1].from),
                    show(pair[0].to)
                )
            });
        }
    }
}

fn names(links: &[LinkId]) -> String {
    links.iter().map(LinkId::to_string).collect::<Vec<_>>().join(", ")
}

fn show(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Link, Outage, Pause, Rate};

    fn problems(change: impl FnOnce(&mut Case)) -> Vec<String> {
        let mut case = Case::default();
        change(&mut case);
        case.validate().err().unwrap_or_default().iter().map(Problem::to_string).collect()
    }

    fn link_problems(change: impl FnOnce(&mut Impairments)) -> Vec<String> {
        problems(|case| change(&mut case.links.entry(LinkId::Ns2Ns3).or_default().forward))
    }

    #[test]
    fn the_plainest_case_is_valid() {
        assert_eq!(Case::default().validate(), Ok(()));
    }

    #[test]
    fn numbers_are_moved_where_no_packet_is_too_big() {
        assert!(link_problems(|link| link.renumber = 5).is_empty());
        let said = problems(|case| {
            case.server.host = Host::Ns3;
            case.links.entry(LinkId::Ns1Ns2).or_default().mtu = 1400;
            case.links.entry(LinkId::Ns2Ns3).or_default().forward.renumber = 5;
        });
        assert!(said.len() == 1 && said[0].starts_with("links.ns2-ns3.forward.renumber needs"), "{said:?}");
    }

    #[test]
    fn values_out_of_range_are_named_as_the_file_names_them() {
        assert_eq!(
            link_problems(|link| link.loss = Some(Loss::Independent(1.5))),
            ["links.ns2-ns3.forward.loss.independent is 1.5: must be between 0 and 1"]
        );
        assert_eq!(
            link_problems(|link| link.corrupt = f64::NAN),
            ["links.ns2-ns3.forward.corrupt is NaN: must be between 0 and 1"]
        );
        assert_eq!(
            problems(|case| case.links = [(LinkId::Ns1Ns2, Link { mtu: 1279, ..Link::default() })].into()),
            ["links.ns1-ns2.mtu is 1279: must be between 1280 and 9000"]
        );
        assert_eq!(problems(|case| case.cpus = 0), ["cpus is 0: must be between 1 and 2"]);
        assert_eq!(
            problems(|case| case.client.payload = MAX_PAYLOAD + 1),
            ["client.payload is 1073741825: must be between 0 and 1073741824"]
        );
        assert_eq!(
            problems(|case| case.server.options.maxseg = Some(87)),
            ["server.options.maxseg is 87: must be between 88 and 32767"]
        );
        assert_eq!(
            link_problems(|link| link.rate = Some(Rate { kbit: 0, queue: 1 })),
            ["links.ns2-ns3.forward.rate.kbit is 0: must be between 1 and 4294967295"]
        );
    }

    #[test]
    fn pauses_and_outages_must_be_in_order() {
        let pause = |at| Pause { at, lasts: Duration::from_millis(1) };
        assert_eq!(
            problems(|case| case.client.read.pauses = vec![pause(5), pause(5)]),
            ["client.read.pauses.1.at is 5: must be above the offset of the pause before it, 5"]
        );
        let outage = |from, to| Outage { from: Duration::from_millis(from), to: Duration::from_millis(to) };
        assert_eq!(
            link_problems(|link| link.outages = vec![outage(0, 9), outage(8, 8)]),
            [
                "links.ns2-ns3.forward.outages.1.to is 8ms: must be after its beginning, 8ms",
                "links.ns2-ns3.forward.outages.1.from is 8ms: must not be before the end of the outage before it, 9ms",
            ]
        );
    }

    #[test]
    fn rests_add_up_to_a_bounded_time() {
        let bursts = Pattern::Bursts { chunk: 1, every: 1, rest: Duration::from_secs(1) };
        let with_payload = |payload| {
            problems(|case| {
                case.client.payload = payload;
                case.server.read.pattern = bursts;
            })
        };
        assert!(with_payload(60).is_empty());
        assert_eq!(
            with_payload(61),
            ["server.read.pattern.bursts.rest is 1s, 61 times: all rests must take at most 1m"]
        );
    }
}
