//! `whitewater kernel check`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::case::{Case, Host, Impairments, Link, LinkId, Loss, Protocol};
use crate::cli::exit;
use crate::oracle::judge;
use crate::seed::Seed;
use crate::world::WorldError;
use crate::world::uml::kernels::{Kernel, KernelError, Store};
use crate::world::uml::{UmlOptions, UmlWorld};

/// How often the kernel is booted, and the case run.
const TIMES: usize = 5;

/// Check that a kernel boots, has what cases need, and runs the same case the same way each time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kernel's name [default: default, or the only one installed]
    name: Option<String>,
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> Result<ExitCode, KernelError> {
    let kernel = Store::of_this_user()?.find(args.name.as_deref())?;
    println!("{}: Linux {} ({})", kernel.name, kernel.manifest.version, kernel.manifest.sha256);
    let complete = configuration(&kernel)?;
    Ok(match trials(kernel) {
        Ok(true) if complete => exit::PASSED.into(),
        Ok(_) => exit::UNABLE.into(),
        Err(error) => exit::fail(exit::UNABLE, error),
    })
}

/// Whether the kernel has every line that cases may need.
fn configuration(kernel: &Kernel) -> Result<bool, KernelError> {
    let unmet = kernel.unmet()?;
    if unmet.is_empty() {
        println!("configuration: complete");
    } else {
        println!("configuration: lacks {}; build it again, perhaps from another source", unmet.join(", "));
    }
    Ok(unmet.is_empty())
}

/// Whether the kernel boots, and runs the same case the same way each time.
fn trials(kernel: Kernel) -> Result<bool, WorldError> {
    let world = UmlWorld::with(kernel, UmlOptions::default())?;
    let boot = median((0..TIMES).map(|_| timed(|| world.boot())))?.0;
    println!("boot: {:.1} ms from start to power-off", milliseconds(boot));

    let case = lossy_transfer();
    let mut prints = Vec::new();
    let runs =
        (0..TIMES).map(|_| timed(|| world.fingerprint(&case)).inspect(|(_, (_, print))| prints.push(print.clone())));
    let (time, (observation, _)) = median(runs)?;
    let verdict = judge(&case, &observation);
    println!(
        "case: {verdict} in {:.1} ms (two-way, MPTCP, three lossy links)",
        milliseconds(time),
        verdict = verdict.kind
    );
    let alike = prints.windows(2).all(|pair| pair[0] == pair[1]);
    if alike {
        println!("determinism: {TIMES} runs, all packets equal ({})", &prints[0]);
    } else {
        println!("determinism: {TIMES} runs of one case differ: {}", prints.join(", "));
    }
    Ok(alike && !verdict.kind.is_finding())
}

/// A case in which a lot happens: 100 kB both ways over lossy links.
fn lossy_transfer() -> Case {
    const PAYLOAD: u64 = 100_000;
    let mut case = Case { seed: Seed(1), ..Case::default() };
    for (endpoint, host) in [(&mut case.client, Host::Ns1), (&mut case.server, Host::Ns4)] {
        endpoint.host = host;
        endpoint.protocol = Protocol::Mptcp;
        endpoint.payload = PAYLOAD;
    }
    for id in LinkId::CHAIN {
        let lossy = Impairments {
            delay: Duration::from_millis(5),
            loss: Some(Loss::Independent(0.02)),
            ..Impairments::default()
        };
        case.links.insert(id, Link { forward: lossy.clone(), backward: lossy, ..Link::default() });
    }
    case
}

fn timed<T>(run: impl FnOnce() -> Result<T, WorldError>) -> Result<(Duration, T), WorldError> {
    let began = Instant::now();
    let value = run()?;
    Ok((began.elapsed(), value))
}

/// The run that took the median time.
fn median<T>(runs: impl Iterator<Item = Result<(Duration, T), WorldError>>) -> Result<(Duration, T), WorldError> {
    let mut runs = runs.collect::<Result<Vec<_>, _>>()?;
    runs.sort_by_key(|(time, _)| *time);
    Ok(runs.swap_remove(runs.len() / 2))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
