//! Where a kernel's source comes from: a tree, or a tarball that is unpacked here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{KernelError, Store, make};

/// Where Debian's linux-source packages leave their tarballs.
const DEBIAN_FOLDER: &str = "/usr/src";
/// The oldest kernel that this world runs: the first whose User-Mode Linux has the seccomp mode. (6.12 stops with "ptrace
/// set fp regs failed" on CPUs with AMX, whose register state is larger than it has room for.)
const OLDEST: (u32, u32) = (6, 16);
/// In an unpacked tarball's folder: which one it was.
const MARKER: &str = ".whitewater-tarball";

/// What an existing tree or tarball may be got with.
const WAYS: &str = "give a kernel tree or tarball with --source; `apt-get install linux-source` brings one where the \
                    distribution's is 6.16 or newer, and `git clone --depth 1 --branch v7.2 \
                    https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git` anywhere";

/// The path that was asked for, or the newest linux-source tarball of this machine.
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf, KernelError> {
    if let Some(path) = given {
        return fs::canonicalize(path).map_err(KernelError::file("find", path));
    }
    newest()
}

/// The newest linux-source tarball of this machine that a kernel can be built from.
///
/// # Errors
/// [`KernelError::Source`] if there is none, with ways to get one.
pub fn newest() -> Result<PathBuf, KernelError> {
    let entries = fs::read_dir(DEBIAN_FOLDER).into_iter().flatten().flatten();
    let newest = entries
        .filter_map(|entry| Some((tarball_version(entry.file_name().to_str()?)?, entry.path())))
        .filter(|(version, _)| *version >= OLDEST)
        .max();
    match newest {
        Some((_, path)) => Ok(path),
        None => Err(KernelError::Source(format!(
            "{DEBIAN_FOLDER} has no linux-source tarball of Linux {}.{} or newer: {WAYS}",
            OLDEST.0, OLDEST.1
        ))),
    }
}

/// The version of `linux-source-7.2.tar.xz`.
fn tarball_version(name: &str) -> Option<(u32, u32)> {
    let (version, _) = name.strip_prefix("linux-source-")?.split_once(".tar.")?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The tree of `source`, which is one, or a tarball that is unpacked into the store unless it has been before. It has the
/// right age and is clean.
pub(super) fn tree(store: &Store, source: &Path, unpacking: impl FnOnce()) -> Result<PathBuf, KernelError> {
    let tree = if source.is_dir() { source.to_owned() } else { unpacked(store, source, unpacking)? };
    let (major, minor) = version(&tree)?;
    if (major, minor) < OLDEST {
        return Err(KernelError::Source(format!(
            "{} is Linux {major}.{minor}, and the deterministic world needs {}.{} or newer: {WAYS}",
            tree.display(),
            OLDEST.0,
            OLDEST.1
        )));
    }
    demand_clean(&tree)?;
    Ok(tree)
}

fn unpacked(store: &Store, tarball: &Path, unpacking: impl FnOnce()) -> Result<PathBuf, KernelError> {
    let length = fs::metadata(tarball).map_err(KernelError::file("read", tarball))?.len();
    let identity = format!("{} {length}\n", tarball.display());
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split_once(".tar").map_or(name.as_ref(), |(stem, _)| stem);
    let folder = store.source_folder().join(stem);
    if fs::read_to_string(folder.join(MARKER)).is_ok_and(|text| text == identity) {
        return Ok(folder);
    }
    unpacking();
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(KernelError::file("remove", &folder))?;
    }
    fs::create_dir_all(&folder).map_err(KernelError::file("make", &folder))?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(tarball).arg("--strip-components=1").arg("--directory").arg(&folder);
    make::run("tar", &mut tar, &store.source_folder().join(format!("{stem}.log")), |_| ())?;
    // Last: what was unpacked in part has no marker.
    let marker = folder.join(MARKER);
    fs::write(&marker, identity).map_err(KernelError::file("write", marker))?;
    Ok(folder)
}

/// VERSION and PATCHLEVEL of a tree's Makefile.
fn version(tree: &Path) -> Result<(u32, u32), KernelError> {
    let path = tree.join("Makefile");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
        line.trim().parse().ok()
    };
    match (number("VERSION"), number("PATCHLEVEL")) {
        (Some(major), Some(minor)) if tree.join("arch/um").is_dir() => Ok((major, minor)),
        _ => Err(KernelError::Source(format!("{} is no Linux source tree: {WAYS}", tree.display()))),
    }
}

/// Builds happen outside of the tree, and the kernel's Makefile allows that only where none has happened inside.
fn demand_clean(tree: &Path) -> Result<(), KernelError> {
    let traces =
        [".config", "include/config", "include/generated", "arch/um/include/generated", "arch/x86/include/generated"];
    let Some(trace) = traces.iter().find(|trace| tree.join(trace).exists()) else { return Ok(()) };
    let shown = tree.display();
    Err(KernelError::Source(format!(
        "a kernel has been built inside {shown} (there is {trace}), so none can be built from it elsewhere. \
         `make -C {shown} ARCH=um mrproper` cleans it, configuration included; `git -C {shown} worktree add \
         ../linux-clean` gives a clean tree beside it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_tree(folder: &Path, major: u32, minor: u32) {
        fs::create_dir_all(folder.join("arch/um")).unwrap();
        let text = format!("# SPDX\nVERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = 13\nNAME = Baby\n");
        fs::write(folder.join("Makefile"), text).unwrap();
    }

    fn refusal(store: &Store, source: &Path) -> String {
        tree(store, source, || ()).unwrap_err().to_string()
    }

    #[test]
    fn a_tree_must_be_a_kernel_new_enough_and_clean() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("store"));
        let source = folder.path().join("linux");
        fs::create_dir(&source).unwrap();
        assert!(refusal(&store, &source).contains("is no Linux source tree"));
        write_tree(&source, 6, 12);
        assert!(refusal(&store, &source).contains("is Linux 6.12, and"));
        write_tree(&source, 7, 2);
        assert_eq!(tree(&store, &source, || ()).unwrap(), source);
        fs::write(source.join(".config"), "").unwrap();
        let error = refusal(&store, &source);
        assert!(error.contains("there is .config") && error.contains("ARCH=um mrproper"), "{error}");
    }

    #[test]
    fn a_tarball_is_unpacked_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("store"));
        write_tree(&folder.path().join("linux-source-7.2"), 7, 2);
        let tarball = folder.path().join("linux-source-7.2.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&tarball).arg("-C").arg(folder.path()).arg("linux-source-7.2");
        assert!(tar.status().unwrap().success());
        let mut times = 0;
        let first = tree(&store, &tarball, || times += 1).unwrap();
        assert_eq!(tree(&store, &tarball, || times += 1).unwrap(), first);
        assert_eq!((times, first), (1, store.source_folder().join("linux-source-7.2")));
    }

    #[test]
    fn versions_of_tarballs_compare_as_numbers() {
        assert_eq!(tarball_version("linux-source-7.2.tar.xz"), Some((7, 2)));
        assert!(tarball_version("linux-source-6.12.tar.xz") > tarball_version("linux-source-6.9.tar.xz"));
        assert_eq!(tarball_version("linux-config-7.2.tar.xz"), None);
    }
}
