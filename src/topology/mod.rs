//! The network of a case: four hosts in a row with three links, or several paths between two.
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
//! Where the case wants several paths ([`crate::case::Topology`]), links side by side join ns1 and ns2: `path1` has 10.0.11.1 on
//! ns1 and 10.0.11.2 on ns2, `path2` 10.0.12.1 and 10.0.12.2, and so on. What ns1 sends from its address on a path goes by that
//! path, and what it is sent there comes by it, so a subflow keeps to the path of ns1's address. The path managers know their
//! limits and endpoints before the first SYN.
//!
//! [`build`] makes it out of [`crate::net`], for a process that is root in its network namespace's user namespace (see
//! [`crate::net::namespace::enter_user_namespace`]). Dropping the [`Topology`] removes it. What happens to the packets of an
//! impaired link is up to [`crate::link`], which takes the wirings.

mod build;
mod drops;
mod layout;
mod netem;
mod options;
mod paths;
mod plan;
mod settings;
mod sites;

#[cfg(test)]
mod tests;

pub use build::{Topology, Traffic, build};
pub use layout::{Side, connect_target, device_name, listen_address, v4, v6};
pub use options::{CarrierChoice, Options};
pub use paths::{address_on, endpoint_in_kernel, is_v6};
