//! What only trying shows.

use std::time::Instant;

use super::Check;
use crate::case::{Backend, Case, Host, LinkId};
use crate::net::features;
use crate::oracle::{Kind, judge};
use crate::world::World;
use crate::world::host::{HostOptions, HostWorld};

/// Whether a child gets a user namespace.
pub fn user_namespace() -> Result<(), String> {
    features::can_user_namespace().map_err(|error| error.to_string())
}

/// Whether TAP devices can be made.
pub fn tun() -> Result<(), String> {
    features::can_tun().map_err(|error| cause(&error.to_string()))
}

/// Whether sockets can be listed.
pub fn socket_diagnosis() -> Result<(), String> {
    features::has_sock_diag().map_err(|error| cause(&error.to_string()))
}

/// What went wrong, without the way out: the checks have their own.
fn cause(error: &str) -> String {
    error.split("; ").next().unwrap_or(error).to_owned()
}

/// A small case across the whole chain, over an impaired link.
fn across(backend: Backend) -> Case {
    let mut case = Case::default();
    case.server.host = Host::Ns4;
    case.client.payload = 10_000;
    case.server.payload = 10_000;
    let link = case.links.entry(LinkId::Ns2Ns3).or_default();
    (link.backend, link.forward.delay) = (backend, std::time::Duration::from_millis(1));
    case
}

/// Whether this kernel can impair links by itself.
pub fn netem() -> Result<(), String> {
    let case = across(Backend::Netem);
    let ran = HostWorld::new(HostOptions::default()).and_then(|world| world.run(&case, &|_| None));
    ran.map(drop).map_err(|error| cause(&error.to_string()))
}

/// Runs a small case across the whole chain, over an impaired link: whatever else may be missing shows here.
pub fn case() -> Check {
    const WHAT: &str = "a case";
    let case = across(Backend::UserSpace);
    let start = Instant::now();
    let ran = HostWorld::new(HostOptions::default()).and_then(|world| world.run(&case, &|_| None));
    match ran {
        Ok(seen) => {
            let verdict = judge(&case, &seen);
            match verdict.kind {
                Kind::Pass => {
                    Check::good(WHAT, format!("crossed all four hosts in {} ms", start.elapsed().as_millis()))
                }
                _ => Check::broken(WHAT, format!("{}: {}", verdict.kind, verdict.what), "see `whitewater run --help`"),
            }
        }
        Err(error) => Check::broken(WHAT, format!("could not run: {error}"), "mend what is broken above"),
    }
}
