//! The text of a case: headings for its parts, everything small on one line.

use toml::{Table, Value};

use crate::case::Case;

/// What every case file begins with.
const OPENING: &str = "\
# A whitewater case: one transfer between two programs, and what the network does to it.
# Run it again with: whitewater replay FILE
";

/// How far a list or a table goes on one line, in characters.
const LINE: usize = 110;

/// How a table is written.
enum Style {
    /// Under a heading of its own.
    Section,
    /// No text of its own: its tables have headings.
    Group,
    /// As `table.key = value` lines in the section around it.
    Dotted,
    /// As `table = { key = value }`.
    Inline,
}

fn style(path: &[&str]) -> Style {
    match path {
        ["hosts" | "links"] => Style::Group,
        ["client" | "server" | "finding"] | ["hosts" | "links", _] | ["links", _, "forward" | "backward"] => {
            Style::Section
        }
        ["client" | "server", "write" | "read"] | ["hosts", _, "pm"] => Style::Dotted,
        _ => Style::Inline,
    }
}

/// The text of a case file, complete. [`parse`](super::parse) reads the same case from it.
pub fn to_text(case: &Case) -> String {
    let table = Table::try_from(case).expect("a case is a table of numbers, texts, lists and tables");
    let mut text = String::from(OPENING);
    section(&mut text, &[], &table);
    text
}

/// Writes what belongs under the heading of `path`, then the headings below it.
fn section(text: &mut String, path: &[&str], table: &Table) {
    let mut body = String::new();
    let mut below = String::new();
    for (key, value) in table {
        let inner: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
        match (value, style(&inner)) {
            (Value::Table(table), Style::Section) => section(&mut below, &inner, table),
            (Value::Table(table), Style::Group) => {
                for (key, value) in table {
                    let inner = [inner.as_slice(), &[key.as_str()]].concat();
                    section(&mut below, &inner, value.as_table().expect("hosts and links are tables"));
                }
            }
            (Value::Table(table), Style::Dotted) => {
                for (inner_key, value) in table {
                    entry(&mut body, &format!("{key}.{inner_key}"), value);
                }
            }
            _ => entry(&mut body, key, value),
        }
    }
    if !path.is_empty() && (!body.is_empty() || below.is_empty()) {
        text.push_str(&format!("\n[{}]\n", path.join(".")));
    }
    text.push_str(&body);
    text.push_str(&below);
}

fn entry(text: &mut String, key: &str, value: &Value) {
    let line = format!("{key} = {}\n", inline(value));
    match value {
        Value::Array(elements) if line.len() > LINE && elements.iter().any(Value::is_table) => {
            text.push_str(&format!("{key} = [\n"));
            for element in elements {
                text.push_str(&format!("    {},\n", inline(element)));
            }
            text.push_str("]\n");
        }
        Value::Table(table) if line.len() > LINE => {
            for (inner, value) in table {
                entry(text, &format!("{key}.{inner}"), value);
            }
        }
        _ => text.push_str(&line),
    }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let entries: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(elements) => format!("[{}]", elements.iter().map(inline).collect::<Vec<_>>().join(", ")),
        scalar => scalar.to_string(),
    }
}
