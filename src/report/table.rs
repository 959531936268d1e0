//! The tables at the end of a campaign.

use std::path::Path;

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

use super::{Bug, Summary, words};

/// The widest a table gets where the terminal does not say.
const WIDTH: u16 = 118;

/// The findings, new ones first.
pub fn bugs(summary: &Summary) -> String {
    let mut table = plain();
    table.set_header(["finding", "cases", "replays", "file"]);
    for bug in &summary.findings {
        let file = bug.file.as_ref().map(|file| file.display().to_string());
        table.add_row([bug.signature.clone(), cases(bug), replays(bug), file.unwrap_or_default()]);
    }
    for bug in &summary.known {
        let note = bug.note.clone().unwrap_or_default();
        table.add_row([bug.signature.clone(), cases(bug), "known".to_owned(), note]);
    }
    table.trim_fmt()
}

fn cases(bug: &Bug) -> String {
    match bug.count {
        0 => "while shrinking".to_owned(),
        count => count.to_string(),
    }
}

fn replays(bug: &Bug) -> String {
    bug.seen.clone().unwrap_or_else(|| "not shrunk".to_owned())
}

/// The counts by verdict, and the rate.
pub fn verdicts(summary: &Summary) -> String {
    let mut table = plain();
    table.set_header(["verdict", "cases"]);
    for (kind, count) in &summary.verdicts {
        table.add_row([words::plain(*kind), count.to_string()]);
    }
    table.add_row(["together".to_owned(), summary.cases.to_string()]);
    let drawing = (summary.seconds - summary.shrinking_seconds).max(f64::MIN_POSITIVE);
    let rate = format!("{:.1} s, {:.0} cases/s", summary.seconds, summary.cases as f64 / drawing);
    let shrinking = match summary.shrinking_seconds {
        0.0 => String::new(),
        seconds => format!(", {seconds:.1} s of it shrinking"),
    };
    format!("{}\n{rate}{shrinking}", table.trim_fmt())
}

/// A table without borders.
pub(super) fn plain() -> Table {
    let line = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(line));
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table
}

/// A path as a shell takes it.
pub fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
