//! How long a case's network takes to build.
//!
//! `cargo bench --bench topology`; needs root or user namespaces. What is measured ends when the first packet would pass.
//! Devices of dropped topologies vanish in the background, so the figures contain that of the ones before, as in a campaign.

use std::time::Duration;

use divan::Bencher;
use nix::unistd::{getegid, geteuid};
use whitewater::case::{Case, Impairments, Link, LinkId};
use whitewater::net::features::can_tun;
use whitewater::net::namespace::enter_user_namespace;
use whitewater::topology::{CarrierChoice, Options, build};

fn main() {
    if let Err(error) = enter_user_namespace(geteuid().as_raw(), getegid().as_raw()) {
        println!("SKIP: {error}");
        return;
    }
    divan::main();
}

/// A case whose first `impaired` links delay packets.
fn case(impaired: usize) -> Case {
    let delay = Impairments { delay: Duration::from_millis(1), ..Impairments::default() };
    let link = Link { forward: delay, ..Link::default() };
    Case { links: LinkId::CHAIN.into_iter().take(impaired).map(|id| (id, link.clone())).collect(), ..Case::default() }
}

fn measure(bencher: Bencher, impaired: usize, options: Options) {
    let case = case(impaired);
    bencher.bench(|| build(&case, &options).expect("build a topology"));
}

#[divan::bench]
fn plain(bencher: Bencher) {
    measure(bencher, 0, Options::default());
}

#[divan::bench]
fn plain_with_capture(bencher: Bencher) {
    measure(bencher, 0, Options { capture: true, ..Options::default() });
}

#[divan::bench(args = [1, 3])]
fn tap(bencher: Bencher, links: usize) {
    match can_tun() {
        Ok(()) => measure(bencher, links, Options { carrier: CarrierChoice::Tap, ..Options::default() }),
        Err(error) => println!("SKIP: {error}"),
    }
}

#[divan::bench(args = [1, 3])]
fn packet(bencher: Bencher, links: usize) {
    measure(bencher, links, Options { carrier: CarrierChoice::Packet, ..Options::default() });
}
