//! Generators: which cases there are, and how likely each is.
//!
//! [`draw`] turns a seed into a case; [`cases`] is the same as a proptest [`Strategy`], whose values shrink by
//! [`CaseTree`]. What may be drawn is narrowed by a [`Space`].
//!
//! Drawing works in swarm style: each case switches a random subset of [`Group`]s on and leaves the others at their
//! plainest, so that a group is also tried without the noise of all others. Within a group, boundary values get half the
//! weight. Every drawn case is valid, and cheap enough that a healthy kernel usually ends it within about a second:
//! `cost` bounds its payload by what its links and buffers let through.

mod alone;
mod cost;
mod critical;
mod draw;
mod endpoints;
mod links;
mod middlebox;
mod modes;
mod path_rules;
mod paths;
#[cfg(test)]
mod tests;
mod tuning;

use proptest::prelude::Rng;
use proptest::strategy::{NewTree, Strategy};
use proptest::test_runner::TestRunner;

use self::draw::Draw;
use super::simpler::CaseTree;
use super::{Address, Case, Congestion, Ending, Family, First, Host, Pairing, Second};
use crate::seed::Seed;

/// What can be switched on in a case, over a plain transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Chunk patterns of writes and reads.
    Chunks,
    /// Pauses of writers and readers.
    Pauses,
    /// SO_SNDBUF and SO_RCVBUF, before and after connect.
    Buffers,
    /// The other socket options.
    Options,
    /// Kernel knobs of the endpoints' hosts.
    Knobs,
    /// Who shuts down first, and when the other one sends.
    Ending,
    /// Connects that are refused.
    Refusals,
    /// MTUs of links.
    Mtu,
    /// Offloads of devices.
    Offloads,
    /// Two CPUs.
    Cpus,
    /// The calls that send and receive.
    Io,
    /// One endpoint leaves before its time.
    Leave,
    /// Several connections, one after the other.
    Rounds,
    /// TCP Fast Open, cold and with a cookie of an earlier round.
    Fastopen,
    /// More kernel settings and socket options, some of which change in the middle of the transfer.
    Tuning,
    /// Several paths, the configuration of path managers, and what happens to paths during the transfer.
    Paths,
    /// Impaired links whose impairments the kernel's network emulator carries out, where it can. Only some kernels have
    /// it.
    Netem,
    /// Loss on a link.
    Loss,
    /// Corruption on a link.
    Corrupt,
    /// Duplication on a link.
    Duplicate,
    /// Delay on a link, with or without jitter.
    Delay,
    /// Reordering on a link, with the delay that it needs.
    Reorder,
    /// A limited rate on a link.
    Rate,
    /// Outages of a link.
    Outages,
    /// A middlebox on a link. Drawn beside the other impairments, or alone.
    Middlebox,
    /// Single faults on the packets that a connection turns on.
    Faults,
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 26] = [
        Group::Chunks,
        Group::Pauses,
        Group::Buffers,
        Group::Options,
        Group::Knobs,
        Group::Ending,
        Group::Refusals,
        Group::Mtu,
        Group::Offloads,
        Group::Cpus,
        Group::Io,
        Group::Leave,
        Group::Rounds,
        Group::Fastopen,
        Group::Tuning,
        Group::Paths,
        Group::Netem,
        Group::Loss,
        Group::Corrupt,
        Group::Duplicate,
        Group::Delay,
        Group::Reorder,
        Group::Rate,
        Group::Outages,
        Group::Middlebox,
        Group::Faults,
    ];

    /// Whether this group impairs links: such a link goes through user space.
    pub fn is_impairment(self) -> bool {
        self >= Group::Loss
    }

    /// Whether it is switched on by a stream of its own: it came after the others, whose draws stay as they were.
    fn has_own_stream(self) -> bool {
        let later =
            [Group::Io, Group::Leave, Group::Rounds, Group::Fastopen, Group::Tuning, Group::Paths, Group::Netem];
        later.contains(&self)
    }

    /// In which share of cases a group that is no impairment is switched on; [`Group::Paths`] is drawn before all others.
    fn share(self) -> f64 {
        match self {
            Group::Chunks => 0.5,
            Group::Io => 0.45,
            Group::Options | Group::Ending => 0.35,
            Group::Buffers | Group::Knobs | Group::Tuning => 0.25,
            Group::Pauses | Group::Netem => 0.2,
            Group::Mtu | Group::Offloads => 0.15,
            Group::Refusals | Group::Cpus | Group::Leave | Group::Rounds | Group::Fastopen => 0.1,
            _ => 0.0,
        }
    }
}

/// Which links a case may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkFilter {
    /// Plain ones and impaired ones: about two cases in five have an impaired link.
    #[default]
    Any,
    /// Plain ones alone.
    Plain,
    /// In every case an impaired one; no loopback.
    Impaired,
}

/// The share of cases with a host beyond the server in which the client connects to that host's address.
const BEYOND_SHARE: f64 = 0.2;

/// The share of cases with an impaired link, where [`LinkFilter::Any`] leaves the choice.
const IMPAIRED_SHARE: f64 = 0.4;

/// What may be drawn.
///
/// ```
/// use whitewater::case::strategy::{LinkFilter, Space, draw};
/// use whitewater::seed::Seed;
///
/// let space = Space { links: LinkFilter::Plain, size_max: 64 << 10, ..Space::default() };
/// let case = draw(&space, Seed(7));
/// assert!(case.client.payload <= 64 << 10 && case.links.values().all(|link| !link.is_impaired()));
/// assert_eq!(case, draw(&space, Seed(7)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// The pairings; must not be empty.
    pub pairings: Vec<Pairing>,
    /// The address families; must not be empty.
    pub families: Vec<Family>,
    /// The hosts of client and server; must not be empty.
    pub hosts: Vec<(Host, Host)>,
    /// Which links. Where all of `hosts` is loopback, no link is impaired, whatever this says.
    pub links: LinkFilter,
    /// The most bytes of one direction.
    pub size_max: u64,
    /// The congestion control algorithms that the kernel has; may be empty.
    pub congestions: Vec<Congestion>,
    /// The groups that may be switched on: by default all but [`Group::Netem`].
    pub groups: Vec<Group>,
    /// How many paths, from 1; must not be empty. Several ([`super::Topology`]) are drawn where `pairings` has MPTCP at both
    /// ends, and then `hosts` does not matter; where 1 is not among them, no other case is drawn.
    pub paths: Vec<u8>,
    /// Whether cases may wait for many seconds.
    pub waits: bool,
}

/// The numbers of paths that are drawn by default.
pub const PATHS: [u8; 4] = [1, 2, 3, 4];

/// The most bytes of one direction by default.
pub const SIZE_MAX: u64 = 8 << 20;

impl Default for Space {
    fn default() -> Space {
        let pairs = |client| Host::ALL.into_iter().map(move |server| (client, server));
        Space {
            pairings: Pairing::ALL.to_vec(),
            families: Family::ALL.to_vec(),
            hosts: Host::ALL.into_iter().flat_map(pairs).collect(),
            links: LinkFilter::Any,
            size_max: SIZE_MAX,
            congestions: vec![Congestion::Reno, Congestion::Cubic],
            groups: Group::ALL.into_iter().filter(|group| *group != Group::Netem).collect(),
            paths: PATHS.to_vec(),
            waits: false,
        }
    }
}

impl Space {
    /// This space without MPTCP, for a kernel that has none. Where that leaves no pairing, TCP>TCP remains.
    pub fn without_mptcp(mut self) -> Space {
        self.pairings.retain(|pairing| *pairing == Pairing::default());
        if self.pairings.is_empty() {
            self.pairings.push(Pairing::default());
        }
        self
    }

    /// This space with [`Group::Netem`], for a kernel that has it.
    pub fn with_netem(mut self) -> Space {
        if !self.allows(Group::Netem) {
            self.groups.push(Group::Netem);
        }
        self
    }

    /// This space with cases that wait for many seconds, which costs nothing in virtual time.
    pub fn with_long_waits(mut self) -> Space {
        self.waits = true;
        self
    }

    fn allows(&self, group: Group) -> bool {
        self.groups.contains(&group)
    }
}

/// Draws a case: the same one for the same space and seed. The case carries the seed.
///
/// # Panics
/// Where the space has no pairing, no family or no hosts.
pub fn draw(space: &Space, seed: Seed) -> Case {
    let mut place = Draw::new(seed, "place");
    let crossing: Vec<(Host, Host)> = space.hosts.iter().copied().filter(|(client, server)| client != server).collect();
    let kinds: Vec<Group> =
        space.groups.iter().copied().filter(|group| group.is_impairment() && *group != Group::Faults).collect();
    let (boxes, kinds): (Vec<Group>, Vec<Group>) = kinds.into_iter().partition(|kind| *kind == Group::Middlebox);
    let impaired = match space.links {
        LinkFilter::Plain => false,
        LinkFilter::Any => place.chance(IMPAIRED_SHARE),
        LinkFilter::Impaired => true,
    } && !crossing.is_empty()
        && !(kinds.is_empty() && boxes.is_empty());
    let crosses = impaired || (space.links == LinkFilter::Impaired && !crossing.is_empty());
    let hosts = place.pick(if crosses { &crossing } else { &space.hosts });
    let pairing = place.pick(&space.pairings);

    let mut case = Case { seed, family: place.pick(&space.families), ..Case::default() };
    if place.chance(0.25) {
        case.address = Address::Far;
    }
    (case.client.host, case.server.host) = hosts;
    (case.client.protocol, case.server.protocol) = (pairing.client, pairing.server);
    let several = paths::topology(space, seed);
    let impaired = match several {
        None => impaired,
        Some(topology) => {
            paths::place(&mut case, topology);
            impaired_paths(space, seed, &kinds)
        }
    };

    if case.beyond().is_some() && Draw::new(seed, "transparent proxy").chance(BEYOND_SHARE) {
        case.address = Address::Beyond;
    }

    let groups = switch_on(space, seed, &case);
    let on = |group: Group| groups.contains(&group);
    if on(Group::Cpus) {
        case.cpus = 2;
    }
    if on(Group::Refusals) {
        case.bound = Draw::new(seed, "bound").chance(0.3) && case.address != Address::Beyond;
        case.refusals = Draw::new(seed, "refusals").pick(&[1, 1, 1, 2, 3]);
    }
    if on(Group::Ending) {
        case.ending = draw_ending(&mut Draw::new(seed, "ending"));
    }
    if on(Group::Knobs) {
        endpoints::knobs(&mut case);
    }
    if on(Group::Buffers) {
        endpoints::buffers(&mut case);
    }
    if on(Group::Options) {
        endpoints::options(&mut case, &space.congestions);
    }
    if on(Group::Io) {
        modes::io(&mut case);
    }
    if on(Group::Tuning) {
        tuning::draw(&mut case);
    }
    if on(Group::Mtu) {
        links::mtus(&mut case);
    }
    if on(Group::Offloads) {
        links::offloads(&mut case);
    }
    if impaired {
        if !kinds.is_empty() {
            links::impair(&mut case, &kinds);
        }
        if !boxes.is_empty() {
            middlebox::middlebox(&mut case, kinds.is_empty());
        }
        // What the kernel loses has no bound, and how several paths take that has not been looked at.
        if on(Group::Netem) && several.is_none() {
            links::netem(&mut case);
        }
    }
    if several.is_some() {
        if impaired {
            paths::shape(&mut case);
        }
        if impaired && !boxes.is_empty() {
            path_rules::draw(&mut case);
        }
        paths::path_managers(&mut case);
    }
    if impaired && !boxes.is_empty() {
        middlebox::renumber(&mut case);
    }
    let filled = endpoints::spare_cookies(&mut case);
    // From here on the payload, which depends on what buffers and links let through, and what depends on the payload.
    let stall = on(Group::Pauses).then(|| endpoints::plan_stall(&mut case, on(Group::Buffers))).flatten();
    endpoints::sizes(&mut case, space.size_max, stall.or(filled));
    if several.is_some() {
        paths::sizes(&mut case, space.size_max);
        paths::events(&mut case, impaired);
        if impaired && space.allows(Group::Delay) {
            alone::draw(&mut case, space.size_max, space.waits);
        }
    }
    if on(Group::Leave) {
        modes::leave(&mut case);
    }
    if on(Group::Rounds) {
        modes::rounds(&mut case);
    }
    if on(Group::Fastopen) {
        modes::fastopen(&mut case);
    }
    if on(Group::Tuning) {
        tuning::changes(&mut case);
    }
    if on(Group::Chunks) {
        endpoints::chunks(&mut case);
    }
    if on(Group::Pauses) {
        endpoints::pauses(&mut case, stall);
    }
    if several.is_some() {
        // Segments that hardly hold more than MPTCP's options make storms of packets on several subflows, and resets.
        for endpoint in [&mut case.client, &mut case.server] {
            endpoint.options.maxseg = endpoint.options.maxseg.map(|bytes| bytes.max(SEVERAL_MAXSEG));
        }
    }
    // How a connection that is left, begun again or fast opened takes a fault on a packet of its own has not been looked at.
    let usual = !case.has_netem() && ![Group::Leave, Group::Rounds, Group::Fastopen].into_iter().any(on);
    if usual && space.links != LinkFilter::Plain && space.allows(Group::Faults) {
        critical::faults(&mut case, stall, space.links == LinkFilter::Impaired && !impaired);
    }
    case
}

/// The least TCP_MAXSEG of a case with several paths, in bytes: what every IPv4 host takes (RFC 9293, section 3.7.1).
const SEVERAL_MAXSEG: u16 = 536;

/// Whether a case with several paths has an impaired link.
fn impaired_paths(space: &Space, seed: Seed, kinds: &[Group]) -> bool {
    let drawn = match space.links {
        LinkFilter::Plain => false,
        LinkFilter::Any => Draw::new(seed, "paths").chance(paths::IMPAIRED_SHARE),
        LinkFilter::Impaired => true,
    };
    drawn && !kinds.is_empty()
}

/// Which groups a case has on, impairments apart.
fn switch_on(space: &Space, seed: Seed, case: &Case) -> Vec<Group> {
    let mut swarm = Draw::new(seed, "swarm");
    let mut groups = Vec::new();
    for group in Group::ALL.into_iter().filter(|group| !group.is_impairment()) {
        let on = match group.has_own_stream() {
            true => Draw::new(seed, &format!("swarm {group}")).chance(group.share()),
            false => swarm.chance(group.share()),
        };
        let useful = !case.is_loopback() || !matches!(group, Group::Mtu | Group::Offloads);
        if on && useful && space.allows(group) {
            groups.push(group);
        }
    }
    groups
}

fn draw_ending(draw: &mut Draw) -> Ending {
    let first = draw.pick(&[First::Both, First::Client, First::Client, First::Server, First::Server]);
    let second = if first == First::Both { Second::AtOnce } else { draw.pick(&[Second::AtOnce, Second::AfterEnd]) };
    let pause = if draw.chance(0.4) { draw.micros_log(100, 200_000) } else { std::time::Duration::ZERO };
    Ending { first, second, pause, leave: None }
}

/// The cases of a space, as a proptest strategy. Made by [`cases`].
///
/// A case is drawn from one number of proptest's random source: its seed. So a case that a proptest found is also
/// drawn by `whitewater run --seed`.
#[derive(Clone, Debug)]
pub struct Cases {
    space: Space,
}

/// The cases of `space`, as a proptest strategy.
pub fn cases(space: &Space) -> Cases {
    Cases { space: space.clone() }
}

impl Strategy for Cases {
    type Tree = CaseTree;
    type Value = Case;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = Seed(runner.rng().next_u64());
        Ok(CaseTree::new(draw(&self.space, seed)))
    }
}
