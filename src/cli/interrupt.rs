//! Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit;
use crate::world::World;

/// A flag that the first Ctrl-C (or SIGTERM, or SIGHUP) sets, so that a campaign ends with its summary; running cases are
/// abandoned at once. A second one ends the process on the spot; agents die with the process that started them.
pub fn flag(world: &Arc<dyn World>) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let (seen, world) = (Arc::clone(&flag), Arc::clone(world));
    let set = ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(exit::INTERRUPTED.into());
        }
        world.abandon();
    });
    if let Err(error) = set {
        eprintln!("warning: cannot catch Ctrl-C, which will end the program without a summary: {error}");
    }
    flag
}
