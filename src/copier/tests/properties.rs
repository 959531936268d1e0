//! The machine against its model.

use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::copier::model::{Answer, Cuts, Input, Params, run};

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..20u32, 0..3000u32, 65530..65542u32, any::<u32>()]
}

fn cuts() -> impl Strategy<Value = Cuts> {
    (0..7u8, number(), number(), vec((number(), 0..500u16), 0..4)).prop_map(|(pattern, first, second, pauses)| Cuts {
        pattern,
        first,
        second,
        pauses,
    })
}

fn params() -> impl Strategy<Value = Params> {
    let send = prop_oneof![0..20u64, 0..100_000u64, any::<u64>()];
    (send, cuts(), cuts(), any::<(bool, bool)>(), 0..500u16, any::<u64>()).prop_map(
        |(send, write, read, (start_after_end, shut_down_after_end), pause_ms, seed)| Params {
            send,
            write,
            read,
            start_after_end,
            shut_down_after_end,
            pause_ms,
            seed,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        40 => any::<u16>().prop_map(Answer::Part),
        40 => (0..64u16).prop_map(Answer::Part),
        40 => Just(Answer::All),
        20 => Just(Answer::Again),
        20 => Just(Answer::Interrupted),
        2 => Just(Answer::Nothing),
        1 => Just(Answer::Fail),
        1 => Just(Answer::Stop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_machine_keeps_every_rule_in_any_environment(params in params(), script in vec(answer(), 0..200)) {
        if let Err(violation) = run(&Input { params, script }) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }
}

#[test]
fn every_file_of_the_fuzz_corpus_keeps_every_rule() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/copier");
    let Ok(files) = std::fs::read_dir(&corpus) else {
        eprintln!("SKIP: there is no {}: packages come without it", corpus.display());
        return;
    };
    for file in files {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let input = Input::arbitrary_take_rest(Unstructured::new(&bytes)).unwrap();
        if let Err(violation) = run(&input) {
            panic!("{}: {violation}", path.display());
        }
    }
}
