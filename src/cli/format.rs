//! Where `run` and `replay` report to, and in which format.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit;
use crate::report::json::JsonLines;
use crate::report::junit::Junit;
use crate::report::ktap::KtapReport;
use crate::report::terminal::Terminal;
use crate::report::{Report, Reports};

/// The flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Report")]
pub struct Reporting {
    /// The format of standard output; unless it is `human`, the report for people goes to standard error
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Also write a JUnit XML report to this file, at the end
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What standard output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Human,
    /// KTAP version 1, as the kernel's selftests write it
    Ktap,
    /// Each event as a line of JSON (docs/events.schema.json)
    Json,
}

impl Reporting {
    /// Runs `work` with a report as the flags ask for, and returns the exit code of `work`, or of the JUnit file that
    /// cannot be written. `name` is the name of the test suite.
    pub fn report(&self, name: &str, work: impl FnOnce(&mut dyn Report) -> ExitCode) -> ExitCode {
        let mut junit = match self.junit.as_ref().map(|path| Junit::new(path, name)).transpose() {
            Ok(junit) => junit,
            Err(error) => return exit::fail(exit::USAGE, error),
        };
        let code = {
            let (mut machine, mut people): (Option<Box<dyn Report>>, Box<dyn Report>) = match self.format() {
                Format::Human => (None, Box::new(Terminal::new(io::stdout()))),
                Format::Ktap => (Some(Box::new(KtapReport::new(io::stdout()))), Box::new(Terminal::new(io::stderr()))),
                Format::Json => (Some(Box::new(JsonLines::new(io::stdout()))), Box::new(Terminal::new(io::stderr()))),
            };
            let mut reports: Vec<&mut dyn Report> = vec![&mut *people];
            if let Some(machine) = &mut machine {
                reports.push(&mut **machine);
            }
            if let Some(junit) = &mut junit {
                reports.push(junit);
            }
            work(&mut Reports(reports))
        };
        match junit.map(Junit::finish) {
            Some(Err(error)) => exit::fail(exit::UNABLE, error),
            _ => code,
        }
    }

    /// Where the report for people goes.
    pub fn people(&self) -> Box<dyn Write> {
        match self.format() {
            Format::Human => Box::new(io::stdout()),
            Format::Ktap | Format::Json => Box::new(io::stderr()),
        }
    }

    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}
