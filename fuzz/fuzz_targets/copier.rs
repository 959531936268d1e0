//! Plans and environments made up by the fuzzer, against the model of the copier.
//!
//! `cargo +nightly fuzz run copier`; the rules are in `src/copier/model.rs`.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use whitewater::copier::model::{Answer, Params, run};

/// A plan, and what its environment answers.
#[derive(Arbitrary, Debug)]
struct Input {
    params: Params,
    script: Vec<Answer>,
}

fuzz_target!(|input: Input| {
    if let Err(violation) = run(&input.params, &input.script) {
        panic!("{violation}");
    }
});
