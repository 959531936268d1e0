//! STUB.
/// STUB.
#[derive(Debug, clap::Args)]
pub struct Args {}
/// STUB.
pub fn run(_args: &Args) -> std::process::ExitCode {
    std::process::ExitCode::from(3)
}
