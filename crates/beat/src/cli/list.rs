//! `--list`: all schedules, and when each fires next.

use lovage_core::{Looked, Millis, Schedules};
use serde::Serialize;

use super::notes;
use super::show::{Columns, answer, json, span};
use crate::state::Record;
use crate::timetable::{PAGE_MAX, Standing, Timetable};

/// Later than this by a leader it is said so.
const BEHIND_MS: u64 = 2_000;

/// One schedule, as programs read it.
#[derive(Serialize)]
struct Row {
    name: String,
    /// `on`, `paused`, `ended`, `behind`, `waits` or `unreadable`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    schedule: String,
    task: String,
    queue: String,
    origin: String,
    runs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ms: Option<u64>,
}

pub(super) async fn print(broker: &impl Schedules, as_json: bool) -> anyhow::Result<()> {
    let timetable = Timetable::new(broker.clone());
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let Looked { now, found } = timetable.list(after.as_ref(), PAGE_MAX).await?;
        let Some(last) = found.last() else { break };
        after = Some(last.name.clone());
        rows.extend(found.iter().map(|standing| Row::of(standing, now)));
    }
    if as_json {
        return json(&rows);
    }
    if rows.is_empty() {
        return Ok(answer("there are no schedules\n")?);
    }
    let mut columns = Columns::new(&[
        "NAME", "STATE", "NEXT", "IN", "SCHEDULE", "TASK", "QUEUE", "ORIGIN", "RUNS", "LAST",
        "NOTE",
    ]);
    for row in rows {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let ahead = row
            .in_ms
            .map(|ms| span(std::time::Duration::from_millis(ms)));
        columns.row([
            row.name,
            row.state.to_owned(),
            or_none(row.next),
            or_none(ahead),
            row.schedule,
            row.task,
            row.queue,
            row.origin,
            row.runs.to_string(),
            or_none(row.last),
            row.note.unwrap_or_default(),
        ]);
    }
    Ok(answer(columns)?)
}

/// How a schedule stands, in a word.
pub(super) fn state(record: &Record, now: Millis) -> &'static str {
    let state = &record.state;
    match state.next {
        _ if state.paused.is_some() => "paused",
        _ if state.waiting.is_some() => "waits",
        None => "ended",
        Some(_) if is_spent(record) => "ended",
        Some(next) => {
            let due = crate::plan::fires_at(&record.entry, next);
            if due.get().saturating_add(BEHIND_MS) < now.get() {
                "behind"
            } else {
                "on"
            }
        }
    }
}

/// Whether it has had all the runs it may have.
pub(super) fn is_spent(record: &Record) -> bool {
    let limit = record.entry.schedule.max_runs_limit();
    limit.is_some_and(|limit| limit <= record.state.runs)
}

impl Row {
    fn of(standing: &Standing, now: Millis) -> Self {
        let record = match &standing.record {
            Ok(record) => record,
            Err(error) => return Self::unreadable(standing, error.to_string()),
        };
        let (entry, state) = (&record.entry, state(record, now));
        let next = record
            .state
            .next
            .filter(|_| matches!(state, "on" | "behind"));
        let local = next.map(|next| notes::occurrence(&entry.schedule, next));
        let zone = notes::zone(&entry.schedule);
        let last = record.state.last.as_ref().map(|last| last.at);
        Self {
            name: entry.name.to_string(),
            state,
            next: local.as_ref().map(|local| local.text.clone()),
            next_ms: next.map(Millis::get),
            in_ms: next.map(|next| lovage_core::span_ms(next.since(now))),
            note: local.and_then(|local| local.note),
            schedule: entry.schedule.to_string(),
            task: entry.template.task.to_string(),
            queue: entry.template.queue.to_string(),
            origin: entry.origin.to_string(),
            runs: record.state.runs,
            last: last.and_then(|last| notes::local(&zone, last)),
            last_ms: last.map(Millis::get),
        }
    }

    /// One that a newer build wrote.
    fn unreadable(standing: &Standing, reason: String) -> Self {
        Self {
            name: standing.name.to_string(),
            state: "unreadable",
            next: None,
            next_ms: None,
            in_ms: None,
            note: Some(reason),
            schedule: "-".to_owned(),
            task: "-".to_owned(),
            queue: "-".to_owned(),
            origin: "-".to_owned(),
            runs: 0,
            last: None,
            last_ms: None,
        }
    }
}
