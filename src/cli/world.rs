//! Opens the world that cases run in.

use std::fs;

use crate::world::{World, WorldError};

/// What the command line says about the world.
#[derive(Debug)]
pub struct Wish<'a> {
    /// How many cases will run at once.
    pub jobs: usize,
    /// A fault planted on purpose, to see that it is found.
    pub plant: Option<&'a str>,
}

/// Opens it, or says what this machine lacks.
pub fn open(_wish: &Wish<'_>) -> Result<Box<dyn World>, WorldError> {
    Err(WorldError::Unable("there is no world to run cases in yet".to_owned()))
}

/// The kernel of this machine, as `uname -rv` shows it.
pub fn kernel() -> String {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    format!("{} {}", read("osrelease"), read("version")).trim().to_owned()
}
