//! Steps within endpoints, hosts and links: parts, fields, lists and numbers back to their plainest.

mod endpoint;
mod link;

use super::steps::{Phase, Steps};
use crate::case::{Case, Host, Knobs, Leave, Manner};
use crate::payload::Sender;

/// Collects them.
pub(super) fn steps(case: &Case, steps: &mut Steps) {
    endpoint::steps(case, steps);
    link::steps(case, steps);
    knobs(case, steps);
    steps.add(Phase::Field, "ending.second", |case| case.ending.second = Default::default());
    steps.add(Phase::Field, "ending.pause", |case| case.ending.pause = Default::default());
    leave(case, steps);
    steps.add(Phase::Field, "rounds.reuse", |case| case.rounds.reuse = false);
    steps.number(Phase::Part, "rounds.count", (case.rounds.count.into(), 1, 1), |case, value| {
        case.rounds.count = value as u8;
    });
    let pause = case.ending.pause.as_nanos() as u64;
    steps.rounder("ending.pause", pause, MICROSECOND, |case, value| case.ending.pause = nanos(value));
}

fn leave(case: &Case, steps: &mut Steps) {
    let Some(leave) = case.ending.leave else { return };
    let mut with = |phase, field: &str, edit: fn(&mut Leave)| {
        steps.add(phase, &format!("ending.leave{field}"), move |case| {
            if let Some(leave) = &mut case.ending.leave {
                edit(leave);
            }
        });
    };
    with(Phase::Kind, ".how 1", |leave| leave.how = Manner::Close);
    with(Phase::Kind, ".how 2", |leave| leave.how = Manner::Linger);
    with(Phase::Kind, ".by", |leave| leave.by = Sender::Client);
    steps.add(Phase::Part, "ending.leave", |case| case.ending.leave = None);
    type Set = fn(&mut Leave, u64);
    let numbers: [(&str, u64, Set); 2] = [
        ("sent", leave.sent, |leave, value| leave.sent = value),
        ("received", leave.received, |leave, value| leave.received = value),
    ];
    for (name, value, set) in numbers {
        steps.number(Phase::Size, &format!("ending.leave.{name}"), (value, 0, 1), move |case, value| {
            if let Some(leave) = &mut case.ending.leave {
                set(leave, value);
            }
        });
    }
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
        field("scheduler", |knobs| knobs.scheduler = None);
        field("stale_loss_cnt", |knobs| knobs.stale_loss_cnt = None);
        field("add_addr_timeout", |knobs| knobs.add_addr_timeout = None);
        field("join_initial", |knobs| knobs.join_initial = true);
        for sysctl in case.knobs(host).sysctls.into_keys() {
            steps.add(Phase::Field, &format!("hosts.{host}.sysctls.{sysctl}"), move |case| {
                if let Some(knobs) = case.hosts.get_mut(&host) {
                    knobs.sysctls.remove(&sysctl);
                }
            });
        }
    }
}
