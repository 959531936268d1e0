//! Which lines a guest's kernel has executed: its counters, copied out of debugfs.
//!
//! A kernel built with CONFIG_GCOV_KERNEL has a file `PATH.gcda` for each object, below the folder that it was built in.
//! That folder does not matter here: files are recognised by the end of their paths.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// Where the counters are shown.
const DEBUG: &str = "/sys/kernel/debug";
/// Below it: the counters' folder.
const COUNTERS: &str = "gcov";
/// Which objects are wanted: their folder in the kernel tree, and what their names begin with.
pub const WANTED: [(&str, &str); 2] = [("net/mptcp", ""), ("net/ipv4", "tcp")];

/// Copies the counters of this guest's kernel to `folder`, which exists, as `net/mptcp/protocol.gcda` and so on. Returns
/// how many files they are.
///
/// # Errors
/// If the kernel counts nothing: a message that says what it lacks.
pub fn copy(folder: &Path) -> Result<usize, String> {
    let nothing: Option<&str> = None;
    mount(Some("debugfs"), DEBUG, Some("debugfs"), MsFlags::empty(), nothing)
        .map_err(|errno| format!("mount {DEBUG}: {errno}; a kernel of `whitewater kernel build --coverage` has it"))?;
    let told = |path: &Path, error: io::Error| format!("counters of executed lines, {}: {error}", path.display());
    let root = Path::new(DEBUG).join(COUNTERS);
    let mut folders = vec![root];
    let mut copied = 0;
    while let Some(from) = folders.pop() {
        let wanted = WANTED.into_iter().find(|(tree, _)| from.ends_with(tree));
        for entry in fs::read_dir(&from).map_err(|error| told(&from, error))? {
            let path = entry.map_err(|error| told(&from, error))?.path();
            if path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
                folders.push(path);
                continue;
            }
            let Some((tree, prefix)) = wanted else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with(prefix) || !name.ends_with(".gcda") {
                continue;
            }
            let to: PathBuf = folder.join(tree);
            fs::create_dir_all(&to).map_err(|error| told(&to, error))?;
            // Such files have no length before they are read, so this is no work for fs::copy.
            let bytes = fs::read(&path).map_err(|error| told(&path, error))?;
            fs::write(to.join(name), bytes).map_err(|error| told(&to, error))?;
            copied += 1;
        }
    }
    Ok(copied)
}
