//! `whitewater kernel build`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit;
use crate::world::uml::kernels::{BuildOptions, Built, KernelError, Progress, Store};

/// How often the line that shows the progress moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// Build a kernel from a tree or a tarball, and install it.
///
/// The tree is not written to. The next build of the same name compiles only what has changed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A kernel tree or a tarball of one [default: the newest linux-source package in /usr/src]
    #[arg(long, value_name = "DIR|TARBALL")]
    source: Option<PathBuf>,
    /// The kernel's name [default: default, debug, coverage or debug-coverage]
    #[arg(long)]
    name: Option<String>,
    /// Build a kernel that checks itself (KASAN, lockdep, UBSAN and others); it is about ten times slower
    #[arg(long)]
    debug: bool,
    /// Build a kernel that counts which lines of net/mptcp and net/ipv4 it executes
    #[arg(long)]
    coverage: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> Result<ExitCode, KernelError> {
    let options = BuildOptions {
        source: args.source.clone(),
        name: args.name.clone(),
        debug: args.debug,
        coverage: args.coverage,
    };
    let began = Instant::now();
    let built = showing_progress(&options)?;
    if !built.unmet.is_empty() {
        let lines = built.unmet.join("\n  ");
        eprintln!("this source does not support these options; cases that need them are skipped:\n  {lines}");
    }
    let kernel = &built.kernel;
    println!("{}: Linux {} in {}", kernel.name, kernel.manifest.version, kernel.program().display());
    eprintln!("{} steps in {} s", built.steps, began.elapsed().as_secs());
    Ok(exit::PASSED.into())
}

/// Builds a kernel into this user's store, with a progress display.
pub(in crate::cli) fn showing_progress(options: &BuildOptions) -> Result<Built, KernelError> {
    let store = Store::of_this_user()?;
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{elapsed_precise} {spinner} {wide_msg}");
    bar.set_style(style.expect("the template is a constant that was tried"));
    bar.enable_steady_tick(TICK);
    let built = store.build(options, &mut |progress| bar.set_message(words(progress)));
    bar.finish_and_clear();
    built
}

fn words(progress: Progress<'_>) -> String {
    match progress {
        Progress::Unpacking(tarball) => format!("unpacking {}", tarball.display()),
        Progress::Configuring(tree) => format!("configuring {}", tree.display()),
        Progress::Compiling { steps, what } => format!("{steps:>5} {what}"),
        Progress::Installing => "installing".to_owned(),
    }
}
