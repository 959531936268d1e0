//! Reports: consumers of the one stream of events that a campaign tells.

pub mod coverage;
pub mod event;
pub mod json;
pub mod show;
pub mod terminal;

mod table;
#[cfg(test)]
mod tests;
pub(crate) mod words;

pub use event::{Bug, Event, Report, Stopped, Summary};
