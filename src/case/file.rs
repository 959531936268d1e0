//! Case files: a case as TOML that people can read, write and keep.
//!
//! A file names what differs from [`Case::default`] and little else. Reading is strict: unknown fields, values out of
//! range and files of a newer format are refused, with the line, the field, and what would be right. Writing is atomic: a
//! reader sees either the old text or the new one, never a part.

mod locate;
mod text;

use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use text::to_text;

use self::locate::Text;
use super::{Case, FORMAT};

/// The most bytes that a case file may have: ample for the longest list of faults.
pub const MAX_BYTES: u64 = 16 << 20;

/// Why a case file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be read.
    #[error("cannot read case file {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is larger than [`MAX_BYTES`].
    #[error("case file {} has more than {MAX_BYTES} bytes: that is no case", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no valid case.
    #[error("{}", lines(origin, mistakes))]
    Mistakes {
        /// Where the text is from.
        origin: PathBuf,
        /// What is wrong, at least one.
        mistakes: Vec<Mistake>,
    },
    /// The file could not be written. Nothing is left of it; a file that was there before still is.
    #[error("cannot write case file {}: {cause}{}", path.display(), way_out(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// One thing that is wrong in the text of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The field, as in `links.ns2-ns3.forward.loss`; empty where the text is no TOML.
    pub field: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.what)
    }
}

fn lines(origin: &Path, mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{}:{mistake}", origin.display())).collect::<Vec<_>>().join("\n")
}

fn way_out(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull => "; free some space, or choose another folder",
        io::ErrorKind::NotFound => "; create the folder first",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a folder that you may write to"
        }
        _ => "",
    }
}

/// Reads the case that `text` holds. `origin` is where the text is from, for the error.
///
/// # Errors
/// [`FileError::Mistakes`].
pub fn parse(text: &str, origin: &Path) -> Result<Case, FileError> {
    read_text(text).map_err(|mistakes| FileError::Mistakes { origin: origin.to_owned(), mistakes })
}

/// Reads the case in the file at `path`.
///
/// # Errors
/// Where the file cannot be read, is too long, or holds no valid case.
pub fn read(path: &Path) -> Result<Case, FileError> {
    let cannot = |cause| FileError::Read { path: path.to_owned(), cause };
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    let length = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if length as u64 > MAX_BYTES {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    parse(&text, path)
}

/// Writes `case` to the file at `path`, which appears, or changes, all at once.
///
/// # Errors
/// [`FileError::Write`].
pub fn write(path: &Path, case: &Case) -> Result<(), FileError> {
    write_whole(path, to_text(case).as_bytes()).map_err(|cause| FileError::Write { path: path.to_owned(), cause })
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Beside its target, so that the rename stays within one filesystem. Dropped on error, and then removed.
    let mut file = tempfile::Builder::new()
        .prefix(".whole-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn read_text(text: &str) -> Result<Case, Vec<Mistake>> {
    let text = Text::parse(text).map_err(|mistake| vec![mistake])?;
    // First of all: a newer format may have any number of fields that this program does not know.
    if let Some(format) = text.integer("format").filter(|format| *format > i64::from(FORMAT)) {
        let what = format!("is {format}, and this whitewater reads up to {FORMAT}: update whitewater");
        return Err(vec![text.mistake("format", what)]);
    }
    let case: Case = toml::from_str(text.as_str()).map_err(|error| vec![text.mistake_of(&error)])?;
    case.validate().map_err(|problems| {
        problems.into_iter().map(|problem| text.mistake(&problem.field, problem.what)).collect::<Vec<_>>()
    })?;
    Ok(case)
}

#[cfg(test)]
mod tests;
