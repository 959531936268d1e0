//! `whitewater kernel`: the kernels of the deterministic world.

pub(in crate::cli) mod build;
mod check;
mod run;

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};

use super::exit;
use crate::world::uml::kernels::{KernelError, Store};

/// How many digits of a kernel's hash are shown.
const HASH_SHOWN: usize = 12;

/// Build, list, check, run and remove the kernels of the deterministic world.
///
/// They are kept in the user's data folder, or in the folder that WHITEWATER_KERNELS names.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a kernel from a tree or a tarball, and install it
    Build(build::Args),
    /// List the installed kernels
    List,
    /// Check that a kernel boots, has what cases need, and runs the same case the same way each time
    Check(check::Args),
    Run(run::Args),
    /// Remove a kernel and the objects kept for its next build
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// The kernel's name, as `kernel list` shows it
    name: String,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let done = match &args.command {
        Command::Build(args) => build::run(args),
        Command::List => list(),
        Command::Check(args) => check::run(args),
        Command::Run(args) => run::run(args),
        Command::Remove(args) => remove(&args.name),
    };
    done.unwrap_or_else(|error| exit::fail(code_of(&error), error))
}

/// A wrong name is a mistake on the command line; everything else is a matter of the machine.
fn code_of(error: &KernelError) -> u8 {
    match error {
        KernelError::Unknown { .. } | KernelError::Name(_) => exit::USAGE,
        _ => exit::UNABLE,
    }
}

fn list() -> Result<ExitCode, KernelError> {
    let store = Store::of_this_user()?;
    let kernels = store.list()?;
    if kernels.is_empty() {
        eprintln!("no kernel is installed in {}; `whitewater kernel build` makes one", store.folder().display());
        return Ok(exit::PASSED.into());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["name", "version", "kind", "sha256", "built from"]);
    for kernel in kernels {
        let manifest = kernel.manifest;
        let kind = match (manifest.debug, manifest.coverage) {
            (false, false) => "plain",
            (true, false) => "debug",
            (false, true) => "coverage",
            (true, true) => "debug, coverage",
        };
        let hash = manifest.sha256.get(..HASH_SHOWN).unwrap_or(&manifest.sha256).to_owned();
        let source = manifest.source.display().to_string();
        table.add_row([kernel.name, manifest.version, kind.to_owned(), hash, source]);
    }
    println!("{}", table.trim_fmt());
    Ok(exit::PASSED.into())
}

fn remove(name: &str) -> Result<ExitCode, KernelError> {
    Store::of_this_user()?.remove(name)?;
    eprintln!("removed {name}");
    Ok(exit::PASSED.into())
}
