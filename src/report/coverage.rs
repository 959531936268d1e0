//! The lines of a kernel that a campaign has executed, as a table.

use std::collections::BTreeMap;

use comfy_table::CellAlignment;

use super::table;
use crate::world::uml::coverage::FileLines;

/// A row for each file, in order, and one for each folder together. `runs`: how many cases were counted.
pub fn table(files: &BTreeMap<String, FileLines>, runs: u64) -> String {
    let mut table = table::plain();
    table.set_header(["file", "lines", "executed", "share", "functions", "called"]);
    let mut folders: BTreeMap<&str, Count> = BTreeMap::new();
    for (path, file) in files {
        let count = Count::of(file);
        table.add_row(count.row(path));
        let (folder, _) = path.rsplit_once('/').unwrap_or_default();
        folders.entry(folder).or_default().add(count);
    }
    table.add_rows(folders.iter().map(|(folder, count)| count.row(&format!("{folder} together"))));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let cases = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
    format!("lines of the kernel executed in {cases}\n{}\n", table.trim_fmt())
}

#[derive(Clone, Copy, Default)]
struct Count {
    lines: usize,
    executed: usize,
    functions: usize,
    called: usize,
}

impl Count {
    fn of(file: &FileLines) -> Count {
        let called = file.functions.values().filter(|function| function.calls > 0).count();
        Count { lines: file.lines.len(), executed: file.executed(), functions: file.functions.len(), called }
    }

    fn add(&mut self, other: Count) {
        self.lines += other.lines;
        self.executed += other.executed;
        self.functions += other.functions;
        self.called += other.called;
    }

    fn row(&self, name: &str) -> [String; 6] {
        // A file without code has all of it executed.
        let share = if self.lines == 0 { 100.0 } else { 100.0 * self.executed as f64 / self.lines as f64 };
        let [lines, executed, functions, called] =
            [self.lines, self.executed, self.functions, self.called].map(|count| count.to_string());
        [name.to_owned(), lines, executed, format!("{share:.1} %"), functions, called]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::uml::coverage::Function;

    #[test]
    fn files_and_folders_have_their_rows() {
        let file = |counts: &[u64]| FileLines {
            lines: (1..).zip(counts.iter().copied()).collect(),
            functions: [("f".to_owned(), Function { line: 1, calls: counts[0] })].into(),
            ..FileLines::default()
        };
        let files = BTreeMap::from([
            ("net/ipv4/tcp.c".to_owned(), file(&[0, 0])),
            ("net/mptcp/pm.c".to_owned(), file(&[5, 0, 1])),
            ("net/mptcp/options.c".to_owned(), file(&[1])),
        ]);
        insta::assert_snapshot!(table(&files, 12));
    }
}
