//! Links the program to a fixed address, and with the C library in it, where that can be had.
//!
//! A guest of the deterministic world starts the program anew for each case, without address randomization, and each page
//! fault and system call of a start is dear there. A program that may lie anywhere first rewrites thousands of its own
//! pointers; one with shared libraries looks for them, maps them and reads them in: a sixth of what a boot costs.
//!
//! Cargo has no way to ask for that but flags for all crates, the macros included, which then cannot be loaded. So the
//! linker finds scripts of ours in place of the shared libraries; they name the archives.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the linker looks for, and which archive it gets.
const LIBRARIES: [(&str, &str); 3] = [("c", "libc.a"), ("m", "libm.a"), ("gcc_s", "libgcc_eh.a")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |what: &str, wanted: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).is_ok_and(|it| it == wanted);
    if !is("OS", "linux") || !is("ENV", "gnu") {
        return;
    }
    for kind in ["bins", "benches"] {
        println!("cargo::rustc-link-arg-{kind}=-no-pie");
    }
    if let Some(scripts) = scripts() {
        println!("cargo::rustc-link-arg-bins=-static");
        println!("cargo::rustc-link-arg-bins=-L{}", scripts.display());
    }
}

/// The folder with the scripts; `None` if the archives are not to be had or the program has to be linked otherwise.
fn scripts() -> Option<PathBuf> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let otherwise = ["crt-static", "sanitizer", "linker"].iter().any(|word| flags.contains(word));
    if otherwise || env::var("HOST") != env::var("TARGET") {
        return None;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR")?).join("archives");
    fs::create_dir_all(&folder).ok()?;
    for (name, archive) in LIBRARIES {
        let script = format!("INPUT({})\n", archive_of(archive)?.display());
        fs::write(folder.join(format!("lib{name}.a")), script).ok()?;
    }
    Some(folder)
}

/// Where the C compiler has this archive.
fn archive_of(name: &str) -> Option<PathBuf> {
    let compiler = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler).arg(format!("-print-file-name={name}")).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    let path = Path::new(path.trim());
    // It repeats the name where it has none.
    path.is_absolute().then(|| path.to_owned()).filter(|path| path.exists())
}
