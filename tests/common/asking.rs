//! Asking again: no run on a live kernel is like the last, and a busy machine shows now and then what nobody meant to test.
//! So a failure counts there where it shows again. A deterministic kernel is asked once.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use whitewater::world::World;

/// How often a live kernel is asked where the first answer is a failure: the majority counts.
pub const TIMES: usize = 3;

/// Asks until the majority of [`TIMES`] answers is known, in an exact world once. Returns the first success, or the last
/// failure. Failures that do not count are told.
///
/// # Errors
/// The failure, where it has shown in most answers.
pub fn again<T, E: std::fmt::Display>(exact: bool, mut ask: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let (mut good, mut bad) = (None, 0);
    // A success at first is believed at once, so all that follow come after a failure.
    for _ in 0..TIMES {
        match ask() {
            Ok(answer) if bad == 0 => return Ok(answer),
            Ok(answer) => good = Some(answer),
            Err(failure) => {
                bad += 1;
                if exact || 2 * bad > TIMES {
                    return Err(failure);
                }
                println!("asked again, since this may be chance: {failure}");
            }
        }
    }
    Ok(good.expect("fewer than most answers were failures"))
}

/// The same for a check that panics where it does not hold.
pub fn sure<T>(world: &dyn World, check: impl Fn() -> T) -> T {
    let mut panic = None;
    let answer = again(world.is_exact(), || {
        catch_unwind(AssertUnwindSafe(&check)).map_err(|payload| {
            panic = Some(payload);
            format!("a check in the {} world", world.name())
        })
    });
    answer.unwrap_or_else(|_| resume_unwind(panic.expect("what has failed has panicked")))
}
