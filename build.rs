//! Links programs to a fixed address where that can be had.
//!
//! A guest of the deterministic world starts the program anew for each case, without address randomization. A program
//! that may lie anywhere first rewrites thousands of its own pointers then, and each page of them costs a page fault, which
//! is dear there.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |what: &str, wanted: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).is_ok_and(|it| it == wanted);
    if is("OS", "linux") && is("ENV", "gnu") {
        for kind in ["bins", "benches"] {
            println!("cargo::rustc-link-arg-{kind}=-no-pie");
        }
    }
}
