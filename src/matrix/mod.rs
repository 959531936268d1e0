//! The walk of the kernel's transfer selftest (`mptcp_connect.sh` of Linux 7.2), as cases: loopback in both families and
//! three pairings, every sender to every address, peek modes, fast open and the full disconnect; or, as it was first written in 2019, every pairing from
//! every sender to every IPv4 address.
//!
//! What the script draws at random by default (delay, loss, reordering, offloads, the sizes of the two files) is
//! drawn from the seed. A walk is a list of cases; the world runs them side by side, each in a network of its own.

mod preflight;
mod terms;
mod walk;

pub use preflight::{Preflight, preflight};
pub use terms::{Mode, Offload, ReorderSpec, Terms, percent};
pub use walk::{Leg, classic, walk};
