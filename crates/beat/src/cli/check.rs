//! `--check FILE`: whether a schedule file is good, and what it would do.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use lovage_core::{Clock, Registry};
use serde::Serialize;

use super::explain::{Next, columns};
use super::follow::label;
use super::show::{answer, json};
use crate::file;
use crate::plan::fires_at;

/// How many next runs of each schedule are printed.
const RUNS: usize = 3;

#[derive(Serialize)]
struct Checked {
    name: String,
    schedule: String,
    task: String,
    queue: String,
    /// Whether the task is linked into this program, which knows its own options then.
    linked: bool,
    next: Vec<Next>,
}

/// Prints what the file says. By this host's clock: there is no broker here to ask.
pub(super) fn print(path: &Path, tasks: &Registry, as_json: bool) -> anyhow::Result<()> {
    let contents = file::read(path, &label(path), tasks)?;
    let now = Clock::System.now();
    let checked = contents.entries.iter().map(|entry| {
        let schedule = &entry.schedule;
        let instants = std::iter::successors(schedule.next_after(now), |instant| {
            schedule.next_after(*instant)
        });
        let next = instants.take(RUNS).map(|instant| {
            let late: Duration = fires_at(entry, instant).since(instant);
            Next::of(schedule, instant, now, late)
        });
        Checked {
            name: entry.name.to_string(),
            schedule: schedule.to_string(),
            task: entry.template.task.to_string(),
            queue: entry.template.queue.to_string(),
            linked: tasks.get(entry.template.task.as_str()).is_some(),
            next: next.collect(),
        }
    });
    let checked: Vec<Checked> = checked.collect();
    if as_json {
        return json(&checked);
    }
    let mut text = String::new();
    // A program without tasks knows of none: that one is not linked says nothing then.
    let knows_tasks = !tasks.tasks().is_empty();
    for one in &checked {
        writeln!(text, "{}: {}", one.name, one.schedule)?;
        let unknown = if knows_tasks && !one.linked {
            ", a task that is not linked into this program"
        } else {
            ""
        };
        writeln!(text, "  sends {} to queue {}{unknown}", one.task, one.queue)?;
        if one.next.is_empty() {
            writeln!(text, "  never: nothing of it is to come")?;
        }
        writeln!(text, "{}", columns(&one.next))?;
    }
    for name in &contents.disabled {
        writeln!(text, "{name}: not enabled\n")?;
    }
    let count = match checked.len() {
        1 => "1 schedule".to_owned(),
        several => format!("{several} schedules"),
    };
    writeln!(text, "{} is good: {count}", path.display())?;
    Ok(answer(text)?)
}
