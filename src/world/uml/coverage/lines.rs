//! Lines and functions: what gcov makes of counters, and the tracefile of lcov that other tools read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lcov::Record;
use serde::Deserialize;

use super::CoverageError;
use crate::agent::coverage::WANTED;

/// The lines of one source file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLines {
    /// Where the compiler found the file.
    pub source: PathBuf,
    /// How often each line with code was executed, by its number.
    pub lines: BTreeMap<u32, u64>,
    /// Its functions, by name.
    pub functions: BTreeMap<String, Function>,
}

/// A function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// The line that it begins in.
    pub line: u32,
    /// How often it was called.
    pub calls: u64,
}

impl FileLines {
    /// How many lines were executed at least once.
    pub fn executed(&self) -> usize {
        self.lines.values().filter(|&&count| count > 0).count()
    }
}

/// The JSON that gcov writes (gcc 9 and later).
#[derive(Deserialize)]
struct Output {
    files: Vec<OutputFile>,
}

#[derive(Deserialize)]
struct OutputFile {
    file: String,
    functions: Vec<OutputFunction>,
    lines: Vec<OutputLine>,
}

#[derive(Deserialize)]
struct OutputFunction {
    name: String,
    start_line: u32,
    execution_count: u64,
}

#[derive(Deserialize)]
struct OutputLine {
    line_number: u32,
    count: u64,
}

/// Adds what gcov says of `object`, whose counters and notes lie in `folder`, to `files`.
pub(super) fn add(files: &mut BTreeMap<String, FileLines>, object: &str, folder: &Path) -> Result<(), CoverageError> {
    let failed = |why: String| CoverageError::Gcov { object: object.to_owned(), why };
    let mut gcov = Command::new("gcov");
    gcov.args(["--json-format", "--stdout"]).arg(object).current_dir(folder).stdin(Stdio::null());
    let output = gcov.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    merge(files, &output.stdout).map_err(|error| failed(error.to_string()))
}

/// Adds gcov's JSON to `files`, as far as its files are wanted.
fn merge(files: &mut BTreeMap<String, FileLines>, json: &[u8]) -> Result<(), serde_json::Error> {
    let output: Output = serde_json::from_slice(json)?;
    for file in output.files {
        let Some(name) = wanted(&file.file) else { continue };
        let known = files.entry(name).or_default();
        known.source = file.file.into();
        for line in file.lines {
            // A line stands here more than once where it belongs to several functions.
            let count = known.lines.entry(line.line_number).or_default();
            *count = count.saturating_add(line.count);
        }
        for function in file.functions {
            let known = known.functions.entry(function.name).or_default();
            known.line = function.start_line;
            known.calls = known.calls.saturating_add(function.execution_count);
        }
    }
    Ok(())
}

/// The path in the kernel tree of a source file, where its lines are wanted: `net/mptcp/pm.c`.
fn wanted(path: &str) -> Option<String> {
    WANTED.into_iter().find_map(|(tree, prefix)| {
        let (folder, name) = path.rsplit_once('/')?;
        (Path::new(folder).ends_with(tree) && name.starts_with(prefix) && name.ends_with(".c"))
            .then(|| format!("{tree}/{name}"))
    })
}

/// The files as a tracefile of lcov (geninfo(1)), for `genhtml` and the like.
pub fn lcov(files: &BTreeMap<String, FileLines>) -> String {
    let mut records = vec![Record::TestName { name: String::new() }];
    for file in files.values() {
        records.push(Record::SourceFile { path: file.source.clone() });
        let functions = || file.functions.iter();
        records.extend(functions().map(|(name, f)| Record::FunctionName { name: name.clone(), start_line: f.line }));
        records.extend(functions().map(|(name, f)| Record::FunctionData { name: name.clone(), count: f.calls }));
        records.push(Record::FunctionsFound { found: number(file.functions.len()) });
        records.push(Record::FunctionsHit { hit: number(functions().filter(|(_, f)| f.calls > 0).count()) });
        records.extend(file.lines.iter().map(|(&line, &count)| Record::LineData { line, count, checksum: None }));
        records.push(Record::LinesFound { found: number(file.lines.len()) });
        records.push(Record::LinesHit { hit: number(file.executed()) });
        records.push(Record::EndOfRecord);
    }
    records.into_iter().map(|record| format!("{record}\n")).collect()
}

/// No file has as many lines as would not fit.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"gcc_version": "12.2.0", "files": [
        {"file": "/home/u/linux/net/mptcp/pm.c",
         "lines": [{"line_number": 7, "count": 2, "function_name": "f"}, {"line_number": 8, "count": 0},
                   {"line_number": 7, "count": 1}],
         "functions": [{"name": "f", "start_line": 6, "execution_count": 2}, {"name": "g", "start_line": 8, "execution_count": 0}]},
        {"file": "/home/u/linux/include/net/tcp.h", "lines": [{"line_number": 1, "count": 1}], "functions": []},
        {"file": "/home/u/linux/net/ipv4/tcp_input.c", "lines": [], "functions": []},
        {"file": "/home/u/linux/net/ipv4/udp.c", "lines": [], "functions": []}]}"#;

    fn files() -> BTreeMap<String, FileLines> {
        let mut files = BTreeMap::new();
        merge(&mut files, JSON.as_bytes()).unwrap();
        files
    }

    #[test]
    fn lines_that_belong_to_several_functions_are_added_up() {
        let files = files();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["net/ipv4/tcp_input.c", "net/mptcp/pm.c"]);
        let file = &files["net/mptcp/pm.c"];
        assert_eq!(file.lines, BTreeMap::from([(7, 3), (8, 0)]));
        assert_eq!((file.executed(), file.functions["f"]), (1, Function { line: 6, calls: 2 }));
    }

    #[test]
    fn a_tracefile_has_a_section_for_each_file() {
        let text = lcov(&files());
        let section = "SF:/home/u/linux/net/mptcp/pm.c\nFN:6,f\nFN:8,g\nFNDA:2,f\nFNDA:0,g\nFNF:2\nFNH:1\n\
                       DA:7,3\nDA:8,0\nLF:2\nLH:1\nend_of_record\n";
        assert!(text.ends_with(section), "{text}");
        let records: Result<Vec<Record>, _> = lcov::Reader::new(text.as_bytes()).collect();
        assert_eq!(records.map(|records| records.len()).ok(), Some(text.lines().count()));
    }
}
