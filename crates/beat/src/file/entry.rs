//! What one table says: a schedule, and the task it sends.

use bytes::Bytes;
use lovage_core::{
    Ack, Draft, Envelope, Millis, Priority, QueueName, Registry, TaskName, TaskOptions, Uniqueness,
};
use toml::de::{DeTable, DeValue};

use super::args;
use super::table::Table;
use crate::schedule::Schedule;
use crate::solar::SolarEvent;

/// The most runs that a schedule can be limited to: what TOML can say.
const RUNS_MAX: u64 = i64::MAX.unsigned_abs();

/// All keys of a schedule's table, in the order in which they are listed to somebody who wrote another.
pub(super) const KEYS: [&str; 29] = [
    "task",
    "args",
    "cron",
    "every",
    "at",
    "solar",
    "latitude",
    "longitude",
    "tz",
    "starting",
    "ending",
    "except",
    "max_runs",
    "jitter",
    "misfire",
    "overlap",
    "gap",
    "fold",
    "enabled",
    "queue",
    "priority",
    "expires",
    "max_retries",
    "timeout",
    "hard_timeout",
    "result_ttl",
    "ignore_result",
    "ack_early",
    "headers",
];

const KINDS: [&str; 4] = ["cron", "every", "at", "solar"];

/// The schedule, the task, and whether it is enabled. Where something was noted, they mean nothing: the file is refused.
///
/// Each part is read whatever is wrong with the others, so that everything is told at once.
pub(super) fn read(
    table: &mut Table<'_, '_>,
    tasks: &Registry,
) -> Option<(Schedule, Envelope, bool)> {
    let schedule = schedule(table);
    let template = template(table, tasks);
    let enabled = table.bool("enabled").unwrap_or(true);
    template.map(|template| (schedule, template, enabled))
}

fn schedule(table: &mut Table<'_, '_>) -> Schedule {
    // A stand-in lets the rest be looked at where the kind is wrong.
    let mut schedule = kind(table).unwrap_or_else(|| Schedule::at(Millis::default()));
    if let Some((tz, place)) = table.text("tz") {
        match schedule.clone().tz(&tz) {
            Ok(in_zone) => schedule = in_zone,
            Err(error) => table.refuse_at(place, error),
        }
    }
    for (date, place) in table.dates("except") {
        match schedule.clone().except(&date) {
            Ok(without) => schedule = without,
            Err(error) => table.refuse_at(place, error),
        }
    }
    let (starting, ending) = (table.instant("starting"), table.instant("ending"));
    if starting.zip(ending).is_some_and(|(start, end)| end < start) {
        table.refuse("it ends before it starts: `ending` is earlier than `starting`");
    }
    schedule = with(schedule, starting, Schedule::starting);
    schedule = with(schedule, ending, Schedule::ending);
    let jitter = table.span("jitter").map(|(span, _)| span);
    schedule = with(schedule, jitter, Schedule::jitter);
    let max_runs = table.number("max_runs", 1, RUNS_MAX);
    schedule = with(schedule, max_runs, Schedule::max_runs);
    schedule = with(schedule, table.word("misfire"), Schedule::misfire);
    schedule = with(schedule, table.word("overlap"), Schedule::overlap);
    schedule = with(schedule, table.word("gap"), Schedule::gap);
    with(schedule, table.word("fold"), Schedule::fold)
}

fn with<S, T>(on: S, value: Option<T>, set: impl FnOnce(S, T) -> S) -> S {
    match value {
        Some(value) => set(on, value),
        None => on,
    }
}

/// When it occurs: exactly one of the four kinds.
fn kind(table: &mut Table<'_, '_>) -> Option<Schedule> {
    let said: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    match said[..] {
        [_] => {}
        [] => {
            table.refuse("it has no times: write one of cron, every, at and solar");
            return None;
        }
        _ => {
            table.refuse(format!(
                "it has several kinds of times, {}: keep one, and give the others a schedule of their own",
                said.join(" and ")
            ));
            return None;
        }
    }
    for part in ["latitude", "longitude"] {
        if said != ["solar"] && table.has(part) {
            table.refuse(format!(
                "{part} goes with solar, and this one has {}",
                said[0]
            ));
        }
    }
    let (made, place) = match said[0] {
        "cron" => {
            let (text, place) = table.text("cron")?;
            (Schedule::cron(&text), place)
        }
        "every" => {
            let (period, place) = table.span("every")?;
            (Schedule::every(period), place)
        }
        "at" => return table.instant("at").map(Schedule::at),
        _ => return solar(table),
    };
    made.map_err(|error| table.refuse_at(place, error)).ok()
}

fn solar(table: &mut Table<'_, '_>) -> Option<Schedule> {
    for part in ["latitude", "longitude"] {
        if !table.has(part) {
            table.refuse(format!(
                "solar needs a place: write {part} as well, in degrees"
            ));
        }
    }
    let event: Option<SolarEvent> = table.word("solar");
    let (latitude, longitude) = (table.degrees("latitude"), table.degrees("longitude"));
    Schedule::solar(event?, latitude?, longitude?)
        .map_err(|error| table.refuse(error))
        .ok()
}

/// The task as it is sent: by the same code as any send.
fn template(table: &mut Table<'_, '_>, tasks: &Registry) -> Option<Envelope> {
    let args = args(table);
    let mut draft = draft(table);
    if !table.has("task") {
        table.refuse("it sends nothing: write task = \"…\", the name of a task");
    }
    let (name, place) = table.text("task")?;
    let task = TaskName::parse(&name)
        .map_err(|error| table.refuse_at(place.clone(), error))
        .ok()?;
    let (args, def) = (args?, tasks.get(task.as_str()));
    let own = def.map(|def| (def.options)()).unwrap_or_default();
    if let Some(lock) = def.and_then(|def| (def.lock)(&args)) {
        draft.unique = Uniqueness::Lock(lock);
    }
    draft
        .envelope_of(task, args, own, Millis::default())
        .map_err(|error| table.refuse_at(place, error))
        .ok()
}

fn args(table: &mut Table<'_, '_>) -> Option<Bytes> {
    let Some(value) = table.value("args") else {
        return args::encode(&DeTable::new()).ok();
    };
    let encoded = match value.get_ref() {
        DeValue::Table(fields) => args::encode(fields),
        other => Err(format!(
            "this is of type {}; write a table of the arguments by name, as in {{ region = \"eu\" }}",
            other.type_str()
        )),
    };
    encoded
        .map_err(|message| table.refuse_at(value.span(), format!("args: {message}")))
        .ok()
}

fn draft(table: &mut Table<'_, '_>) -> Draft {
    let mut options = TaskOptions::new();
    if let Some((queue, place)) = table.text("queue") {
        match QueueName::parse(&queue) {
            Ok(queue) => options = options.queue(queue.as_str().to_owned()),
            Err(error) => table.refuse_at(place, error),
        }
    }
    let priority = table.number("priority", 0, u64::from(Priority::MAX.get()));
    options = with(options, priority.and_then(small), TaskOptions::priority);
    let max_retries = table.number("max_retries", 0, u64::from(u32::MAX));
    options = with(
        options,
        max_retries.and_then(small),
        TaskOptions::max_retries,
    );
    let mut span = |key| table.span(key).map(|(span, _)| span);
    options = with(options, span("expires"), TaskOptions::expires);
    options = with(options, span("timeout"), TaskOptions::timeout);
    options = with(options, span("hard_timeout"), TaskOptions::hard_timeout);
    options = with(options, span("result_ttl"), TaskOptions::result_ttl);
    if table.bool("ignore_result") == Some(true) {
        if table.has("result_ttl") {
            table
                .refuse("a result that is not kept has no result_ttl: remove it, or ignore_result");
        }
        options = options.ignore_result();
    }
    let ack = match table.bool("ack_early") {
        Some(true) => Some(Ack::Early),
        Some(false) => Some(Ack::Late),
        None => None,
    };
    options = with(options, ack, TaskOptions::ack);
    let mut draft = Draft::default();
    draft.options = options;
    draft.headers = table.texts("headers").into_iter().collect();
    draft
}

/// A number that was read within bounds that fit.
fn small<T: TryFrom<u64>>(number: u64) -> Option<T> {
    T::try_from(number).ok()
}
