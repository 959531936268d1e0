//! What is sent, over what, and how it ends, in words.

use super::chain::protocol;
use super::{paths, phrase};
use crate::case::{
    Address, Case, Direction, Ending, Endpoint, Family, First, Host, Knobs, Leave, LinkId, Manner, Record, Second,
    Syncookies, Topology,
};

/// How many faults of one direction of a link are told, one by one.
const FAULTS: usize = 24;

/// Rows that describe `case`: a word, and what there is to say.
pub fn rows(case: &Case) -> Vec<(String, String)> {
    let mut rows = vec![row("case", connection(case))];
    endpoint(&mut rows, "client", &case.client);
    endpoint(&mut rows, "server", &case.server);
    rows.extend(ending(&case.ending).map(|said| row("end", said)));
    for host in Host::ALL {
        let own = case.knobs(host);
        let said: Vec<String> = knobs(&own).into_iter().chain(paths::path_manager(&own.pm)).collect();
        rows.extend((!said.is_empty()).then(|| row(&host.to_string(), said.join("; "))));
    }
    for id in case.topology.links().iter().copied() {
        for direction in Direction::BOTH {
            faults(&mut rows, case, id, direction);
        }
    }
    for event in &case.events {
        rows.push(row("event", paths::event(event)));
    }
    rows.push(row("seed", case.seed.to_string()));
    if let Some(finding) = &case.finding {
        record(&mut rows, finding);
    }
    rows
}

fn row(word: &str, said: String) -> (String, String) {
    (word.to_owned(), said)
}

fn connection(case: &Case) -> String {
    let Case { client, server, .. } = case;
    let mut text = match (client.protocol, server.protocol) {
        (one, other) if one == other => protocol(one).to_owned(),
        (client, server) => format!("{} to {}", protocol(client), protocol(server)),
    };
    text.push_str(match case.family {
        Family::V4 => " over IPv4",
        Family::V6 => " over IPv6",
        Family::V4Mapped => " over IPv4 with v4-mapped IPv6 sockets",
    });
    text.push_str(&match case.path().len() {
        _ if case.topology != Topology::Chain => format!(", {}", phrase::count(case.topology.paths().into(), "path")),
        0 => ", loopback".to_owned(),
        links => format!(", {}", phrase::count(links as u64, "link")),
    });
    match (case.address, case.beyond()) {
        (Address::Near, _) if case.bound => text.push_str(", to the server's near address"),
        (Address::Near, _) | (Address::Beyond, None) => {}
        (Address::Far, _) => text.push_str(", to the server's far address"),
        (Address::Beyond, Some(host)) => {
            text.push_str(&format!(", to {host}'s address, which the server takes by transparent proxying"));
        }
    }
    if case.bound {
        text.push_str(", the only one that it listens on");
    }
    if case.refusals > 0 {
        text.push_str(&format!(", after {} refused", phrase::count(case.refusals.into(), "connect")));
    }
    if case.rounds.count > 1 {
        let how =
            if case.rounds.reuse { "on one client socket, disconnected in between" } else { "one after the other" };
        text.push_str(&format!(", {} connections {how}", case.rounds.count));
    }
    if case.cpus != 1 {
        text.push_str(&format!(", on {} CPUs", case.cpus));
    }
    text
}

fn endpoint(rows: &mut Vec<(String, String)>, name: &str, endpoint: &Endpoint) {
    let sends = if endpoint.payload == 0 { "nothing".to_owned() } else { phrase::size(endpoint.payload) };
    rows.push(row(name, format!("sends {sends}")));
    let more = [
        ("writes", phrase::chunks(&endpoint.write)),
        ("reads", phrase::chunks(&endpoint.read)),
        ("by", phrase::io(endpoint.io)),
        ("with", phrase::options(&endpoint.options)),
        ("sets", phrase::changes(&endpoint.changes)),
    ];
    for (word, said) in more {
        rows.extend(said.map(|said| row("", format!("{word} {said}"))));
    }
}

fn ending(ending: &Ending) -> Option<String> {
    let Ending { first, second, pause, leave } = ending;
    let mut parts = Vec::new();
    let (leader, follower) = match first {
        First::Both => ("", ""),
        First::Client => ("client", "server"),
        First::Server => ("server", "client"),
    };
    if *first != First::Both {
        parts.push(format!("the {leader} shuts down first"));
        if *second == Second::AfterEnd {
            parts.push(format!("the {follower} sends only then"));
        }
    }
    if !pause.is_zero() {
        parts.push(format!("{} between the last byte and the shutdown", phrase::time(*pause)));
    }
    if let Some(Leave { by, how, sent, received }) = leave {
        let how = match how {
            Manner::Close => "closes",
            Manner::Unread => "closes with bytes unread",
            Manner::Linger => "closes with SO_LINGER 0",
        };
        let (sent, received) = (phrase::size(*sent), phrase::size(*received));
        parts.push(format!("the {} {how} once {sent} are sent and {received} received", by.name()));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn knobs(knobs: &Knobs) -> Option<String> {
    let three =
        |name: &str, value: Option<[u32; 3]>| value.map(|[min, first, max]| format!("{name} {min} {first} {max}"));
    let off = |name: &str, on: bool| (!on).then(|| format!("{name} 0"));
    let all = [
        three("tcp_rmem", knobs.tcp_rmem),
        three("tcp_wmem", knobs.tcp_wmem),
        off("tcp_sack", knobs.sack),
        off("tcp_timestamps", knobs.timestamps),
        off("tcp_window_scaling", knobs.window_scaling),
        match knobs.syncookies {
            Syncookies::Off => Some("tcp_syncookies 0".to_owned()),
            Syncookies::OnOverflow => None,
            Syncookies::Always => Some("tcp_syncookies 2".to_owned()),
        },
        knobs.mptcp_checksum.then(|| "mptcp checksum_enabled 1".to_owned()),
        knobs.scheduler.as_ref().map(|name| format!("mptcp scheduler {name}")),
        knobs.stale_loss_cnt.map(|count| format!("mptcp stale_loss_cnt {count}")),
        knobs.add_addr_timeout.map(|seconds| format!("mptcp add_addr_timeout {seconds}")),
        off("mptcp allow_join_initial_addr_port", knobs.join_initial),
    ];
    let sysctls = knobs.sysctls.iter().map(|(sysctl, value)| format!("{} {value}", sysctl.key()));
    let all: Vec<String> = all.into_iter().flatten().chain(sysctls).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn faults(rows: &mut Vec<(String, String)>, case: &Case, id: LinkId, direction: Direction) {
    let link = case.link(id);
    let faults = &link.impairments(direction).faults;
    let (from, to) = match direction {
        Direction::Forward => (id.left(), id.right()),
        Direction::Backward => (id.right(), id.left()),
    };
    let by = if id.is_path() { format!(" {id}") } else { String::new() };
    let mut word = format!("{from}→{to}{by}");
    for fault in faults.iter().take(FAULTS) {
        rows.push((std::mem::take(&mut word), phrase::fault(fault)));
    }
    if let Some(more @ 1..) = faults.len().checked_sub(FAULTS) {
        rows.push(row("", format!("and {more} more")));
    }
}

fn record(rows: &mut Vec<(String, String)>, record: &Record) {
    rows.push(row("finding", record.verdict.clone()));
    let more = [
        ("signature", Some(&record.signature)),
        ("seen", record.seen.as_ref()),
        ("on", Some(&record.kernel)),
        ("world", Some(&record.world)),
        ("note", record.note.as_ref()),
    ];
    for (word, said) in more {
        rows.extend(said.filter(|said| !said.is_empty()).map(|said| row("", format!("{word}: {said}"))));
    }
}
