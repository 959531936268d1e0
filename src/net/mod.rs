//! All talk with the kernel about networks: namespaces, devices, addresses, routes, offloads, sysctls, counters, and the
//! diagnosis of sockets.
//!
//! Everything here is synchronous, calls no program, and knows nothing of cases; [`crate::topology`] builds a case's
//! network out of it. What a function sees is the network namespace of the calling thread, unless it takes something
//! that was opened in another: see [`namespace`].

pub mod address;
pub mod counters;
pub mod device;
pub mod diag;
mod error;
pub mod features;
pub mod namespace;
pub mod netem;
pub mod netlink;
pub mod packet;
pub mod path_manager;
mod proc;
pub mod sockstat;
pub mod softnet;
pub mod sysctl;
pub mod transparent;

pub use error::NetError;
