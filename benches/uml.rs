//! How long cases take in the deterministic world.
//!
//! `cargo bench --bench uml`; needs a kernel (`whitewater kernel build`). `boot` is a kernel that starts and switches off
//! again, the least that any case takes; `mix` is what a campaign draws, one case after the other.

use std::cell::Cell;
use std::process::ExitCode;

use divan::Bencher;
use whitewater::agent::init;
use whitewater::case::strategy::{self, Space};
use whitewater::case::{Case, Host};
use whitewater::seed::Seed;
use whitewater::world::World;
use whitewater::world::uml::UmlWorld;

fn main() -> ExitCode {
    // The guests run this very program.
    if init::is_guest() {
        return init::main();
    }
    match UmlWorld::open(None) {
        Ok(_) => divan::main(),
        Err(error) => println!("SKIP: {error}"),
    }
    ExitCode::SUCCESS
}

fn world() -> UmlWorld {
    UmlWorld::open(None).expect("it has just been opened")
}

#[divan::bench]
fn boot(bencher: Bencher) {
    let world = world();
    bencher.bench(|| world.boot().expect("the kernel starts"));
}

fn run(bencher: Bencher, case: &Case) {
    let world = world();
    bencher.bench(|| world.run(case, &|_| None).expect("the case runs"));
}

#[divan::bench]
fn loopback(bencher: Bencher) {
    run(bencher, &Case::default());
}

#[divan::bench]
fn chain(bencher: Bencher) {
    let mut case = Case::default();
    case.server.host = Host::Ns4;
    run(bencher, &case);
}

#[divan::bench]
fn mix(bencher: Bencher) {
    let (world, next) = (world(), Cell::new(0));
    bencher.bench_local(|| {
        let index = next.replace(next.get() + 1);
        let case = strategy::draw(&Space::default(), Seed(1).child(index));
        world.run(&case, &|_| None).expect("the case runs")
    });
}
