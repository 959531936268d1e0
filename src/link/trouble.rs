//! Trouble of our own, counted: a full device loses thousands of frames, and says so once.

/// How many kinds of trouble one link reports.
const MAX_KINDS: usize = 16;

/// What went wrong, each kind with how often.
#[derive(Debug, Default)]
pub(super) struct Troubles(Vec<(String, u64)>);

impl Troubles {
    /// Adds one.
    pub fn add(&mut self, what: &str) {
        self.add_many(what, 1);
    }

    /// Adds `count` of a kind; none for 0.
    pub fn add_many(&mut self, what: &str, count: u64) {
        if let Some((_, known)) = self.0.iter_mut().find(|(text, _)| text == what) {
            *known += count;
        } else if count > 0 && self.0.len() < MAX_KINDS {
            self.0.push((what.to_owned(), count));
        }
    }

    /// One line for each kind.
    pub fn into_lines(self) -> Vec<String> {
        let line = |(text, count)| if count == 1 { text } else { format!("{text} ({count} times)") };
        self.0.into_iter().map(line).collect()
    }
}
