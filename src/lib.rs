//! Whitewater sends files both ways between two programs, over a real kernel's TCP or Multipath TCP, across rough
//! water: links that lose, delay, reorder, duplicate and corrupt packets.

pub mod agent;
pub mod campaign;
pub mod case;
pub mod cli;
pub mod copier;
pub mod endpoint;
pub mod link;
pub mod net;
pub mod observation;
pub mod oracle;
pub mod payload;
pub mod report;
pub mod seed;
mod sys;
pub mod topology;
pub mod world;
