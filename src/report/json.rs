//! JSON lines: one object a line for each event, as [`Event`] documents them.

use std::io::Write;

use super::{Event, Report};

/// Writes each event as a line of JSON, at once.
#[derive(Debug)]
pub struct JsonLines<W: Write> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> JsonLines<W> {
        JsonLines { out }
    }
}

impl<W: Write> Report for JsonLines<W> {
    fn event(&mut self, event: &Event) {
        let mut line = serde_json::to_string(event).expect("an event is plain data with texts for keys");
        line.push('\n');
        // A reader that went away must not end the campaign: the findings are on disk.
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }
}
