//! How `run` and `replay` tell what happens.

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
pub struct Telling {
    /// Write this to standard output; where it is not for people, what is goes to standard error
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Write a JUnit XML report to this file, at the end
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

impl Telling {
    /// Lets `work` report as the flags say. `work` gives the exit code; where a file cannot be written that is an error
    /// of its own. `name`: what was called.
    pub fn tell(&self, name: &str, work: impl FnOnce(&mut dyn Report) -> ExitCode) -> ExitCode {
        let mut junit = match self.junit.as_ref().map(|path| Junit::new(path, name)).transpose() {
            Ok(junit) => junit,
            Err(error) => return exit::fail(exit::USAGE, error),
        };
        let code = {
            let (mut ours, mut people): (Option<Box<dyn Report>>, Box<dyn Report>) = match self.format() {
                Format::Human => (None, Box::new(Terminal::new(io::stdout()))),
                Format::Ktap => (Some(Box::new(KtapReport::new(io::stdout()))), Box::new(Terminal::new(io::stderr()))),
                Format::Json => (Some(Box::new(JsonLines::new(io::stdout()))), Box::new(Terminal::new(io::stderr()))),
            };
            let mut reports: Vec<&mut dyn Report> = vec![&mut *people];
            if let Some(ours) = &mut ours {
                reports.push(&mut **ours);
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

    /// Where what is for people goes.
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
