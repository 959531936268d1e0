//! Plans and environments made up by the fuzzer, against the model of the copier.
//!
//! `cargo +nightly fuzz run copier`; the rules are in `src/copier/model.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whitewater::copier::model::{Input, run};

fuzz_target!(|input: Input| {
    if let Err(violation) = run(&input) {
        panic!("{violation}");
    }
});
