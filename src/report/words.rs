//! Events in words, one line or a few each. Pure: what a terminal shows is decided here.

use super::table;
use super::{Event, Stopped, Summary};
use crate::oracle::Kind;

/// An event in words for people; `None` if it is not worth any.
pub fn of(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { seed, world, why, kernel, program, jobs, cases, seconds, .. } => {
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            let name = program.as_ref().map(|program| format!(" {:?}", program.name)).unwrap_or_default();
            format!(
                "seed {seed}, world {world}{why}, kernel{name} {kernel}, {}, {}",
                counted(*jobs as u64, "job"),
                bound(*cases, *seconds)
            )
        }
        Event::Interrupted { files } => {
            let mut text = "an earlier run was killed while these cases ran; their files have been kept:".to_owned();
            for file in files {
                text.push_str(&format!("\n  {}", file.display()));
            }
            text
        }
        Event::CaseDone { .. } | Event::Again { .. } => return None,
        Event::Finding { verdict, what, seed, file, .. } => {
            format!("{}: {what}\n  case {seed}, saved as {}", loud(*verdict), file.display())
        }
        Event::Known { signature, note, seed, count } => match count {
            1 if note.is_empty() => format!("known: {signature}\n  case {seed}"),
            1 => format!("known: {signature} ({note})\n  case {seed}"),
            _ => return None,
        },
        Event::ShrinkStep { tests, payload, faults, lines, .. } => {
            let faults = if *faults == 0 { String::new() } else { format!(", {}", counted(*faults as u64, "fault")) };
            format!(
                "  shrinking: {}{faults}, {} after {}",
                counted(*payload, "byte"),
                counted(*lines as u64, "line"),
                counted(*tests, "test")
            )
        }
        Event::Shrunk { file, tests, seconds, seen, budget_spent, .. } => {
            let spent = if *budget_spent { ", the budget is spent" } else { "" };
            let seen = match seen {
                Some(seen) => format!("fails in {seen} runs"),
                None => "interrupted".to_owned(),
            };
            format!("  shrunk in {} ({seconds:.1} s{spent}), {seen}: {}", counted(*tests, "test"), file.display())
        }
        Event::Trouble { seed, what, file } => match file {
            Some(file) => format!("trouble: {what}\n  case {seed}, kept as {}", file.display()),
            None => return None,
        },
        Event::Finished(summary) => finished(summary),
        Event::ReplayStarted { .. } => return None,
        Event::Replayed { name, run, runs, verdict, what, seconds, evidence, .. } => {
            let run = if *runs > 1 { format!(" run {run}") } else { String::new() };
            let kind = if verdict.is_finding() { loud(*verdict) } else { plain(*verdict) };
            let what = if what.is_empty() { String::new() } else { format!(": {what}") };
            let kept = evidence.as_ref().map(|folder| format!("\n  evidence: {}", folder.display()));
            format!("{kind} {name}{run} ({seconds:.2} s){what}{}", kept.unwrap_or_default())
        }
        Event::ReplayFinished { runs: 0 | 1, .. } => return None,
        Event::ReplayFinished { runs, failed, .. } => format!("{failed} of {runs} runs failed"),
    })
}

/// How a campaign ended, its table, and what is worth saying beside it.
fn finished(summary: &Summary) -> String {
    let mut text = String::new();
    if !summary.findings.is_empty() || !summary.known.is_empty() {
        text.push_str(&table::bugs(summary));
        text.push('\n');
    }
    text.push_str(&table::verdicts(summary));
    text.push('\n');
    for bug in &summary.findings {
        if let Some(file) = &bug.file {
            text.push_str(&format!("replay with: whitewater replay {}\n", table::shell(file)));
        }
    }
    let trouble = summary.count(Kind::HarnessError);
    if let (true, Some(first)) = (trouble > 0, &summary.first_trouble) {
        let met = counted(trouble, "case");
        text.push_str(&format!("warning: {met} met trouble of our own and decided nothing; the first: {first}\n"));
    }
    if let Some(reason) = &summary.skipped_for {
        text.push_str(&format!("{} skipped; the first: {reason}\n", counted(summary.count(Kind::Skip), "case")));
    }
    if let Some(digest) = &summary.digest {
        text.push_str(&format!("digest {digest}\n"));
    }
    let unsure = if summary.abandoned == 0 { String::new() } else { format!(", {} abandoned", summary.abandoned) };
    text.push_str(&match &summary.stopped {
        Stopped::Failed(reason) => format!("stopped: {reason}"),
        Stopped::Interrupted => format!("interrupted after {}{unsure}", counted(summary.cases, "case")),
        Stopped::Done | Stopped::TimeOver | Stopped::Finding => verdict(summary),
    });
    text
}

/// The last line of a campaign that came to its end.
fn verdict(summary: &Summary) -> String {
    let (cases, findings) = (counted(summary.cases, "case"), counted(summary.findings.len() as u64, "finding"));
    match summary.exit_code() {
        1 => format!("{findings} in {cases}"),
        3 => format!(
            "{} of {cases} met trouble of our own: too many to trust the others",
            summary.count(Kind::HarnessError)
        ),
        4 => format!("all of {cases} skipped"),
        _ if !summary.known.is_empty() => format!("nothing new in {cases}"),
        _ => format!("no findings in {cases}"),
    }
}

fn bound(cases: Option<u64>, seconds: Option<f64>) -> String {
    match (cases, seconds) {
        (Some(cases), Some(seconds)) => format!("{} or {seconds} s", counted(cases, "case")),
        (Some(cases), None) => counted(cases, "case"),
        (None, Some(seconds)) => format!("{seconds} s"),
        (None, None) => "no end".to_owned(),
    }
}

/// A verdict in a list of cases.
pub fn plain(kind: Kind) -> String {
    match kind {
        Kind::Pass => "passed".to_owned(),
        Kind::Skip => "skipped".to_owned(),
        Kind::HarnessError => "trouble".to_owned(),
        kind => kind.to_string(),
    }
}

/// A verdict that should catch the eye.
pub fn loud(kind: Kind) -> String {
    kind.to_string().to_uppercase()
}

/// `1 case`, `2 cases`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
