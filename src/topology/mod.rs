//! The network of a case: four hosts in a row, three links.
//!
//! ```text
//! ns1 ns1eth2 ---- ns2eth1 ns2 ns2eth3 ---- ns3eth2 ns3 ns3eth4 ---- ns4eth3 ns4
//!     10.0.1.1    10.0.1.2     10.0.2.1    10.0.2.2     10.0.3.2    10.0.3.1
//!     dead:beef:1::1     ::2   dead:beef:2::1     ::2   dead:beef:3::2     ::1
//! ```
//!
//! This is the chain of the kernel's `mptcp_connect.sh`, with its names and addresses; the networks are /24 and /64, ns2 and
//! ns3 forward, and all routes are there. It is silent: no neighbour discovery, no router solicitation, no multicast report
//! ever crosses a link, so a packet log shows the transfer and nothing else. And it is ready: the first SYN arrives.
//!
//! [`build`] makes it out of [`crate::net`], for a process that is root in its network namespace's user namespace (see
//! [`crate::net::namespace::enter_user_namespace`]). Dropping the [`Topology`] removes it. What happens to the packets of an
//! impaired link is up to [`crate::link`], which takes the wirings.

mod build;
mod drops;
mod layout;
mod options;
mod plan;
mod settings;
mod sites;

#[cfg(test)]
mod tests;

pub use build::{Topology, build};
pub use layout::{Side, connect_target, device_name, listen_address, v4, v6};
pub use options::{CarrierChoice, Options};
