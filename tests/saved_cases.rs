//! Every saved case still does what it did: those in `cases/` pass in every world; those in `cases/known/` show what their
//! record says in the world in which they were seen.

mod common;

use std::path::Path;

use whitewater::campaign::Known;
use whitewater::case::file;
use whitewater::oracle::{Kind, judge};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn mended_cases_pass() {
    let files = common::case_files(&folder("cases"));
    assert!(!files.is_empty(), "cases/ holds at least one case");
    for path in files {
        let case = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
        println!("{}", path.display());
        common::passes_everywhere(&case, |_| ());
    }
}

#[test]
fn known_cases_show_what_their_record_says() {
    let files = common::case_files(&folder("cases/known"));
    // They wait most of the time.
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let shown: Vec<_> = files.iter().map(|path| scope.spawn(|| shows_its_record(path))).collect();
        shown.into_iter().filter_map(|shown| shown.join().expect("a known case can be run").err()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a known case shows what its record says, or why not. A deterministic kernel of the release on which it was seen has
/// to: a record that it does not show is stale. Another release of that series may have mended it, and in real time it may
/// hang on microseconds.
fn shows_its_record(path: &Path) -> Result<(), String> {
    let case = file::read(path).unwrap_or_else(|error| panic!("{error}"));
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    let record = case.finding.clone().unwrap_or_else(|| panic!("{name}: a known case says what it shows"));
    assert!(record.note.is_some(), "{name}: a known case says what is known");
    let Some(world) = common::worlds().into_iter().find(|world| world.name() == record.world) else { return Ok(()) };
    let of_kernel = Known::of_kernel(&world.kernel());
    if of_kernel.note(&record.signature).is_none() {
        println!("{name} is about Linux {}, and this is {}", record.kernel, world.kernel());
        return Ok(());
    }
    let mut itself = Known::default();
    itself.add(path).expect("a known case");
    let known = if world.is_exact() { &itself } else { &of_kernel };
    let shown = common::asking::again(world.is_exact(), || {
        let seen = world.run(&case, &|_| None).map_err(|error| format!("{name}: {error}"))?;
        let verdict = judge(&case, &seen);
        let must = world.is_exact() && release(&record.kernel) == release(&seen.kernel);
        match verdict.kind {
            Kind::Pass | Kind::Skip if !must => Ok(verdict.kind),
            kind if known.note(&verdict.signature).is_some() => Ok(kind),
            Kind::Pass => Err(format!("{name} passes: its record is stale")),
            _ => Err(format!("{name}: {} instead of {}", verdict.signature, record.signature)),
        }
    })?;
    println!("{name}: {shown}");
    Ok(())
}

/// A kernel's release, without the number of its build.
fn release(kernel: &str) -> &str {
    kernel.split_whitespace().next().unwrap_or_default()
}
