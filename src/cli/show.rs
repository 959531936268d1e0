//! `whitewater show`: a case and the evidence of its run, in words.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit;
use crate::case::{Case, file};
use crate::link::log::read::{self, Captured};
use crate::observation::Observation;
use crate::oracle::judge;
use crate::report::show::{describe, describe_packets, describe_verdict};

/// What an agent calls the observation that it leaves.
const OBSERVATION: &str = "observation.json";

/// The most bytes of an observation that are read.
const OBSERVATION_MAX: u64 = 64 << 20;

/// The most files of evidence that are listed.
const LISTED: usize = 32;

/// The most packet logs that are drawn.
const LINKS: usize = 16;

/// Show a case in words, with its topology and the evidence kept beside it: the verdict, and the packets as a ladder.
///
/// Uneventful stretches of a ladder are folded. If some links did something to their packets, the others are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The case file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The folder with the evidence [default: the one named after FILE, or the one that FILE is in]
    #[arg(long, value_name = "FOLDER")]
    evidence: Option<PathBuf>,

    /// Show every packet of every link
    #[arg(long)]
    all: bool,
}

const EXAMPLES: &str = "\
Examples:
  whitewater show findings/stalled-1a2b3c4d.toml | less -S
  whitewater replay --capture kept case.toml; whitewater show --evidence kept/1-1 case.toml";

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    match text(args) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            // Whoever closed the pipe has read enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                exit::fail(exit::UNABLE, format!("cannot write to standard output: {error}"))
            }
            _ => exit::PASSED.into(),
        },
        Err(error) => exit::fail(exit::USAGE, error),
    }
}

/// Everything there is to say about a case file.
fn text(args: &Args) -> Result<String, file::FileError> {
    let case = file::read(&args.file)?;
    let mut text = describe(&case);
    let Some(folder) = args.evidence.clone().or_else(|| evidence(&args.file)) else {
        let name = args.file.display();
        text.push_str(&format!(
            "\nno evidence beside it: `whitewater replay --capture FOLDER {name}` keeps it in FOLDER/1-1,\n\
             and `whitewater show --evidence FOLDER/1-1 {name}` shows it, with the packets\n"
        ));
        return Ok(text);
    };
    let seen = observation(&folder.join(OBSERVATION));
    match &seen {
        Ok(Some(seen)) => {
            text.push_str("\nwhat its run showed\n\n");
            text.push_str(&describe_verdict(&judge(&case, seen), &case, seen));
        }
        Ok(None) => {}
        Err(why) => text.push_str(&format!("\n{why}\n")),
    }
    text.push_str(&packets(&folder, &case, seen.ok().flatten().as_ref(), args.all));
    text.push_str(&format!("\nevidence in {}\n", folder.display()));
    for name in names(&folder) {
        text.push_str(&format!("  {name}\n"));
    }
    Ok(text)
}

/// The ladders of the links whose packets were kept in `folder`: of all links if `all`, else of those that did something
/// to their packets, or of the first link if none did.
fn packets(folder: &Path, case: &Case, seen: Option<&Observation>, all: bool) -> String {
    let (mut links, mut text) = (Vec::new(), String::new());
    for path in logs(folder) {
        match read::read(&path) {
            Ok(link) if link.packets.is_empty() => {}
            Ok(link) => links.push(link),
            Err(error) => text.push_str(&format!("\n{error}\n")),
        }
    }
    let touched = |link: &Captured| link.packets.iter().any(|packet| !packet.is_untouched());
    let some = links.iter().any(touched);
    let mut first = true;
    let (shown, quiet): (Vec<Captured>, Vec<Captured>) =
        links.into_iter().partition(|link| all || touched(link) || (!some && std::mem::take(&mut first)));
    if shown.is_empty() {
        return text;
    }
    text.push_str("\nits packets\n\n");
    text.push_str(&describe_packets(&shown, case, seen, all));
    if !quiet.is_empty() {
        let names: Vec<&str> = quiet.iter().map(|link| link.name.as_str()).collect();
        text.push_str(&format!(
            "\n  not shown: {}, where nothing was done to packets (--all shows all)\n",
            names.join(", ")
        ));
    }
    text
}

/// The packet logs in a folder, in order.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "pcapng")).collect();
    logs.sort();
    logs.truncate(LINKS);
    logs
}

/// The folder with the evidence of a case: named as its file without `.toml`, or the one that it is in.
fn evidence(path: &Path) -> Option<PathBuf> {
    let named = path.with_extension("");
    let around = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let holds = |folder: &Path| folder.join(OBSERVATION).is_file();
    match around {
        _ if named.is_dir() => Some(named),
        Some(around) if holds(around) => Some(around.to_owned()),
        _ => None,
    }
}

/// What was seen, where there is a record of it.
fn observation(path: &Path) -> Result<Option<Observation>, String> {
    let failed = |what: &dyn std::fmt::Display| format!("cannot use {}: {what}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let mut text = Vec::new();
    file.take(OBSERVATION_MAX + 1).read_to_end(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > OBSERVATION_MAX {
        return Err(failed(&format!("it is larger than {OBSERVATION_MAX} bytes")));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| failed(&error))
}

/// The files in a folder with their sizes, in order.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let bytes = entry.metadata().ok().filter(fs::Metadata::is_file)?.len();
            Some(format!("{} ({bytes} bytes)", entry.file_name().to_string_lossy()))
        })
        .collect();
    names.sort();
    if let Some(more @ 1..) = names.len().checked_sub(LISTED) {
        names.truncate(LISTED);
        names.push(format!("and {more} more"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::oracle::healthy;

    fn text(file: &Path) -> Result<String, file::FileError> {
        super::text(&Args { file: file.to_owned(), evidence: None, all: false })
    }

    fn saved(folder: &Path) -> PathBuf {
        let path = folder.join("corrupt-1.toml");
        file::write(&path, &Case::default()).expect("write");
        path
    }

    #[test]
    fn a_case_alone_is_shown_without_evidence() {
        let folder = tempfile::tempdir().expect("tempdir");
        let text = text(&saved(folder.path())).expect("text");
        assert!(text.contains("sends nothing") && text.contains("no evidence beside it"), "{text}");
    }

    #[test]
    fn the_folder_beside_a_case_is_shown_with_its_verdict() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = saved(folder.path());
        let evidence = folder.path().join("corrupt-1");
        fs::create_dir(&evidence).expect("mkdir");
        let mut seen = healthy::observation(&Case::default());
        seen.client.end_of_stream = false;
        fs::write(evidence.join(OBSERVATION), serde_json::to_vec(&seen).expect("json")).expect("write");
        fs::write(evidence.join("ns1-ns2.log"), "a packet").expect("write");
        let text = text(&path).expect("text");
        assert!(text.contains("the client finished, but saw no end of stream"), "{text}");
        assert!(text.contains("  ns1-ns2.log (8 bytes)\n"), "{text}");
    }

    #[test]
    fn a_broken_observation_hides_nothing_else() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = saved(folder.path());
        fs::write(folder.path().join(OBSERVATION), "{").expect("write");
        let text = text(&path).expect("text");
        assert!(text.contains("cannot use") && text.contains("evidence in"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_case_is_refused() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("no.toml");
        fs::write(&path, "colour = 1").expect("write");
        assert!(text(&path).is_err());
        assert!(text(&folder.path().join("missing.toml")).is_err());
    }
}
