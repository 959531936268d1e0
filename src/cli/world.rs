//! Opens the world that cases run in.

use crate::endpoint::plant::Plant;
use crate::net::features;
use crate::world::host::{HostOptions, HostWorld};
use crate::world::{World, WorldError};

/// Opens it, or says what this machine lacks. `plant`: a fault planted on purpose, to see that it is found.
pub fn open(plant: Option<Plant>) -> Result<Box<dyn World>, WorldError> {
    Ok(Box::new(HostWorld::new(HostOptions { plant, ..HostOptions::default() })?))
}

/// The kernel of this machine, as `uname -rv` shows it; empty where it does not tell.
pub fn kernel() -> String {
    features::kernel().unwrap_or_default()
}
