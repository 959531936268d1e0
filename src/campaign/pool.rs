//! The worker threads: each runs one case at a time in the world and judges it.
//!
//! A waiting case costs no CPU, so there may be more workers than CPUs. Every job names the channel for its result, so the
//! drawing of new cases and the shrinking of a finding share the workers without seeing each other's results.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Rules;
use crate::case::Case;
use crate::observation::{CaptureStory, Observation};
use crate::oracle::{Kind, Verdict};
use crate::world::{World, WorldError};

/// How long the end of a pool waits for cases that were abandoned.
const GRACE: Duration = Duration::from_secs(2);

/// How long it waits between two looks at them.
const GRACE_TICK: Duration = Duration::from_millis(10);

/// Says where the evidence of a run with this verdict goes; asked in the worker's thread.
pub type Keep = Box<dyn Fn(&Verdict) -> Option<PathBuf> + Send>;

/// A case to be run.
pub struct Job {
    /// What the one who hands it in knows it by.
    pub ticket: u64,
    /// The case.
    pub case: Case,
    /// Where its evidence goes.
    pub keep: Keep,
    /// Where the result goes.
    pub reply: Sender<Done>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("ticket", &self.ticket).field("case", &self.case).finish_non_exhaustive()
    }
}

/// What became of a job.
#[derive(Debug)]
pub struct Done {
    /// The job's ticket.
    pub ticket: u64,
    /// The case.
    pub case: Case,
    /// What the run showed.
    pub result: Result<Ran, WorldError>,
    /// How long it took.
    pub took: Duration,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The verdict.
    pub verdict: Verdict,
    /// The kernel it ran on.
    pub kernel: String,
    /// The folder with its evidence, if it was kept.
    pub evidence: Option<PathBuf>,
    /// What was captured on the hosts of both ends, if that was asked for.
    pub captured: Option<CaptureStory>,
    /// The digest of everything seen, if the world repeats runs exactly.
    pub print: Option<[u8; 32]>,
}

/// The workers. Dropping it abandons whatever still runs.
pub struct Pool {
    queue: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    world: Arc<dyn World>,
    stop: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Pool {
    /// Starts `jobs` workers, at least one. Once `stop` is set, jobs that still wait come back unrun.
    pub fn start(world: Arc<dyn World>, rules: Rules, jobs: usize, stop: Arc<AtomicBool>) -> Pool {
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let closed = Arc::new(AtomicBool::new(false));
        let workers = (0..jobs.max(1))
            .map(|index| {
                let (receiver, world) = (Arc::clone(&receiver), Arc::clone(&world));
                let (stop, closed) = (Arc::clone(&stop), Arc::clone(&closed));
                let over = move || stop.load(Ordering::Relaxed) || closed.load(Ordering::Relaxed);
                std::thread::Builder::new()
                    .name(format!("worker {index}"))
                    .spawn(move || work(&receiver, &*world, rules, &over))
                    .expect("a campaign cannot go on without its threads")
            })
            .collect();
        Pool { queue: Some(sender), workers, world, stop, closed }
    }

    /// How many cases can run at once.
    pub fn width(&self) -> usize {
        self.workers.len()
    }

    /// Hands in a job; its result comes to `job.reply` in any case.
    pub fn submit(&self, job: Job) {
        let queue = self.queue.as_ref().expect("the queue is open as long as the pool lives");
        queue.send(job).expect("workers catch panics, so one is always there");
    }

    /// Whether the campaign was told to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The world.
    pub fn world(&self) -> &dyn World {
        &*self.world
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.queue = None;
        let end = Instant::now() + GRACE;
        // A worker may just have been about to start its case, so cases are abandoned repeatedly.
        while self.workers.iter().any(|worker| !worker.is_finished()) && Instant::now() < end {
            self.world.abandon();
            std::thread::sleep(GRACE_TICK);
        }
        // Workers that are still there hang in the world. They hold nothing of ours, and end with the process.
        for worker in self.workers.drain(..).filter(|worker| worker.is_finished()) {
            let _ = worker.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, world: &dyn World, rules: Rules, over: &dyn Fn() -> bool) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { ticket, case, keep, reply }) = next else { return };
        let begin = Instant::now();
        let result = if over() {
            Err(WorldError::AgentLost("was never started: the campaign stops".to_owned()))
        } else {
            catch_unwind(AssertUnwindSafe(|| run(world, rules, &case, &keep)))
                .unwrap_or_else(|panic| Err(WorldError::Trouble(format!("a worker panicked: {}", words(&*panic)))))
        };
        // Nobody listens any more if the campaign has moved on.
        let _ = reply.send(Done { ticket, case, result, took: begin.elapsed() });
    }
}

fn run(world: &dyn World, rules: Rules, case: &Case, keep: &Keep) -> Result<Ran, WorldError> {
    let judged = RefCell::new(None);
    let observation = world.run(case, &|seen| {
        let verdict = (rules.judge)(case, seen);
        let folder = keep(&verdict);
        judged.replace(Some((verdict, folder.clone())));
        folder
    })?;
    let (verdict, evidence) = match judged.into_inner() {
        Some(judged) => judged,
        None => ((rules.judge)(case, &observation), None),
    };
    let print = world.is_exact().then(|| print(&observation));
    let captured = observation
        .hosts
        .values()
        .filter_map(|host| host.captured)
        .reduce(|a, b| CaptureStory { packets: a.packets + b.packets, missed: a.missed + b.missed });
    Ok(Ran { verdict, kernel: observation.kernel, evidence, captured, print })
}

/// SHA-256 of an observation: counters, packets and times.
fn print(observation: &Observation) -> [u8; 32] {
    let text = serde_json::to_vec(observation).expect("an observation is plain data with texts for keys");
    Sha256::digest(text).into()
}

impl Done {
    /// The verdict, trouble of the world included.
    pub fn verdict(&self) -> Verdict {
        match &self.result {
            Ok(ran) => ran.verdict.clone(),
            Err(error) => {
                let kind = if matches!(error, WorldError::Unable(_)) { Kind::Skip } else { Kind::HarnessError };
                Verdict { kind, what: error.to_string(), signature: kind.to_string() }
            }
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
