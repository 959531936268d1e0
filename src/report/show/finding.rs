//! What a run showed, in words.

use comfy_table::{Table, presets};

use super::{phrase, rows};
use crate::case::{Case, Host};
use crate::observation::{Breach, CallError, End, MptcpState, Observation, PmEvent, PmEventKind, SocketState, Story};
use crate::oracle::{self, Verdict};

/// Counters that move in every transfer and say nothing by themselves. Whole tables that do: see [`notable`].
const USUAL: [&str; 26] = [
    "Tcp.ActiveOpens",
    "Tcp.CurrEstab",
    "Tcp.InSegs",
    "Tcp.MaxConn",
    "Tcp.OutSegs",
    "Tcp.PassiveOpens",
    "Tcp.RtoAlgorithm",
    "Tcp.RtoMax",
    "Tcp.RtoMin",
    "TcpExt.DelayedACKs",
    "TcpExt.TCPAutoCorking",
    "TcpExt.TCPBacklogCoalesce",
    "TcpExt.TCPDelivered",
    "TcpExt.TCPHPAcks",
    "TcpExt.TCPHPHits",
    "TcpExt.TCPHystartTrainCwnd",
    "TcpExt.TCPHystartTrainDetect",
    "TcpExt.TCPOrigDataSent",
    "TcpExt.TCPPureAcks",
    "TcpExt.TCPRcvCoalesce",
    "TcpExt.TW",
    "MPTcpExt.MPCapableACKRX",
    "MPTcpExt.MPCapableSYNACKRX",
    "MPTcpExt.MPCapableSYNRX",
    "MPTcpExt.MPCapableSYNTX",
    "MPTcpExt.RcvWndShared",
];

/// How many sockets of an endpoint are told beside its ladder.
const SOCKETS: usize = 8;

/// How many events of a path manager are told of a host.
const PM_EVENTS: usize = 40;

/// Describes a verdict and what it rests on.
pub fn describe(verdict: &Verdict, case: &Case, seen: &Observation) -> String {
    let mut parts = vec![headline(verdict, seen)];
    parts.extend(bytes(seen));
    parts.push(stories(case, seen));
    parts.extend(links(seen));
    parts.extend(breaches(case, seen));
    parts.extend(counters(seen));
    parts.extend(path_managers(seen));
    parts.extend(sockets("sockets when it stalled", seen, |host| &host.stalled_sockets));
    parts.extend(sockets("sockets left", seen, |host| &host.left_sockets));
    let closed = [("client", case.client.host, &seen.client), ("server", case.server.host, &seen.server)];
    parts.extend(closed.into_iter().filter(|(.., story)| !story.sockets.is_empty()).map(|(name, host, story)| {
        let said: String = story.sockets.iter().map(|socket| self::socket(host, socket)).collect();
        format!("  sockets before the {name} closed\n{said}")
    }));
    parts.join("\n")
}

/// What it is, and how the run ended.
fn headline(verdict: &Verdict, seen: &Observation) -> String {
    let what = if verdict.what.is_empty() { "all as it should be" } else { &verdict.what };
    let end = match &seen.end {
        End::Finished => "both endpoints finished".to_owned(),
        End::Stalled { idle } => format!("stopped after {} without a byte", phrase::time(*idle)),
        End::OutOfTime => "given up while bytes still moved".to_owned(),
        End::KernelDied => "the kernel went down".to_owned(),
        End::KernelHung(_) => "the kernel hung".to_owned(),
    };
    let took = phrase::time(seen.timings.transfer);
    let mut said = vec![
        (verdict.kind.to_string(), what.to_owned()),
        ("run".to_owned(), format!("{end}, {took} after the first connect")),
        ("kernel".to_owned(), seen.kernel.clone()),
    ];
    said.extend(seen.kernel_log.iter().map(|line| ("console".to_owned(), line.clone())));
    said.extend(seen.trouble.iter().map(|trouble| ("trouble".to_owned(), trouble.clone())));
    rows(&said)
}

/// The bytes around the first wrong one, of each stream that has one.
fn bytes(seen: &Observation) -> Option<String> {
    let wrong = [("client", &seen.client), ("server", &seen.server)];
    let wrong = wrong.into_iter().filter_map(|(name, story)| Some((name, story.mismatch.as_ref()?)));
    let said: Vec<String> = wrong
        .map(|(name, mismatch)| {
            let place = format!("what the {name} received, from byte {} on: {}", mismatch.offset, mismatch.kind);
            let hex: String = mismatch.hex.lines().map(|line| format!("    {}\n", line.trim_end())).collect();
            format!("  {place}\n{hex}")
        })
        .collect();
    (!said.is_empty()).then(|| said.join(""))
}

/// Both endpoints side by side.
fn stories(case: &Case, seen: &Observation) -> String {
    let mut table = plain();
    let (client, server) = (&seen.client, &seen.server);
    table.add_row([
        "".to_owned(),
        format!("client on {}", case.client.host),
        format!("server on {}", case.server.host),
    ]);
    let mut add = |word: &str, say: &dyn Fn(&Story) -> String| {
        let (one, other) = (say(client), say(server));
        if !(one.is_empty() && other.is_empty()) {
            table.add_row([word.to_owned(), one, other]);
        }
    };
    add("was", &|story| {
        if story.connected { story.state.clone() } else { format!("{}, never connected", story.state) }
    });
    let of = |amount: u64, all: u64| if amount == all { amount.to_string() } else { format!("{amount} of {all}") };
    let (from_client, from_server) = (case.client.payload, case.server.payload);
    let ours = |story: &Story| if std::ptr::eq(story, client) { from_client } else { from_server };
    add("sent", &|story| of(story.sent, ours(story)));
    add("received", &|story| of(story.received, from_client + from_server - ours(story)));
    add("ended", &|story| ended(story).to_owned());
    add("failed", &|story| story.error.as_ref().map(failed).unwrap_or_default());
    add("refused", &|story| {
        if story.refused == 0 { String::new() } else { phrase::count(story.refused.into(), "connect") }
    });
    add("mptcp", &|story| story.mptcp.map(mptcp).unwrap_or_default().to_owned());
    add("options", &|story| {
        story.refused_options.iter().map(|option| format!("no {option}")).collect::<Vec<_>>().join(", ")
    });
    text(&table)
}

/// How each endpoint ended, in a line: what it was doing, what it had sent and received, its socket at a stall.
pub fn ends(case: &Case, seen: &Observation) -> String {
    let (client, server) = (&case.client, &case.server);
    let all = [("client", client, server, &seen.client), ("server", server, client, &seen.server)];
    let said = all.map(|(name, own, peer, story)| {
        let of =
            |amount: u64, all: u64| if amount == all { format!("all {all}") } else { format!("{amount} of {all}") };
        let (sent, received) = (of(story.sent, own.payload), of(story.received, peer.payload));
        let mut text = format!("{}: sent {sent}, received {received}, {}", story.state, ended(story));
        if let Some(error) = &story.error {
            text.push_str(&format!(", {}", failed(error)));
        }
        let sockets = seen.hosts.get(&own.host).map(|host| host.stalled_sockets.as_slice()).unwrap_or_default();
        for socket in sockets.iter().filter(|socket| socket.state != "LISTEN").take(SOCKETS) {
            let SocketState { protocol, state, receive_queue, send_queue, timer, .. } = socket;
            let timer = timer.as_ref().map(|timer| format!(", timer {timer}")).unwrap_or_default();
            text.push_str(&format!("; {protocol} {state}, {receive_queue} unread, {send_queue} unacknowledged{timer}"));
        }
        (name.to_owned(), text)
    });
    rows(&said)
}

fn ended(story: &Story) -> &'static str {
    match (story.shut_down, story.end_of_stream) {
        (true, true) => "shut down, saw the end",
        (true, false) => "shut down, saw no end",
        (false, true) => "did not shut down, saw the end",
        (false, false) => "did not shut down, saw no end",
    }
}

fn failed(error: &CallError) -> String {
    format!("{}: {} ({} sent, {} received)", error.call, error.errno, error.sent, error.received)
}

fn mptcp(state: MptcpState) -> &'static str {
    match state {
        MptcpState { fallback: true, .. } => "fallen back to TCP",
        MptcpState { remote_key: false, .. } => "no key of the peer",
        MptcpState { checksum: true, .. } => "MPTCP with checksums",
        MptcpState { .. } => "MPTCP",
    }
}

/// What the links did that carried anything.
fn links(seen: &Observation) -> Option<String> {
    let used: Vec<_> = seen.links.iter().filter(|(_, link)| link.packets > 0).collect();
    let mut table = plain();
    table.add_row(["link", "carried by", "packets", "lost", "touched", "late by at most"]);
    for (id, link) in &used {
        let [packets, lost, touched] = [link.packets, link.lost, link.touched].map(|number| number.to_string());
        table.add_row([id.to_string(), link.carrier.clone(), packets, lost, touched, phrase::time(link.lateness)]);
    }
    (!used.is_empty()).then(|| text(&table))
}

/// What hosts put into the links against their protocols.
fn breaches(case: &Case, seen: &Observation) -> Option<String> {
    let said: Vec<(String, String)> = oracle::breaches(case, seen)
        .into_iter()
        .map(|(id, Breach { at, by, flow, looks, what })| {
            (id.to_string(), format!("after {}: {} sent {looks}: {what} ({flow})", phrase::time(at), by.name()))
        })
        .collect();
    (!said.is_empty()).then(|| rows(&said))
}

/// What the kernel told the path managers of their connections, in order.
fn path_managers(seen: &Observation) -> Option<String> {
    let mut said = Vec::new();
    for (host, story) in seen.hosts.iter().filter(|(_, story)| !story.pm_events.is_empty()) {
        let left_out = story.pm_events.len().saturating_sub(PM_EVENTS);
        let shown = story.pm_events.iter().take(PM_EVENTS).map(pm_event);
        let more = (left_out > 0).then(|| format!("... and {left_out} more"));
        let lost = story.pm_events_lost.then(|| "... and some that were lost".to_owned());
        let word = |nth| if nth == 0 { host.to_string() } else { String::new() };
        said.extend(shown.chain(more).chain(lost).enumerate().map(|(nth, text)| (word(nth), text)));
    }
    (!said.is_empty()).then(|| format!("  told to the path managers\n{}", rows(&said)))
}

/// One event: `subflow established  10.0.12.1:41000 > 10.0.12.2:12000, ids 2 and 0, backup`.
fn pm_event(event: &PmEvent) -> String {
    use PmEventKind::*;
    let PmEvent { kind, token, local, remote, local_id, remote_id, backup, error } = event;
    let mut text = match kind {
        Created => format!("connection {token:#010x} begins"),
        Established => format!("connection {token:#010x} is established"),
        Closed => format!("connection {token:#010x} is over"),
        Announced => "address announced".to_owned(),
        Removed => "address taken back".to_owned(),
        SubflowEstablished => "subflow established".to_owned(),
        SubflowClosed => "subflow closed".to_owned(),
        SubflowPriority => "subflow's priority".to_owned(),
        ListenerCreated => "listens".to_owned(),
        ListenerClosed => "listens no more".to_owned(),
    };
    text.push_str(&match (local, remote) {
        (Some(local), Some(remote)) => format!("  {local} > {remote}"),
        (Some(one), None) | (None, Some(one)) => format!("  {one}"),
        (None, None) => String::new(),
    });
    text.push_str(&match (local_id, remote_id) {
        (Some(own), Some(other)) => format!(", ids {own} and {other}"),
        (Some(id), None) | (None, Some(id)) => format!(", id {id}"),
        (None, None) => String::new(),
    });
    if *backup {
        text.push_str(", backup");
    }
    text.extend(error.map(|errno| format!(", {}", nix::errno::Errno::from_raw(errno.into()))));
    text
}

/// What the kernel counted beyond the usual.
fn counters(seen: &Observation) -> Option<String> {
    let said: Vec<(String, String)> = seen
        .hosts
        .iter()
        .flat_map(|(host, story)| {
            let mut word = host.to_string();
            let notable = story.counters.iter().filter(|(name, grown)| **grown != 0 && notable(name));
            notable.map(move |(name, grown)| (std::mem::take(&mut word), format!("{name} {grown:+}")))
        })
        .collect();
    (!said.is_empty()).then(|| rows(&said))
}

/// Whether a counter is worth a line: all of TCP's and MPTCP's but the usual ones, and errors of IP.
fn notable(name: &str) -> bool {
    let tells = ["Tcp.", "TcpExt.", "MPTcpExt."].iter().any(|table| name.starts_with(table));
    let fails = ["Err", "Discards", "NoRoutes", "Csum", "Truncated"].iter().any(|part| name.contains(part));
    (tells || fails) && !USUAL.contains(&name)
}

/// Sockets of all hosts.
fn sockets<'a>(
    title: &str,
    seen: &'a Observation,
    of: impl Fn(&'a crate::observation::HostStory) -> &'a Vec<SocketState>,
) -> Option<String> {
    let said: Vec<String> = seen
        .hosts
        .iter()
        .flat_map(|(host, story)| of(story).iter().map(|socket| self::socket(*host, socket)))
        .collect();
    (!said.is_empty()).then(|| format!("  {title}\n{}", said.concat()))
}

fn socket(host: Host, socket: &SocketState) -> String {
    let SocketState { protocol, state, local, remote, receive_queue, send_queue, timer, details } = socket;
    let timer = timer.as_ref().map(|timer| format!(", timer {timer}")).unwrap_or_default();
    let mut text = format!(
        "    {host} {protocol} {state} {local} > {remote}, {receive_queue} unread, {send_queue} unacknowledged{timer}\n"
    );
    let details = details.iter().filter(|(_, value)| **value != 0);
    let details: Vec<String> = details.map(|(name, value)| format!("{name}={value}")).collect();
    for line in details.chunks(6) {
        text.push_str(&format!("      {}\n", line.join(" ")));
    }
    text
}

/// A table without lines.
fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// The text of a table, indented like everything else.
fn text(table: &Table) -> String {
    table.trim_fmt().lines().map(|line| format!(" {line}\n")).collect()
}
