//! Finds fields in the text of a case, and the field at a place of the text.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

/// The text of a case, taken apart as TOML, with the place of each part.
pub(super) struct Text<'a> {
    text: &'a str,
    root: DeTable<'a>,
}

impl<'a> Text<'a> {
    /// Takes `text` apart; the mistake where it is no TOML.
    pub(super) fn parse(text: &'a str) -> Result<Text<'a>, Mistake> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Text { text, root: root.into_inner() }),
            Err(error) => {
                let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
                Err(Mistake { line, column, field: String::new(), what: one_line(error.message()) })
            }
        }
    }

    pub(super) fn as_str(&self) -> &'a str {
        self.text
    }

    /// The integer of a top-level field, if there is one.
    pub(super) fn integer(&self, field: &str) -> Option<i64> {
        let value = self.root.get(field)?.get_ref().as_integer()?;
        i64::from_str_radix(value.as_str(), value.radix()).ok()
    }

    /// A mistake in `field`, or where the text has no such field, in what there is of its path.
    pub(super) fn mistake(&self, field: &str, what: String) -> Mistake {
        let (line, column) = line_and_column(self.text, self.place_of(field));
        Mistake { line, column, field: field.to_owned(), what }
    }

    /// The mistake that deserialising met.
    pub(super) fn mistake_of(&self, error: &toml::de::Error) -> Mistake {
        let offset = error.span().map_or(0, |span| span.start);
        let (line, column) = line_and_column(self.text, offset);
        let what = one_line(error.message()).replace("expected a duration", "expected a duration such as `300ms`");
        Mistake { line, column, field: self.field_at(offset), what }
    }

    fn place_of(&self, field: &str) -> usize {
        let mut steps = field.split('.');
        let Some(mut value) = steps.next().and_then(|first| self.root.get(first)) else { return 0 };
        for step in steps {
            let next = match value.get_ref() {
                DeValue::Table(table) => table.get(step),
                DeValue::Array(array) => step.parse().ok().and_then(|nth: usize| array.get(nth)),
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => break,
            }
        }
        value.span().start
    }

    /// The field whose key or value is the smallest one around `offset`; empty if there is none.
    fn field_at(&self, offset: usize) -> String {
        let mut best = (usize::MAX, String::new());
        search_table(&self.root, "", offset, &mut best);
        best.1
    }
}

/// Looks for the smallest key or value around `offset`. The span of a table with a heading is that of the heading, so
/// nothing is left out for lying elsewhere.
fn search_table(table: &DeTable<'_>, at: &str, offset: usize, best: &mut (usize, String)) {
    for (key, value) in table {
        let field = if at.is_empty() { key.get_ref().to_string() } else { format!("{at}.{}", key.get_ref()) };
        consider(key.span(), &field, offset, best);
        search_value(value, &field, offset, best);
    }
}

fn search_value(value: &Spanned<DeValue<'_>>, field: &str, offset: usize, best: &mut (usize, String)) {
    consider(value.span(), field, offset, best);
    match value.get_ref() {
        DeValue::Table(table) => search_table(table, field, offset, best),
        DeValue::Array(array) => {
            for (nth, element) in array.iter().enumerate() {
                search_value(element, &format!("{field}.{nth}"), offset, best);
            }
        }
        _ => {}
    }
}

fn consider(span: Range<usize>, field: &str, offset: usize, best: &mut (usize, String)) {
    if span.contains(&offset) && span.len() < best.0 {
        *best = (span.len(), field.to_owned());
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
