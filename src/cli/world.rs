//! Opens the world that cases run in.

use std::fs;

use crate::endpoint::plant::Plant;
use crate::world::host::{HostOptions, HostWorld};
use crate::world::{World, WorldError};

/// Opens it, or says what this machine lacks. `plant`: a fault planted on purpose, to see that it is found.
pub fn open(plant: Option<Plant>) -> Result<Box<dyn World>, WorldError> {
    Ok(Box::new(HostWorld::new(HostOptions { plant, ..HostOptions::default() })?))
}

/// The kernel of this machine, as `uname -rv` shows it.
pub fn kernel() -> String {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    format!("{} {}", read("osrelease"), read("version")).trim().to_owned()
}
