//! `whitewater show`: a case, and what a run of it showed, in words.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit;
use crate::case::file;
use crate::observation::Observation;
use crate::oracle::judge;
use crate::report::show::{describe, describe_verdict};

/// What an agent calls the observation that it leaves.
const OBSERVATION: &str = "observation.json";

/// The most bytes of an observation that are read.
const OBSERVATION_MAX: u64 = 64 << 20;

/// The most files of evidence that are listed.
const LISTED: usize = 32;

/// Show a case in words, with its topology, and the evidence kept beside it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The case file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    match text(&args.file) {
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

/// All that there is to say about a case file.
fn text(path: &Path) -> Result<String, file::FileError> {
    let case = file::read(path)?;
    let mut text = describe(&case);
    let Some(folder) = evidence(path) else { return Ok(text) };
    match observation(&folder.join(OBSERVATION)) {
        Ok(Some(seen)) => {
            text.push_str("\nwhat its run showed\n\n");
            text.push_str(&describe_verdict(&judge(&case, &seen), &case, &seen));
        }
        Ok(None) => {}
        Err(why) => text.push_str(&format!("\n{why}\n")),
    }
    text.push_str(&format!("\nevidence in {}\n", folder.display()));
    for name in names(&folder) {
        text.push_str(&format!("  {name}\n"));
    }
    Ok(text)
}

/// The folder with the evidence of a case: named as its file without `.toml`, or the one that it lies in.
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
        return Err(failed(&format!("it has more than {OBSERVATION_MAX} bytes")));
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

    fn saved(folder: &Path) -> PathBuf {
        let path = folder.join("corrupt-1.toml");
        file::write(&path, &Case::default()).expect("write");
        path
    }

    #[test]
    fn a_case_alone_is_told_without_evidence() {
        let folder = tempfile::tempdir().expect("tempdir");
        let text = text(&saved(folder.path())).expect("text");
        assert!(text.contains("sends nothing") && !text.contains("evidence"), "{text}");
    }

    #[test]
    fn the_folder_beside_a_case_is_told_with_its_verdict() {
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
