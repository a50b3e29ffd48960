//! `--explain NAME`: when a schedule fires next, and what became of it so far.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use lovage_core::{Millis, ScheduleName, Schedules, ms};
use serde::Serialize;

use super::list::{is_spent, state};
use super::notes;
use super::show::{Columns, answer, json, span};
use crate::entry::rfc3339;
use crate::firing::{Fate, Firing};
use crate::plan::fires_at;
use crate::schedule::Schedule;
use crate::state::Record;
use crate::timetable::Timetable;

/// All that is told of a schedule, as programs read it.
#[derive(Serialize)]
struct Explained {
    name: String,
    schedule: String,
    state: &'static str,
    task: String,
    queue: String,
    origin: String,
    runs: u64,
    misfire: String,
    overlap: String,
    gap: String,
    fold: String,
    next: Vec<Next>,
    past: Vec<Past>,
}

/// An occurrence to come.
#[derive(Serialize)]
pub(super) struct Next {
    pub(super) local: String,
    pub(super) weekday: String,
    pub(super) utc: String,
    pub(super) in_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// What became of an occurrence, or of several in a row.
#[derive(Serialize)]
struct Past {
    local: String,
    utc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_ms: Option<u64>,
}

pub(super) async fn print(
    broker: &impl Schedules,
    name: &str,
    count: usize,
    as_json: bool,
) -> anyhow::Result<()> {
    let name = ScheduleName::parse(name)?;
    let timetable = Timetable::new(broker.clone());
    let looked = timetable.get(&name).await?;
    let standing = looked
        .found
        .with_context(|| format!("there is no schedule {name}; --list prints all"))?;
    let record = standing.record?;
    let firings = timetable.firings(&name, count).await?;
    let explained = Explained::of(&record, &firings, looked.now, count);
    if as_json {
        return json(&explained);
    }
    Ok(answer(explained.text()?)?)
}

impl Explained {
    fn of(record: &Record, firings: &[Firing], now: Millis, count: usize) -> Self {
        let entry = &record.entry;
        let schedule = &entry.schedule;
        let first = if is_spent(record) || record.state.paused.is_some() {
            None
        } else {
            record.state.next
        };
        let left = schedule
            .max_runs_limit()
            .map(|limit| limit.saturating_sub(record.state.runs));
        let left = left
            .and_then(|left| usize::try_from(left).ok())
            .unwrap_or(count);
        let instants = std::iter::successors(first, |instant| schedule.next_after(*instant));
        let next = instants.take(count.min(left)).map(|instant| {
            let late = fires_at(entry, instant).since(instant);
            Next::of(schedule, instant, now, late)
        });
        Self {
            name: entry.name.to_string(),
            schedule: schedule.to_string(),
            state: state(record, now),
            task: entry.template.task.to_string(),
            queue: entry.template.queue.to_string(),
            origin: entry.origin.to_string(),
            runs: record.state.runs,
            misfire: schedule.misfire_policy().to_string(),
            overlap: schedule.overlap_policy().to_string(),
            gap: schedule.gap_policy().to_string(),
            fold: schedule.fold_policy().to_string(),
            next: next.collect(),
            past: firings
                .iter()
                .map(|firing| Past::of(schedule, firing))
                .collect(),
        }
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "{}: {}", self.name, self.schedule)?;
        writeln!(text, "  sends    {} to queue {}", self.task, self.queue)?;
        writeln!(text, "  origin   {}", self.origin)?;
        writeln!(
            text,
            "  policy   misfire {}, overlap {}, gap {}, fold {}",
            self.misfire, self.overlap, self.gap, self.fold
        )?;
        writeln!(text, "  state    {}, {} runs", self.state, self.runs)?;
        writeln!(text, "\nnext")?;
        if self.next.is_empty() {
            writeln!(text, "  none")?;
        }
        write!(text, "{}", columns(&self.next))?;
        writeln!(text, "\npast")?;
        if self.past.is_empty() {
            writeln!(text, "  none")?;
        }
        let mut columns = Columns::bare();
        for past in &self.past {
            let late = past.late_ms.map(|late| format!(", {late} ms late"));
            let several = match past.count {
                Some(1) => String::new(),
                Some(count) => format!(
                    "{count} times until {}: ",
                    past.until.as_deref().unwrap_or("then")
                ),
                None => format!(
                    "many times until {}: ",
                    past.until.as_deref().unwrap_or("then")
                ),
            };
            columns.row([
                format!("  {}", past.local),
                format!("{several}{}{}", past.what, late.unwrap_or_default()),
            ]);
        }
        write!(text, "{columns}")?;
        Ok(text)
    }
}

/// Occurrences to come, one a line.
pub(super) fn columns(next: &[Next]) -> Columns {
    let mut columns = Columns::bare();
    for one in next {
        columns.row([
            format!("  {} {}", one.weekday, one.local),
            one.utc.clone(),
            format!("in {}", span(ms(one.in_ms))),
            one.note.clone().unwrap_or_default(),
        ]);
    }
    columns
}

impl Next {
    pub(super) fn of(schedule: &Schedule, instant: Millis, now: Millis, late: Duration) -> Self {
        let local = notes::occurrence(schedule, instant);
        let jitter =
            (!late.is_zero()).then(|| format!("fires {} later, by its jitter", span(late)));
        let behind = (instant < now).then(|| format!("was due {} ago", span(now.since(instant))));
        let notes: Vec<String> = [behind, local.note, jitter].into_iter().flatten().collect();
        Self {
            local: local.text,
            weekday: local.weekday,
            utc: rfc3339(instant),
            in_ms: lovage_core::span_ms(instant.since(now)),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }
}

impl Past {
    fn of(schedule: &Schedule, firing: &Firing) -> Self {
        let zone = notes::zone(schedule);
        let local = |instant| notes::local(&zone, instant).unwrap_or_else(|| rfc3339(instant));
        let fired = matches!(firing.fate, Fate::Fired { .. });
        Self {
            local: local(firing.first),
            utc: rfc3339(firing.first),
            until: (firing.last != firing.first).then(|| local(firing.last)),
            count: firing.count,
            what: firing.fate.to_string(),
            late_ms: fired.then(|| lovage_core::span_ms(firing.decided.since(firing.last))),
        }
    }
}
