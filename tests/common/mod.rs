//! What the scenarios share: the program, run as a user would run it.
#![allow(dead_code, reason = "each scenario is a program of its own and uses its part of this")]

pub mod asking;
pub mod pair;
pub mod selftests;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use whitewater::campaign::Known;
use whitewater::case::Case;
use whitewater::net::features;
use whitewater::observation::Observation;
use whitewater::oracle::{Kind, judge};
use whitewater::world::World;
use whitewater::world::host::{HostOptions, HostWorld};
use whitewater::world::uml::kernels::{FOLDER_VARIABLE, Kernel, KernelError, Store};
use whitewater::world::uml::{UmlOptions, UmlWorld};

/// The program under test, with a clean environment of its own options but for where kernels are. Unless its arguments
/// say otherwise, cases run in the host world.
pub fn whitewater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whitewater"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WHITEWATER_") && name != FOLDER_VARIABLE {
            command.env_remove(name);
        }
    }
    command.env("WHITEWATER_WORLD", "host");
    command
}

/// Runs the program and returns its exit code, its standard output and its standard error.
pub fn run(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let output = whitewater().args(arguments).current_dir(folder).output().expect("the program starts");
    text_of(&output)
}

pub fn text_of(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// The host world that the tests of one program share.
pub fn host_world() -> &'static HostWorld {
    static WORLD: LazyLock<HostWorld> =
        LazyLock::new(|| HostWorld::new(HostOptions::default()).expect("the host world opens"));
    &WORLD
}

/// The kernel of the deterministic world that tests use; without one, they say so and are skipped.
pub fn kernel() -> Option<Kernel> {
    match Store::of_this_user().and_then(|store| store.find(None)) {
        Ok(kernel) => Some(kernel),
        Err(KernelError::Unknown { .. }) => {
            println!("SKIP: no deterministic kernel is installed; `whitewater kernel build` makes one");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The deterministic world with the program under test as its agent, as [`kernel`] has it.
pub fn uml_world(options: UmlOptions) -> Option<UmlWorld> {
    let agent = Some(env!("CARGO_BIN_EXE_whitewater").into());
    Some(UmlWorld::with(kernel()?, UmlOptions { agent, ..options }).expect("a world on an installed kernel"))
}

/// Every world there is: the host's, and the deterministic one where a kernel for it is installed.
pub fn worlds() -> Vec<&'static dyn World> {
    static UML: LazyLock<Option<UmlWorld>> = LazyLock::new(|| uml_world(UmlOptions::default()));
    let uml = UML.as_ref().map(|world| world as &dyn World);
    [Some(host_world() as &dyn World), uml].into_iter().flatten().collect()
}

/// Runs a case in every world, and hands what was seen to `check`; the live kernel may need [another try](asking).
pub fn seen_everywhere(case: &Case, check: impl Fn(&Observation)) {
    assert_eq!(case.validate(), Ok(()));
    for world in worlds() {
        asking::sure(world, || check(&world.run(case, &|_| None).expect("the case runs")));
    }
}

/// The same for a case that has to pass.
pub fn passes_everywhere(case: &Case, check: impl Fn(&Observation)) {
    seen_everywhere(case, |seen| {
        let verdict = judge(case, seen);
        assert_eq!(verdict.kind, Kind::Pass, "{verdict:?}\n{seen:#?}");
        check(seen);
    });
}

/// What this kernel is known for.
pub fn known() -> Known {
    Known::of_kernel(&features::kernel().expect("the kernel tells its release"))
}

/// Every case file directly in `folder`, in order.
pub fn case_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}
