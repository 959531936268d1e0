//! The tests' own way of asking a live kernel again, on answers made up.

mod common;

use common::asking::{TIMES, again};

/// Asks with these answers, of which the first ones are used up; what came of it, and how many were.
fn ask(exact: bool, answers: [bool; TIMES]) -> (bool, usize) {
    let mut asked = 0;
    let result = again(exact, || {
        asked += 1;
        if answers[asked - 1] { Ok(()) } else { Err("no") }
    });
    (result.is_ok(), asked)
}

#[test]
fn a_failure_of_a_live_kernel_counts_where_it_shows_again() {
    assert_eq!(ask(false, [true, false, false]), (true, 1));
    assert_eq!(ask(false, [false, true, true]), (true, 3));
    assert_eq!(ask(false, [false, false, true]), (false, 2));
    assert_eq!(ask(false, [false, true, false]), (false, 3));
}

#[test]
fn an_exact_world_is_asked_once() {
    assert_eq!(ask(true, [true, false, false]), (true, 1));
    assert_eq!(ask(true, [false, true, true]), (false, 1));
}
