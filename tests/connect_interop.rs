//! whitewater's `mptcp_connect` against the kernel's, each as the server of the other, in every mode they share.

mod common;

use common::pair::{self, ALL};
use common::selftests::{Selftests, lacks_namespaces, missing};

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
    let both_ways = ALL.iter().flat_map(|each| [(each, &*ours, &*theirs), (each, &*theirs, &*ours)]);
    let failures = pair::failures(both_ways);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
