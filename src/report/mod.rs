//! Reports: consumers of the one stream of events that a campaign tells.

pub mod coverage;
pub mod event;
pub mod json;
pub mod junit;
pub mod ktap;
pub mod result;
pub mod show;
pub mod terminal;

mod table;
#[cfg(test)]
mod tests;
pub(crate) mod words;

pub use event::{Bug, Event, Report, Stopped, Summary};

/// Several reports of the same events.
pub struct Reports<'a>(pub Vec<&'a mut dyn Report>);

impl std::fmt::Debug for Reports<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} reports", self.0.len())
    }
}

impl Report for Reports<'_> {
    fn event(&mut self, event: &Event) {
        self.0.iter_mut().for_each(|report| report.event(event));
    }
}
