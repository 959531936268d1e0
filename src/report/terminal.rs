//! The report that a person reads: a progress bar where there is a terminal, else a plain line now and then; and a
//! line for whatever is worth one.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Event, Report, words};
use crate::oracle::Kind;

/// How often a plain line tells the progress.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// How often a plain line tells how far a shrinking has come.
const PLAIN_STEP_EVERY: Duration = Duration::from_secs(1);

/// How often a bar moves by itself.
const BAR_TICK: Duration = Duration::from_millis(200);

/// Tells a person. Progress goes to standard error, all else to `out`.
pub struct Terminal<W: Write> {
    out: W,
    bar: Option<ProgressBar>,
    begin: Instant,
    last_line: Instant,
    shrinking: f64,
    cases: u64,
    passed: u64,
    findings: u64,
    in_flight: usize,
}

impl<W: Write> std::fmt::Debug for Terminal<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("cases", &self.cases).finish_non_exhaustive()
    }
}

impl<W: Write> Terminal<W> {
    /// Writes to `out`; with a progress bar where standard error is a terminal.
    pub fn new(out: W) -> Terminal<W> {
        let now = Instant::now();
        Terminal {
            out,
            bar: None,
            begin: now,
            last_line: now,
            shrinking: 0.0,
            cases: 0,
            passed: 0,
            findings: 0,
            in_flight: 0,
        }
    }

    /// Writes a text of its own line.
    pub fn line(&mut self, text: &str) {
        let out = &mut self.out;
        // Where nobody reads there is nobody to tell.
        let mut write = || drop(writeln!(out, "{text}").and_then(|()| out.flush()));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn begin(&mut self, cases: Option<u64>) {
        self.begin = Instant::now();
        self.last_line = self.begin;
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.insert(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        let (length, shape) = match cases {
            Some(_) => ("/{len}", "{wide_bar}"),
            None => ("", "{spinner}"),
        };
        let template = format!("{{elapsed}} {shape} {{pos}}{length} {{msg}}");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is well-formed"));
        if let Some(cases) = cases {
            bar.set_length(cases);
        }
        bar.enable_steady_tick(BAR_TICK);
    }

    fn progress(&mut self) {
        let text = self.progress_text();
        if let Some(bar) = &self.bar {
            bar.set_position(self.cases);
            bar.set_message(text);
        } else if self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            self.line(&format!("{}: {text}", words::counted(self.cases, "case")));
        }
    }

    fn progress_text(&self) -> String {
        // No cases are drawn while a finding is shrunk.
        let drawing = (self.begin.elapsed().as_secs_f64() - self.shrinking).max(f64::MIN_POSITIVE);
        let rate = self.cases as f64 / drawing;
        let Terminal { passed, in_flight, .. } = self;
        format!("{passed} passed, {}, {in_flight} in flight, {rate:.0}/s", words::counted(self.findings, "finding"))
    }
}

impl<W: Write> Report for Terminal<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { cases, .. } => self.begin(*cases),
            Event::CaseDone { verdict, in_flight, .. } => {
                self.cases += 1;
                self.passed += u64::from(*verdict == Kind::Pass);
                self.in_flight = *in_flight;
                self.progress();
            }
            Event::Finding { .. } => self.findings += 1,
            Event::Shrunk { seconds, .. } => self.shrinking += seconds,
            Event::Finished(_) => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::ShrinkStep { .. } => {
                // Many steps come in a row: a bar shows the last one, and of plain lines some are enough.
                if let (Some(bar), Some(text)) = (&self.bar, words::of(event)) {
                    bar.set_message(text.trim().to_owned());
                    return;
                }
                if self.last_line.elapsed() < PLAIN_STEP_EVERY {
                    return;
                }
                self.last_line = Instant::now();
            }
            _ => {}
        }
        if let Some(text) = words::of(event) {
            self.line(&text);
        }
    }
}
