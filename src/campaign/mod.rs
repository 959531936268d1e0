//! Campaigns: cases drawn one after the other, run in a world by a pool of workers, judged; findings saved, shrunk and
//! counted.
//!
//! What holds:
//! - case `i` of a campaign is drawn from `seed.child(i)`, whatever the workers do meanwhile;
//! - a case is on disk before it runs, a finding before it is shrunk, and every step of the shrinking as it is made;
//! - findings are grouped by signature: one file for each bug, however often it shows;
//! - trouble of our own is kept and counted, and is never a finding.
//!
//! This room prints nothing: it sends events to a [`Report`](crate::report::Report). How a case is run and judged is handed
//! in, as a [`World`](crate::world::World) and [`Rules`].

mod bench;
mod drive;
mod known;
mod pool;
mod rules;
mod saved;
mod shrink;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod verify;

pub use drive::{Campaign, CampaignError, Options, run};
pub use known::{Known, KnownError};
pub use rules::{Faults, Rules};
pub use saved::{Replay, Replayed, Shrink, ShrinkError};
pub use shrink::Limits;
pub use store::StoreError;
