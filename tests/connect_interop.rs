//! whitewater's `mptcp_connect` against the kernel's, each as the server of the other, in every mode they share.

mod common;

use std::sync::Mutex;

use common::pair::{self, ALL};
use common::selftests::{Selftests, lacks_namespaces, missing};

/// How many transfers run at once: most of them sleep.
const AT_ONCE: usize = 6;

#[test]
fn each_program_serves_the_other_in_every_mode() {
    let selftests = match Selftests::open() {
        Ok(selftests) => selftests,
        Err(why) => return println!("SKIP: the kernel's mptcp_connect: {why}"),
    };
    let lacking = missing(&["ip", "nstat", "sysctl", "unshare", "gcc"]);
    if !lacking.is_empty() {
        return println!("SKIP: interoperation needs {lacking:?}, not installed here");
    }
    if let Some(why) = lacks_namespaces() {
        return println!("SKIP: interoperation needs namespaces: {why}");
    }
    let theirs = selftests.build_theirs().expect("gcc is there");
    let ours = selftests.put_ours();
    let queue = Mutex::new(ALL.iter().flat_map(|each| [(each, &ours, &theirs), (each, &theirs, &ours)]));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((arrangement, server, client)) = queue.lock().expect("a queue").next() else { break };
                    let folder = tempfile::tempdir().expect("a folder");
                    let outcome = pair::run(arrangement, server, client, folder.path());
                    let roles = if server == &ours { "ours serves" } else { "theirs serves" };
                    if !outcome.wrong.is_empty() {
                        let (name, wrong) = (arrangement.name, outcome.wrong.join("; "));
                        let failure = format!("{name}, {roles}: {wrong}\n{}", outcome.said);
                        failures.lock().expect("a list").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("a list");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
