//! The command-line program.

use std::process::ExitCode;

use whitewater::agent::init;

fn main() -> ExitCode {
    // Before anything else: in a guest there is no command line.
    if init::is_guest() {
        return init::main();
    }
    whitewater::cli::main()
}
