//! Whitewater sends files both ways between two programs, over a real kernel's TCP or Multipath TCP, across rough
//! water: links that lose, delay, reorder, duplicate and corrupt packets.
//!
//! # Cases
//!
//! A [`Case`](case::Case) is one transfer, complete, as plain data. [`case::strategy`] draws cases from a seed, or as
//! a proptest strategy; [`case::file`] reads and writes them; [`case::simpler`] makes them simpler.
//!
//! # Worlds
//!
//! A [`World`](world::World) runs a case and returns what was seen. [`HostWorld`](world::host::HostWorld) does so in network
//! namespaces on this machine's kernel, without privilege; [`UmlWorld`](world::uml::UmlWorld) on a kernel of its own in
//! virtual time, where the same case is the same run to the last packet.
//!
//! # Verdicts
//!
//! [`oracle::judge`] is a pure function of a case and what was seen of it.
//!
//! # In a test of your own
//!
//! ```no_run
//! use std::sync::LazyLock;
//!
//! use proptest::prelude::*;
//! use whitewater::case::strategy::{Space, cases};
//! use whitewater::oracle::{Kind, judge};
//! use whitewater::world::World;
//! use whitewater::world::host::{HostOptions, HostWorld};
//!
//! static WORLD: LazyLock<HostWorld> = LazyLock::new(|| HostWorld::new(HostOptions::default()).expect("namespaces"));
//!
//! proptest! {
//!     #[test]
//!     fn transfers_arrive(case in cases(&Space { size_max: 1 << 20, ..Space::default() })) {
//!         let seen = WORLD.run(&case, &|_| None).expect("the case runs");
//!         let verdict = judge(&case, &seen);
//!         prop_assert_eq!(verdict.kind, Kind::Pass, "{}", verdict.what);
//!     }
//! }
//! ```
//!
//! A single case, built by hand, and the evidence that it leaves:
//!
//! ```
//! use whitewater::case::{Case, Host, Protocol};
//! use whitewater::oracle::{Kind, judge};
//! use whitewater::world::World;
//! use whitewater::world::host::{HostOptions, HostWorld};
//!
//! let mut case = Case::default();
//! case.client.protocol = Protocol::Tcp;
//! case.client.payload = 65_537;
//! case.server.host = Host::Ns4;
//! let evidence = tempfile::tempdir()?;
//! let world = HostWorld::new(HostOptions::default())?;
//! let seen = world.run(&case, &|_| Some(evidence.path().to_owned()))?;
//! assert_eq!(judge(&case, &seen).kind, Kind::Pass);
//! assert!(evidence.path().join("ns1-ns2.pcapng").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod agent;
pub mod campaign;
pub mod case;
pub mod cli;
pub mod connect;
pub mod copier;
pub mod endpoint;
pub mod link;
pub mod matrix;
pub mod net;
pub mod observation;
pub mod oracle;
pub mod payload;
pub mod report;
pub mod seed;
mod sys;
pub mod topology;
pub mod world;
