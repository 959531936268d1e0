//! Runs one case, from the empty namespace to its observation.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::Pid;

use super::capture::{self, Capturing, Recording};
use super::evidence::Evidence;
use super::protocol::Errand;
use super::settle::{self, Left};
use super::{events, path_managers, watch};
use crate::case::{Case, Host, LinkId};
use crate::copier::Progress;
use crate::endpoint::plant::Plant;
use crate::endpoint::{self, Rendezvous, endpoint_of};
use crate::link::conduct::Conduct;
use crate::link::{Carrier, Relay, RelayOptions, Wiring};
use crate::net::path_manager::events::Heard;
use crate::net::{NetError, counters, features};
use crate::observation::{End, Happened, HostStory, LinkStory, Observation, SocketState, Story, Timings};
use crate::oracle::Expectation;
use crate::payload;
use crate::topology::{self, Topology};

/// Why a case did not come to an observation.
pub(super) enum RunError {
    /// This machine cannot run it.
    Unable(String),
    /// Trouble of our own.
    Trouble(String),
}

impl From<NetError> for RunError {
    fn from(error: NetError) -> RunError {
        RunError::Trouble(error.to_string())
    }
}

/// If the kernel refuses something or has run out of it, that is a matter of the machine, which its owner can fix; the
/// error says how.
fn unable_or_trouble(error: NetError) -> RunError {
    match error.errno() {
        Some(
            Errno::EPERM
            | Errno::EACCES
            | Errno::ENOSPC
            | Errno::EOPNOTSUPP
            | Errno::EPROTONOSUPPORT
            | Errno::ENOMEM
            | Errno::EMFILE
            | Errno::ENOENT,
        ) => RunError::Unable(error.to_string()),
        _ => error.into(),
    }
}

fn trouble(what: &str) -> impl FnOnce(std::io::Error) -> RunError {
    move |error| RunError::Trouble(format!("{what}: {error}"))
}

/// Runs a case in this process.
pub(super) fn run(errand: &Errand) -> Result<(Observation, Evidence), RunError> {
    let case = &errand.case;
    pin(&errand.cpus)?;
    let start = Instant::now();
    let mut topology = topology::build(case, &topology::Options { capture: errand.capture, carrier: errand.carrier })
        .map_err(unable_or_trouble)?;
    let relay = start_links(errand, topology.take_wirings())?;
    let capturing = if errand.capture_hosts { capture::start(case, &topology)? } else { Vec::new() };
    let in_use = settle::in_use_at_rest(&topology, case)?;
    let built = Instant::now();

    let transfer = transfer(errand, &topology, &relay)?;
    known_protocols(case, &transfer)?;
    let moved = Instant::now();
    relay.heal();
    topology.heal(case)?;
    let left = match transfer.end {
        End::Finished => settle::settle(&topology, case, Expectation::of(case).settle, &in_use)?,
        End::Stalled { .. } | End::OutOfTime | End::KernelDied | End::KernelHung(_) => Left::default(),
    };
    let settled = Instant::now();

    // Before the relay closes its devices, and their counters go with them.
    let topology::Traffic { carried, drops: mut seen } = topology.traffic()?;
    let links = relay.stop();
    let recordings: Vec<Recording> = capturing.into_iter().filter_map(Capturing::finish).collect();
    seen.extend(links.iter().flat_map(|log| log.trouble.clone()));
    seen.extend(transfer.trouble);
    let mut hosts = hosts(case, &topology, transfer.stalled, left)?;
    for recording in &recordings {
        hosts.entry(recording.host()).or_default().captured = Some(recording.captured());
    }
    let observation = Observation {
        end: transfer.end,
        client: transfer.client,
        server: transfer.server,
        hosts,
        links: links.iter().map(|log| (log.id, with_bytes(&log.story, carried.get(&log.id)))).collect(),
        events: transfer.events,
        trouble: seen,
        kernel_log: Vec::new(),
        kernel: features::kernel()?,
        timings: Timings {
            setup: built - start,
            transfer: moved - built,
            settle: settled - moved,
            silence: transfer.silence,
            exact: super::init::is_guest(),
        },
    };
    if super::init::is_guest() {
        // It goes with the guest. Taking it apart would cost more than some transfers.
        std::mem::forget(topology);
    }
    Ok((observation, Evidence { links, recordings }))
}

/// Starts the links, and the check of what hosts send into those that go through user space.
fn start_links(errand: &Errand, wirings: Vec<Wiring>) -> Result<Relay, RunError> {
    let exact = super::init::is_guest();
    let options = RelayOptions { batches: exact, sabotage: errand.plant == Some(Plant::TwoLosses) };
    let in_user_space = |wiring: &Wiring| (!matches!(wiring.carrier, Carrier::Veth { .. })).then_some(wiring.id);
    let seen: Vec<LinkId> = wirings.iter().filter_map(in_user_space).collect();
    let conduct = Conduct::of(&errand.case, &seen, exact);
    Relay::start_with(errand.case.seed, wirings, conduct, options).map_err(trouble("start the links"))
}

/// What a link did, with what its devices counted.
fn with_bytes(story: &LinkStory, bytes: Option<&[u64; 2]>) -> LinkStory {
    LinkStory { bytes: bytes.copied().unwrap_or_default(), ..story.clone() }
}

/// A kind of socket that this kernel does not have is no finding.
fn known_protocols(case: &Case, transfer: &Transfer) -> Result<(), RunError> {
    for (story, end) in [(&transfer.client, &case.client), (&transfer.server, &case.server)] {
        let disabled = !case.knobs(end.host).has_mptcp();
        if let Some(error) = story.error.as_ref().filter(|error| error.call == "socket" && !disabled) {
            return Err(RunError::Unable(format!(
                "this kernel gives no socket of the case's protocol and family ({}): MPTCP needs CONFIG_MPTCP and \
                 net.mptcp.enabled=1, IPv6 needs CONFIG_IPV6; `whitewater doctor` tells more",
                error.errno
            )));
        }
        if let Some(error) = story.error.as_ref().filter(|error| error.call == endpoint::PAYLOAD_FILE) {
            return Err(RunError::Unable(format!(
                "no file in memory or no pipe to send from or receive into ({}: {}): it needs CONFIG_MEMFD_CREATE, \
                 memory for the payload, and descriptors",
                error.call, error.errno
            )));
        }
    }
    Ok(())
}

/// What the transfer itself showed.
struct Transfer {
    end: End,
    client: Story,
    server: Story,
    stalled: BTreeMap<Host, Vec<SocketState>>,
    trouble: Vec<String>,
    silence: Duration,
    events: Vec<Happened>,
}

fn event_fd_failed(errno: Errno) -> RunError {
    RunError::Trouble(format!("eventfd: {errno}"))
}

/// A descriptor by which one thread tells others to stop.
fn stop_signal() -> Result<EventFd, RunError> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(event_fd_failed)
}

/// Runs both endpoints to their end, or stops them. Beside them run the events of the case, and its path managers in user
/// space, if it has any.
fn transfer(errand: &Errand, topology: &Topology, relay: &Relay) -> Result<Transfer, RunError> {
    let case = &errand.case;
    let expectation = Expectation::of(case);
    let stop = stop_signal()?;
    let managed = case.hosts.values().any(|knobs| knobs.pm.userspace);
    let stop_managing = managed.then(stop_signal).transpose()?;
    let progress = [Progress::default(), Progress::default()];
    let ends = watch::Ends::new().map_err(event_fd_failed)?;
    let (for_client, for_server) = Rendezvous::pair();
    let switch = events::Switch::default();
    events::downs(case).into_iter().for_each(|link| relay.may_go_down(link));

    std::thread::scope(|scope| {
        let spawn = |side, progress, rendezvous| {
            let (ended, stop) = (ends.one(), stop.as_fd());
            scope.spawn(move || endpoint_thread(errand, topology, side, stop, progress, rendezvous, ended))
        };
        let server = spawn(payload::Sender::Server, &progress[1], for_server);
        let client = spawn(payload::Sender::Client, &progress[0], for_client);
        let events = (!case.events.is_empty()).then(|| {
            scope.spawn(|| {
                events::Stage { case, topology, relay, progress: [&progress[0], &progress[1]], switch: &switch }.run()
            })
        });
        for (events, progress) in events.iter().flat_map(|events| progress.iter().map(move |one| (events, one))) {
            progress.watched_by(events.thread().clone());
        }
        let managing =
            stop_managing.as_ref().map(|stop| scope.spawn(|| path_managers::run(case, topology, stop.as_fd())));
        let healing = RefCell::new(Vec::new());
        let (end, silence) = watch::watch(&ends, [&progress[0], &progress[1]], &expectation, || {
            relay.heal();
            healing.borrow_mut().extend(topology.heal(case).err().map(|error| error.to_string()));
            if let Some(events) = &events {
                switch.heal(events.thread());
            }
        });
        let mut trouble = healing.into_inner();
        let mut stalled = BTreeMap::new();
        if end != End::Finished {
            match settle::sockets(topology, case) {
                Ok(sockets) => stalled = sockets,
                Err(error) => trouble.push(error.to_string()),
            }
            stop.write(1).map_err(event_fd_failed)?;
        }
        let panicked = |_| (Vec::new(), vec!["the events panicked".into()]);
        let (happened, failed) = events.map_or_else(Default::default, |events| {
            switch.stop(events.thread());
            events.join().unwrap_or_else(panicked)
        });
        trouble.extend(failed);
        if let (Some(managing), Some(stop)) = (managing, &stop_managing) {
            stop.write(1).map_err(event_fd_failed)?;
            match managing.join() {
                Ok(result) => trouble.extend(result.err().map(|error| format!("path manager: {error}"))),
                Err(_) => trouble.push("the path manager panicked".into()),
            }
        }
        let client = story("client", client, &mut trouble);
        let server = story("server", server, &mut trouble);
        Ok(Transfer { end, client, server, stalled, trouble, silence, events: happened })
    })
}

/// The story of the endpoint that ran on this thread; an empty one, and trouble, if the thread failed.
fn story(name: &str, thread: ScopedJoinHandle<'_, Result<Story, String>>, trouble: &mut Vec<String>) -> Story {
    let result = thread.join().unwrap_or_else(|_| Err("panicked".into()));
    result.unwrap_or_else(|text| {
        trouble.push(format!("the {name} {text}"));
        Story::default()
    })
}

/// What the thread of an endpoint does.
fn endpoint_thread(
    errand: &Errand,
    topology: &Topology,
    side: payload::Sender,
    stop: BorrowedFd<'_>,
    progress: &Progress,
    rendezvous: Rendezvous,
    ended: watch::Ending<'_>,
) -> Result<Story, String> {
    let case = &errand.case;
    let host = endpoint_of(case, side).host;
    topology.namespace(host).enter().map_err(|error| format!("could not enter {host}: {error}"))?;
    let address = match side {
        payload::Sender::Client => topology::connect_target(case),
        payload::Sender::Server => topology::listen_address(case),
    };
    let story =
        endpoint::run(&endpoint::Errand { case, side, address, stop, progress, plant: errand.plant }, rendezvous);
    drop(ended);
    Ok(story)
}

/// Ties this thread, and the threads it will start, to some CPUs.
fn pin(cpus: &[usize]) -> Result<(), RunError> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    cpus.iter()
        .try_for_each(|&cpu| set.set(cpu))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| RunError::Trouble(format!("sched_setaffinity to CPUs {cpus:?}: {errno}")))
}

fn hosts(
    case: &Case,
    topology: &Topology,
    mut stalled: BTreeMap<Host, Vec<SocketState>>,
    mut left: Left,
) -> Result<BTreeMap<Host, HostStory>, NetError> {
    case.topology
        .hosts()
        .iter()
        .map(|&host| {
            // A fresh namespace counts from zero and its links are silent before the transfer, so one reading is enough.
            let mut counters = counters::read(topology.namespace(host))?;
            counters.retain(|_, value| *value != 0);
            let stalled_sockets = stalled.remove(&host).unwrap_or_default();
            let left_sockets = left.sockets.remove(&host).unwrap_or_default();
            let lost_sockets = left.lost.remove(&host).unwrap_or_default();
            let heard = match topology.path_manager_events(host) {
                Some(events) => {
                    events.receive()?;
                    events.heard()
                }
                None => Heard::default(),
            };
            Ok((
                host,
                HostStory {
                    counters,
                    stalled_sockets,
                    left_sockets,
                    lost_sockets,
                    captured: None,
                    pm_events: heard.events,
                    pm_events_lost: heard.incomplete,
                },
            ))
        })
        .collect()
}
