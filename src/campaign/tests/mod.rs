//! Campaigns in a world that is a closure.

mod findings;
mod shrinking;
mod stopping;
mod trouble;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Campaign, Faults, Known, Limits, Options, Rules};
use crate::case::{Action, Case, Fault, LinkId, Loss, Packet};
use crate::observation::{End, Observation, Story, Timings};
use crate::oracle::{Kind, Verdict};
use crate::report::{Event, Report, Summary};
use crate::seed::Seed;
use crate::world::{World, WorldError};

/// What a case does in the fake world.
#[derive(Clone, Debug, PartialEq)]
enum Does {
    Pass,
    Fail { kind: Kind, signature: &'static str },
    Skip,
    Trouble,
    Lost,
    Unable,
    Panic,
    Hang,
}

const CORRUPT: Does = Does::Fail { kind: Kind::Corrupt, signature: "corrupt: a block" };

/// A world that asks a closure, which is told the case and how many cases have run before.
struct FakeWorld<F> {
    does: F,
    runs: AtomicU64,
    abandoned: AtomicU64,
    hanging: AtomicU64,
    kept: AtomicU64,
}

impl<F: Fn(&Case, u64) -> Does> FakeWorld<F> {
    fn new(does: F) -> Arc<FakeWorld<F>> {
        Arc::new(FakeWorld { does, runs: 0.into(), abandoned: 0.into(), hanging: 0.into(), kept: 0.into() })
    }
}

impl<F: Fn(&Case, u64) -> Does + Send + Sync> World for FakeWorld<F> {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn run(&self, case: &Case, keep: &dyn Fn(&Observation) -> Option<PathBuf>) -> Result<Observation, WorldError> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        let does = (self.does)(case, run);
        match does {
            Does::Lost => return Err(WorldError::AgentLost("was killed by signal 9".into())),
            Does::Unable => return Err(WorldError::Unable("no user namespaces here: echo 1 >somewhere".into())),
            Does::Panic => panic!("the fake world falls apart"),
            Does::Hang => {
                let before = self.abandoned.load(Ordering::SeqCst);
                self.hanging.fetch_add(1, Ordering::SeqCst);
                while self.abandoned.load(Ordering::SeqCst) == before {
                    std::thread::sleep(Duration::from_millis(1));
                }
                return Err(WorldError::AgentLost("was abandoned".into()));
            }
            _ => {}
        }
        let observation = observation(&does);
        if let Some(folder) = keep(&observation) {
            self.kept.fetch_add(1, Ordering::SeqCst);
            assert!(folder.is_dir(), "the folder for evidence must exist");
            std::fs::write(folder.join("observation.json"), "{}").unwrap();
            std::fs::write(folder.join("faults.toml"), toml::to_string(&lost_by(case)).unwrap()).unwrap();
        }
        Ok(observation)
    }

    fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
    }
}

/// The same world, where each run of a case is the same run.
struct Exact(Arc<dyn World>);

impl World for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn run(&self, case: &Case, keep: &dyn Fn(&Observation) -> Option<PathBuf>) -> Result<Observation, WorldError> {
        self.0.run(case, keep)
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn abandon(&self) {
        self.0.abandon();
    }
}

/// An observation from which [`judge`] reads what the case did.
fn observation(does: &Does) -> Observation {
    let state = match does {
        Does::Fail { kind, signature } => format!("{kind:?}|{signature}"),
        Does::Skip => "Skip|skip".to_owned(),
        Does::Trouble => "HarnessError|trouble".to_owned(),
        _ => String::new(),
    };
    Observation {
        end: End::Finished,
        client: Story { state, ..Story::default() },
        server: Story::default(),
        hosts: BTreeMap::new(),
        links: BTreeMap::new(),
        events: Vec::new(),
        trouble: Vec::new(),
        kernel_log: Vec::new(),
        kernel: "7.0.0-fake #1".to_owned(),
        timings: Timings::default(),
    }
}

fn judge(_: &Case, seen: &Observation) -> Verdict {
    let Some((kind, signature)) = seen.client.state.split_once('|') else {
        return Verdict { kind: Kind::Pass, what: String::new(), signature: String::new() };
    };
    let all = [Kind::Corrupt, Kind::Stalled, Kind::Skip, Kind::HarnessError];
    let kind = all.into_iter().find(|one| one.to_string() == kind).unwrap();
    Verdict { kind, what: format!("something like {signature}"), signature: signature.to_owned() }
}

/// Which cells a case loses on the link in the middle, on the way forward.
fn lost_cells(case: &Case) -> Vec<u64> {
    let forward = &case.link(LinkId::Ns2Ns3).forward;
    let listed = forward.faults.iter().filter_map(|fault| match (fault.packet, fault.action) {
        (Packet::Cell(cell), Action::Drop) => Some(cell),
        _ => None,
    });
    let loss = case.seed.stream("loss");
    let random = |cell: &u64| match forward.loss {
        Some(Loss::Independent(probability)) => loss.at(*cell).chance(probability),
        _ => false,
    };
    listed.chain((0..case.client.payload / 1448).filter(random)).collect()
}

fn lost_by(case: &Case) -> Faults {
    let fault = |cell| Fault { flow: 0, packet: Packet::Cell(cell), carriage: 0, action: Action::Drop };
    BTreeMap::from([(LinkId::Ns2Ns3, [lost_cells(case).into_iter().map(fault).collect(), Vec::new()])])
}

/// Simpler cases, as plain as they can be: less payload, fewer links, fewer faults.
fn candidates(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let with = |change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        case
    };
    for id in case.links.keys() {
        all.push(with(&|case| drop(case.links.remove(id))));
    }
    let mut less = case.client.payload;
    while less > 0 {
        all.push(with(&|case| case.client.payload -= less));
        less /= 2;
    }
    if case.server.payload > 0 {
        all.push(with(&|case| case.server.payload = 0));
    }
    let faults = case.link(LinkId::Ns2Ns3).forward.faults.len();
    let mut size = faults;
    while size > 0 {
        for from in (0..faults).step_by(size) {
            all.push(with(&|case| {
                let link = case.links.get_mut(&LinkId::Ns2Ns3).unwrap();
                link.forward.faults.drain(from..(from + size).min(faults));
            }));
        }
        size /= 2;
    }
    all
}

fn explicit(case: &Case, faults: &Faults) -> Case {
    let mut case = case.clone();
    for (id, [forward, _]) in faults {
        let Some(link) = case.links.get_mut(id) else { continue };
        link.forward.loss = None;
        link.forward.faults.clone_from(forward);
    }
    case
}

fn read_faults(evidence: &Path) -> Option<Faults> {
    toml::from_str(&std::fs::read_to_string(evidence.join("faults.toml")).ok()?).ok()
}

/// No case of these tests hangs on timing.
fn steadier(_: &Case) -> Vec<Case> {
    Vec::new()
}

const RULES: Rules = Rules { judge, candidates, steadier, explicit, read_faults };

/// A case that grows with its seed, now and then over a lossy link.
fn draw(seed: Seed) -> Case {
    let mut draw = seed.stream("test");
    let mut case = Case { seed, ..Case::default() };
    case.client.payload = draw.below(100_000);
    case.server.payload = draw.below(100_000);
    if draw.chance(0.5) {
        let mut link = case.link(LinkId::Ns2Ns3);
        link.forward.loss = Some(Loss::Independent(0.3));
        case.links.insert(LinkId::Ns2Ns3, link);
    }
    case
}

/// Remembers every event.
#[derive(Debug, Default)]
struct Recorder {
    events: Vec<Event>,
}

impl Report for Recorder {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// A campaign of `cases` cases in this world, with its findings in `folder`.
fn campaign(folder: &Path, cases: u64, world: Arc<dyn World>) -> Campaign {
    Campaign {
        world,
        rules: RULES,
        draw: Box::new(draw),
        options: Options {
            seed: Seed(7),
            jobs: 4,
            cases: Some(cases),
            time: None,
            until_finding: false,
            findings: folder.join("findings"),
            known: Known::default(),
            limits: Limits::default(),
            why: String::new(),
        },
        stop: Arc::new(AtomicBool::new(false)),
    }
}

fn run(campaign: &Campaign) -> (Summary, Vec<Event>) {
    let mut recorder = Recorder::default();
    let summary = super::run(campaign, &mut recorder).unwrap();
    (summary, recorder.events)
}

/// The names in a folder, sorted; empty if there is none.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
