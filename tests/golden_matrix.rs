//! What a transfer comes to over buffer size, loss and pairing in virtual time, compared with `tests/snapshots/`: any change
//! of the kernel's behaviour, or of ours, is a line of a diff.
//!
//! Figures of this world do not depend on the machine, but they do on the kernel program. So the goodput is told in classes,
//! each twice as fast as the one before, of the median over some seeds: a kernel of the same series falls into the same ones.
//! What differs is to be looked at, and where it is right, accepted: `cargo insta review`, or
//! `INSTA_UPDATE=always cargo test --test golden_matrix`. Where no kernel is installed the test says so and is skipped.

mod common;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use whitewater::case::{Case, Host, Impairments, Link, LinkId, Loss, Pairing};
use whitewater::oracle::judge;
use whitewater::seed::Seed;
use whitewater::world::World;
use whitewater::world::uml::{UmlOptions, UmlWorld};

/// How many bytes the client sends.
const BYTES: u64 = 250_000;
/// How long a packet takes each way.
const DELAY: Duration = Duration::from_millis(10);
/// SO_SNDBUF of the client and SO_RCVBUF of the server; `None`: as the kernel likes.
const BUFFERS: [Option<u32>; 3] = [Some(16 << 10), Some(128 << 10), None];
/// The share of packets lost, in percent.
const LOSSES: [u32; 3] = [0, 1, 5];
/// How many seeds a lossy cell has.
const SEEDS: u64 = 3;

/// One cell of the matrix.
#[derive(Clone, Copy)]
struct Cell {
    pairing: Pairing,
    buffer: Option<u32>,
    loss: u32,
}

impl Cell {
    fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for pairing in Pairing::ALL {
            for buffer in BUFFERS {
                cells.extend(LOSSES.map(|loss| Cell { pairing, buffer, loss }));
            }
        }
        cells
    }

    fn case(self, seed: u64) -> Case {
        let mut case = Case { seed: Seed(seed), ..Case::default() };
        (case.client.protocol, case.server.protocol) = (self.pairing.client, self.pairing.server);
        case.server.host = Host::Ns2;
        case.client.payload = BYTES;
        case.client.options.sndbuf = self.buffer;
        case.server.options.rcvbuf = self.buffer;
        let backward = Impairments { delay: DELAY, ..Impairments::default() };
        let loss = (self.loss > 0).then(|| Loss::Independent(f64::from(self.loss) / 100.0));
        let forward = Impairments { loss, ..backward.clone() };
        case.links.insert(LinkId::Ns1Ns2, Link { forward, backward, ..Link::default() });
        case
    }

    /// The verdicts of its runs, where they differ all of them, and the class of their goodput.
    fn run(self, world: &UmlWorld) -> String {
        let seeds = if self.loss == 0 { 1 } else { SEEDS };
        let (mut verdicts, mut rates) = (Vec::new(), Vec::new());
        for seed in 1..=seeds {
            let case = self.case(seed);
            let seen = world.run(&case, &|_| None).expect("the case runs");
            verdicts.push(judge(&case, &seen).kind.to_string());
            rates.push(seen.server.received as f64 * 8.0 / seen.timings.transfer.as_secs_f64() / 1e3);
        }
        rates.sort_by(f64::total_cmp);
        verdicts.sort();
        verdicts.dedup();
        format!("{} {}", verdicts.join("/"), class(rates[rates.len() / 2]))
    }
}

/// A goodput in kbit/s as a class: the power of two that is next to it.
fn class(kbit: f64) -> String {
    format!("{:>6} kbit/s", 1_u64 << kbit.max(1.0).log2().round() as u32)
}

#[test]
fn goodput_and_verdicts_are_as_they_were() {
    let Some(world) = common::uml_world(UmlOptions::default()) else { return };
    let version = world.kernel().manifest.version.clone();

    let cells = Cell::all();
    let results: Vec<Mutex<String>> = cells.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..world.cpus() {
            scope.spawn(|| {
                while let Some((cell, result)) = cells.iter().zip(&results).nth(next.fetch_add(1, Ordering::Relaxed)) {
                    *result.lock().expect("no panic") = cell.run(&world);
                }
            });
        }
    });

    let mut table = format!("{BYTES} bytes from client to server, {} ms each way, by share lost\n", DELAY.as_millis());
    let mut results = results.into_iter().map(|result| result.into_inner().expect("no panic"));
    for row in cells.chunks(LOSSES.len()) {
        let buffer = row[0].buffer.map_or("kernel's".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
        write!(table, "{:<12} {buffer:<9}", row[0].pairing.to_string()).expect("to a string");
        for cell in row {
            let result = results.next().expect("one for each cell");
            write!(table, " | {}%: {result}", cell.loss).expect("to a string");
        }
        table.push('\n');
    }
    // The version stands in the snapshot's head, to know what it was made with, and is not compared.
    insta::with_settings!({ description => format!("made on Linux {version}"), omit_expression => true }, {
        insta::assert_snapshot!(table);
    });
}
