//! The evidence of a run: what is kept beside a finding, for people and for the shrinker.
//!
//! A folder holds
//! - `observation.json`: everything that was seen;
//! - `sockets.txt`: if something went wrong, the sockets of both ends as `ss -nitaM` shows them;
//! - `counters.txt`: how much each counter grew, as `nstat` shows it;
//! - `faults.toml`: what the random stages did, as explicit faults by link and direction;
//! - `ns1-ns2.log` and `ns1-ns2.pcapng` and so on: the packet log of each link;
//! - with `--capture`, the packets on the hosts of both ends, named as the kernel's selftest names its captures:
//!   `ns1-ns4-MPTCP-MPTCP-10.0.3.1-12000-listener.pcapng`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::capture::Recording;
use crate::case::{Direction, Fault, LinkId};
use crate::link::LinkLog;
use crate::net::{counters, diag};
use crate::observation::{Observation, SocketState};

/// The file that holds the observation.
pub const OBSERVATION: &str = "observation.json";
/// The file that holds the sockets of both ends.
pub const SOCKETS: &str = "sockets.txt";
/// The file that holds the counters of all hosts.
pub const COUNTERS: &str = "counters.txt";
/// The file that holds the faults.
pub const FAULTS: &str = "faults.toml";

/// What stands among the counters and is none.
const SETTINGS: [&str; 6] =
    ["Ip.DefaultTTL", "Ip.Forwarding", "Tcp.MaxConn", "Tcp.RtoAlgorithm", "Tcp.RtoMax", "Tcp.RtoMin"];

/// What a run leaves to look at.
#[derive(Debug)]
pub struct Evidence {
    /// The packets of each link.
    pub links: Vec<LinkLog>,
    /// The packets on the hosts of both ends, if they were asked for.
    pub recordings: Vec<Recording>,
}

/// What was done to single packets of one link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LinkFaults {
    forward: Vec<Fault>,
    backward: Vec<Fault>,
}

/// A file of the evidence that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("evidence {path}: {error}")]
pub struct EvidenceError {
    path: PathBuf,
    error: Box<dyn std::error::Error + Send + Sync>,
}

fn at<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &Path) -> impl FnOnce(E) -> EvidenceError {
    |error| EvidenceError { path: path.to_owned(), error: error.into() }
}

impl Evidence {
    /// Writes everything to `folder`, which exists.
    pub fn write(&self, folder: &Path, observation: &Observation) -> Result<(), EvidenceError> {
        let path = folder.join(OBSERVATION);
        let json = serde_json::to_vec_pretty(observation).map_err(at(&path))?;
        std::fs::write(&path, json).map_err(at(&path))?;

        for (name, text) in [(SOCKETS, sockets_of(observation)), (COUNTERS, counters_of(observation))] {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(at(&path))?;
        }

        let path = folder.join(FAULTS);
        let faults: BTreeMap<LinkId, LinkFaults> = self.links.iter().map(|log| (log.id, faults_of(log))).collect();
        let text = toml::to_string(&faults).map_err(at(&path))?;
        std::fs::write(&path, text).map_err(at(&path))?;

        for log in &self.links {
            let path = folder.join(format!("{}.log", log.id));
            log.write_text(&path).map_err(at::<io::Error>(&path))?;
            let path = folder.join(format!("{}.pcapng", log.id));
            log.write_pcapng(&path).map_err(at::<io::Error>(&path))?;
        }
        for recording in &self.recordings {
            recording.write(folder).map_err(at::<io::Error>(folder))?;
        }
        Ok(())
    }
}

/// Moves the evidence in `from` to `to`, which exists.
pub fn hand_over(from: &Path, to: &Path) -> Result<(), EvidenceError> {
    for entry in std::fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let place = to.join(entry.file_name());
        // Renaming fails if the two are on different file systems.
        if std::fs::rename(entry.path(), &place).is_err() {
            std::fs::copy(entry.path(), &place).map_err(at(&place))?;
        }
    }
    Ok(())
}

/// The sockets that were seen when something went wrong.
fn sockets_of(observation: &Observation) -> String {
    let mut text = String::new();
    let mut add = |title: String, sockets: &[SocketState]| {
        if !sockets.is_empty() {
            text.push_str(&format!("# {title}\n{}{}\n", diag::text::head(), diag::text::text(sockets)));
        }
    };
    for (host, story) in &observation.hosts {
        add(format!("{host}, when nothing moved any more"), &story.stalled_sockets);
        add(format!("{host}, left behind"), &story.left_sockets);
    }
    for (name, story) in [("client", &observation.client), ("server", &observation.server)] {
        add(format!("{name}'s host, before the {name} closed"), &story.sockets);
    }
    if text.is_empty() {
        text.push_str("# both endpoints came to their end, and nothing was left behind\n");
    }
    text
}

/// The counters of each host that has counted anything but its settings.
fn counters_of(observation: &Observation) -> String {
    let said = observation.hosts.iter().map(|(host, story)| {
        let grown = story.counters.iter().filter(|(name, _)| !SETTINGS.contains(&name.as_str()));
        let grown = grown.map(|(name, value)| (name.clone(), *value)).collect();
        format!("# {host}\n{}\n", counters::text(&grown))
    });
    said.collect()
}

fn faults_of(log: &LinkLog) -> LinkFaults {
    LinkFaults { forward: log.faults(Direction::Forward), backward: log.faults(Direction::Backward) }
}

/// Reads the faults that a run left in `folder`: forward and backward of each link.
pub fn read_faults(folder: &Path) -> Result<BTreeMap<LinkId, [Vec<Fault>; 2]>, EvidenceError> {
    let path = folder.join(FAULTS);
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let faults: BTreeMap<LinkId, LinkFaults> = toml::from_str(&text).map_err(at(&path))?;
    Ok(faults.into_iter().map(|(link, faults)| (link, [faults.forward, faults.backward])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Host};
    use crate::oracle::healthy;

    #[test]
    fn sockets_and_counters_are_written_beside_the_observation() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = healthy::observation(&Case::default());
        let socket = SocketState { protocol: "tcp".into(), state: "ESTAB".into(), ..SocketState::default() };
        seen.client.sockets.push(socket.clone());
        seen.hosts.entry(Host::Ns1).or_default().stalled_sockets.push(socket);
        Evidence { links: Vec::new(), recordings: Vec::new() }.write(folder.path(), &seen).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let sockets = read(SOCKETS);
        assert!(sockets.contains("# ns1, when nothing moved any more\nNetid"), "{sockets}");
        assert!(sockets.contains("# client's host, before the client closed\n"), "{sockets}");
        assert!(read(COUNTERS).contains("TcpPassiveOpens"), "{}", read(COUNTERS));
    }
}
