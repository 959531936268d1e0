//! The packet log as pcapng.
use std::io;

use super::LinkLog;

pub(super) fn write(_log: &LinkLog, _to: &mut impl io::Write) -> io::Result<()> {
    Ok(())
}
