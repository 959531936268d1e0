//! Steps within endpoints, hosts and links: parts, fields, lists and numbers back to their plainest.

mod endpoint;
mod link;

use super::steps::{Phase, Steps};
use crate::case::{Case, Host, Knobs};

/// Collects them.
pub(super) fn steps(case: &Case, steps: &mut Steps) {
    endpoint::steps(case, steps);
    link::steps(case, steps);
    knobs(case, steps);
    steps.add(Phase::Field, "ending.second", |case| case.ending.second = Default::default());
    steps.add(Phase::Field, "ending.pause", |case| case.ending.pause = Default::default());
    let pause = case.ending.pause.as_nanos() as u64;
    steps.rounder("ending.pause", pause, MICROSECOND, |case, value| case.ending.pause = nanos(value));
}

/// No duration is worth a step below this many nanoseconds.
const MICROSECOND: u64 = 1000;

fn nanos(value: u64) -> std::time::Duration {
    std::time::Duration::from_nanos(value)
}

fn knobs(case: &Case, steps: &mut Steps) {
    for host in Host::ALL.into_iter().filter(|host| case.hosts.contains_key(host)) {
        steps.add(Phase::Part, &format!("hosts.{host}"), move |case| {
            case.hosts.remove(&host);
        });
        let mut field = |name: &str, edit: fn(&mut Knobs)| {
            steps.add(Phase::Field, &format!("hosts.{host}.{name}"), move |case| {
                if let Some(knobs) = case.hosts.get_mut(&host) {
                    edit(knobs);
                }
            });
        };
        field("tcp_rmem", |knobs| knobs.tcp_rmem = None);
        field("tcp_wmem", |knobs| knobs.tcp_wmem = None);
        field("sack", |knobs| knobs.sack = true);
        field("timestamps", |knobs| knobs.timestamps = true);
        field("window_scaling", |knobs| knobs.window_scaling = true);
        field("syncookies", |knobs| knobs.syncookies = Default::default());
        field("mptcp_checksum", |knobs| knobs.mptcp_checksum = false);
        field("stale_loss_cnt", |knobs| knobs.stale_loss_cnt = None);
        field("add_addr_timeout", |knobs| knobs.add_addr_timeout = None);
        field("join_initial", |knobs| knobs.join_initial = true);
    }
}
