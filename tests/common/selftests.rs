//! The kernel's selftests, from a source tree of Linux that the environment names. None of it is ours, so none is here.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Names the root of a source tree, or of the parts of one that [`NEEDED`] lists.
const VARIABLE: &str = "WHITEWATER_KERNEL_SOURCE";

/// What of the tree is used.
const NEEDED: [&str; 2] = ["tools/testing/selftests/net", "tools/include"];

/// A copy of the selftests of the net folder, to run and to change.
pub struct Selftests {
    source: PathBuf,
    folder: TempDir,
}

impl Selftests {
    /// Copies them.
    ///
    /// # Errors
    /// Why they cannot be had: a reason to skip.
    pub fn open() -> Result<Selftests, String> {
        let source = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or_else(|| format!("{VARIABLE} is not set"))?;
        for part in NEEDED {
            if !source.join(part).is_dir() {
                return Err(format!("{VARIABLE}: no {part} in {}", source.display()));
            }
        }
        let net = source.join(NEEDED[0]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for part in ["mptcp", "lib.sh", "lib"] {
            let status = Command::new("cp").arg("-r").arg(net.join(part)).arg(folder.path()).status();
            assert!(status.is_ok_and(|status| status.success()), "copy {part}");
        }
        Ok(Selftests { source, folder })
    }

    /// The folder of the scripts.
    pub fn mptcp(&self) -> PathBuf {
        self.folder.path().join("mptcp")
    }

    /// The folder above it: where the scripts look for their libraries.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a copy of the program under test in place of `mptcp_connect`: a guest does not see all of the host.
    pub fn copy_ours(&self) -> PathBuf {
        let place = self.mptcp().join("mptcp_connect");
        let _ = fs::remove_file(&place);
        fs::copy(env!("CARGO_BIN_EXE_whitewater"), &place).expect("a copy of the program");
        place
    }

    /// Puts the program under test in place of `mptcp_connect`.
    pub fn put_ours(&self) -> PathBuf {
        let place = self.mptcp().join("mptcp_connect");
        let _ = fs::remove_file(&place);
        symlink(env!("CARGO_BIN_EXE_whitewater"), &place).expect("a symbolic link");
        place
    }

    /// Builds the C program, under another name.
    ///
    /// # Errors
    /// There is no compiler: a reason to skip.
    pub fn build_theirs(&self) -> Result<PathBuf, String> {
        let program = self.mptcp().join("theirs");
        let output = Command::new("gcc")
            .args(["-O2", "-w", "-I"])
            .arg(self.source.join(NEEDED[1]))
            .arg("-o")
            .arg(&program)
            .arg(self.mptcp().join("mptcp_connect.c"))
            .output()
            .map_err(|error| format!("gcc does not start: {error}"))?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(program)
    }
}

/// What bash has to do in a guest, in the folder above the scripts, before the script that its arguments name. The scripts
/// look for exported functions in the list of the kernel's symbols, and in User-Mode Linux all are told to be local.
pub const IN_GUEST: &str = "sed 's/ t / T /' /proc/kallsyms >/tmp/kallsyms && mount --bind /tmp/kallsyms /proc/kallsyms \
                            && cd mptcp && exec \"$@\"";

/// A command in a user, network and mount namespace of its own, in which it may name network namespaces: all of them go
/// with it.
pub fn in_namespaces(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Urnm", "--kill-child", "bash", "-c", "mount -t tmpfs none /run && exec \"$@\"", "bash"]);
    command.current_dir(folder);
    command
}

/// Why such a command cannot run here, where it cannot.
pub fn lacks_namespaces() -> Option<String> {
    match in_namespaces(Path::new("/")).arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Those of these programs that are not installed.
pub fn missing<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let is_there = |program: &str| path.split(':').any(|folder| Path::new(folder).join(program).exists());
    programs.iter().copied().filter(|program| !is_there(program)).collect()
}
