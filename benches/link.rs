//! How many frames a second one direction of a link decides about: the whole path of a frame through the engine, without
//! the system calls. Run with `cargo bench --bench link`.

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use etherparse::PacketBuilder;
use whitewater::case::{Direction, Impairments, Jitter, Link, LinkId, Loss, Rate, Reorder};
use whitewater::link::engine::Engine;
use whitewater::seed::Seed;

/// How many frames one round takes through.
const FRAMES: u32 = 10_000;

/// The payload of each, in bytes.
const PAYLOAD: u32 = 1448;

fn main() {
    divan::main();
}

/// The segments of a stream, as frames.
fn stream() -> Vec<Vec<u8>> {
    let payload = vec![7; PAYLOAD as usize];
    (0..FRAMES)
        .map(|index| {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
                .ipv4([10, 0, 1, 1], [10, 0, 1, 2], 64)
                .tcp(40000, 5000, 1 + index * PAYLOAD, 1000)
                .ack(1)
                .write(&mut frame, &payload)
                .expect("a vector takes all bytes");
            frame
        })
        .collect()
}

/// Takes the stream through a link with `impairments`, one frame every 3 us, each sent when it is due.
fn carry(bencher: Bencher<'_, '_>, impairments: Impairments) {
    let frames = stream();
    let link = Link { forward: impairments, ..Link::default() };
    bencher
        .counter(ItemsCount::new(FRAMES))
        .with_inputs(|| (Engine::new(Seed(1), LinkId::Ns1Ns2, &link), frames.clone()))
        .bench_local_values(|(mut engine, frames)| {
            let mut sent = 0;
            for (index, mut frame) in frames.into_iter().enumerate() {
                let now = index as u64 * 3000;
                sent += engine.offer(Direction::Forward, now, &mut frame);
                while let Some(due) = engine.due(Direction::Forward, now) {
                    sent += 1;
                    engine.recycle(Direction::Forward, due.frame);
                }
            }
            sent
        });
}

#[divan::bench]
fn no_stage(bencher: Bencher<'_, '_>) {
    carry(bencher, Impairments::default());
}

#[divan::bench]
fn delay(bencher: Bencher<'_, '_>) {
    carry(bencher, Impairments { delay: Duration::from_millis(10), ..Impairments::default() });
}

#[divan::bench]
fn loss(bencher: Bencher<'_, '_>) {
    carry(bencher, Impairments { loss: Some(Loss::Independent(0.02)), ..Impairments::default() });
}

#[divan::bench]
fn all_stages(bencher: Bencher<'_, '_>) {
    let impairments = Impairments {
        loss: Some(Loss::GilbertElliott { to_bad: 0.01, to_good: 0.3, good: 0.0, bad: 0.5 }),
        corrupt: 0.01,
        duplicate: 0.01,
        rate: Some(Rate { kbit: 10_000_000, queue: 1000 }),
        delay: Duration::from_millis(10),
        jitter: Some(Jitter::Normal(Duration::from_millis(1))),
        reorder: Some(Reorder { probability: 0.01, correlation: 0.25, gap: 0 }),
        ..Impairments::default()
    };
    carry(bencher, impairments);
}
