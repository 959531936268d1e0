//! Flags that several subcommands share.

use std::time::Duration;

use clap::Args;

use crate::campaign::Limits;
use crate::case::strategy::{LinkFilter, Space};
use crate::case::{Family, Host, MAX_PATHS, Pairing, Protocol};

/// What may be drawn.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which cases")]
pub struct Filters {
    /// At most this many bytes in each direction, such as 64KiB or 1GiB [default: 8MiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    size_max: Option<u64>,

    /// Only these protocols of client and server: mptcp>mptcp, mptcp>tcp, tcp>mptcp, tcp>tcp (may be repeated)
    #[arg(long, value_name = "CLIENT>SERVER")]
    pairing: Vec<Pairing>,

    /// Only these address families: v4, v6, v4mapped (may be repeated)
    #[arg(long)]
    family: Vec<Family>,

    /// Only these hosts of client and server, such as ns1>ns4 (may be repeated)
    #[arg(long, value_name = "CLIENT>SERVER", value_parser = hosts)]
    hosts: Vec<(Host, Host)>,

    /// Only cases whose links are all plain, or only cases with an impaired link
    #[arg(long, value_name = "KIND")]
    link: Option<LinkKind>,

    /// Only cases with this many paths between client and server, 1 to 8 (may be repeated) [default: 1 to 4, or 1 with
    /// --hosts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_PATHS)))]
    paths: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LinkKind {
    /// Links that leave packets alone
    Plain,
    /// Links that lose, delay, reorder, duplicate or corrupt packets
    Impaired,
}

impl Filters {
    /// What may be drawn under these filters.
    pub fn space(&self) -> Space {
        let mut space = Space::default();
        if let Some(size) = self.size_max {
            space.size_max = size;
        }
        if !self.pairing.is_empty() {
            space.pairings.clone_from(&self.pairing);
        }
        if !self.family.is_empty() {
            space.families.clone_from(&self.family);
        }
        if !self.hosts.is_empty() {
            space.hosts.clone_from(&self.hosts);
            // Cases with several paths choose their own hosts.
            space.paths = vec![1];
        }
        if !self.paths.is_empty() {
            space.paths.clone_from(&self.paths);
        }
        space.links = match self.link {
            None => LinkFilter::Any,
            Some(LinkKind::Plain) => LinkFilter::Plain,
            Some(LinkKind::Impaired) => LinkFilter::Impaired,
        };
        space
    }

    /// Refuses filters that leave nothing to draw.
    pub fn check(&self) -> Result<(), String> {
        let mptcp = |pair: &Pairing| [pair.client, pair.server] == [Protocol::Mptcp; 2];
        if !self.paths.is_empty()
            && !self.paths.contains(&1)
            && !self.pairing.is_empty()
            && !self.pairing.iter().any(mptcp)
        {
            return Err("--paths and --pairing leave no case to draw: only mptcp>mptcp has several paths".to_owned());
        }
        let loopback = !self.hosts.is_empty() && self.hosts.iter().all(|(client, server)| client == server);
        if loopback && self.link == Some(LinkKind::Impaired) {
            return Err("--link impaired and --hosts leave no case to draw: client and server on one host use no link"
                .to_owned());
        }
        Ok(())
    }
}

/// How much shrinking may cost.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Shrinking")]
pub struct Shrinking {
    /// Shrink each finding for at most this long; 0s saves it as it is
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    shrink_time: Duration,

    /// How many runs a simpler case gets to fail once, if the finding does not show every time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    attempts: u32,
}

impl Shrinking {
    /// The limits they stand for.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits { time: self.shrink_time, attempts: self.attempts, ..Limits::default() };
        if self.shrink_time.is_zero() {
            limits.tests = 0;
        }
        limits
    }
}

/// How many cases run at once for each CPU by default: most of them wait, and a waiting case costs no CPU.
const JOBS_PER_CPU: usize = 8;

/// The most cases that run at once.
pub const JOBS_MAX: usize = 1024;

/// How many cases run at once by default.
pub fn default_jobs() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (cpus * JOBS_PER_CPU).min(JOBS_MAX)
}

/// For clap: a number of jobs.
pub fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs) if (1..=JOBS_MAX).contains(&jobs) => Ok(jobs),
        _ => Err(format!("expected a number from 1 to {JOBS_MAX}")),
    }
}

/// For clap: `8MiB`, `64k`, `1000`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number of bytes, such as 1448, 64KiB, 8MiB or 1GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than any stream can have".to_owned())
}

/// For clap: `ns1>ns4`.
fn hosts(text: &str) -> Result<(Host, Host), String> {
    let host = |text: &str| Host::ALL.into_iter().find(|host| host.to_string() == text);
    let (client, server) = text.split_once('>').unwrap_or_default();
    host(client).zip(host(server)).ok_or_else(|| "expected two of ns1, ns2, ns3 and ns4, such as ns1>ns4".to_owned())
}
