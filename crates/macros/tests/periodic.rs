//! What `#[periodic]` writes, used as a user's crate uses it.

#![expect(clippy::unwrap_used, reason = "the helpers of the tests fail the test")]

use lovage::macro_support::{Entry, PeriodicDef};
use lovage::{
    Fold, Gap, Millis, Misfire, Overlap, Schedule, SolarEvent, State, TaskContext, mins, periodic,
    secs, task,
};
use lovage_core::{Priority, decode_args};

/// The least.
#[periodic(every = secs(30))]
#[task]
async fn tick() {}

/// Twice, with arguments, below and above.
#[periodic(name = "report.eu", cron = "0 9 * * MON-FRI", tz = "Europe/Lisbon", args = report("eu", 7))]
#[task(name = "shop.report", queue = "reports", priority = 8)]
#[periodic(name = "report.us", cron = "0 9 * * MON-FRI", tz = "America/New_York", args = report("us", 8),)]
async fn report(ctx: &TaskContext, region: String, pool: State<u8>, days: u32) {
    drop((ctx.id(), region, pool, days));
}

/// The attribute below, by its path, on a body that computes; context and state are no arguments.
#[lovage::task(cpu)]
#[lovage::periodic(solar = SolarEvent::Sunset, latitude = 38.72, longitude = -9.14)]
fn lamps(_: &TaskContext, _: State<u8>) {}

const HOLIDAYS: [&str; 2] = ["2026-12-24", "2026-12-25"];

#[periodic(
    cron = "*/15 * * * *",
    tz = ZONE,
    jitter = secs(10),
    misfire = Misfire::Within(mins(5)),
    overlap = Overlap::Skip,
    gap = Gap::Shift,
    fold = Fold::First,
    except = HOLIDAYS,
    starting = "2026-09-01T00:00:00Z",
    ending = Millis::new(1_830_000_000_000),
    max_runs = 10,
)]
#[task]
async fn everything() {}

const ZONE: &str = "Europe/Lisbon";

#[task]
#[periodic(schedule = Schedule::cron("0 0 1 1 *")?.tz("Asia/Tokyo")?)]
async fn new_year() {}

#[periodic(every = secs(1))]
#[task]
#[cfg(any())]
async fn not_there(missing: NoSuchType) {}

fn entries() -> Vec<Entry> {
    let mut entries = PeriodicDef::linked("shop").unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

fn entry(name: &str) -> Entry {
    entries()
        .into_iter()
        .find(|entry| entry.name.as_str() == name)
        .unwrap()
}

#[test]
fn every_attribute_is_a_schedule_named_as_its_task_or_as_it_says() {
    let names: Vec<String> = entries()
        .iter()
        .map(|entry| entry.name.to_string())
        .collect();
    let expected = [
        "everything",
        "inside_a_function",
        "lamps",
        "new_year",
        "report.eu",
        "report.us",
        "tick",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_task_is_sent_with_its_own_options_and_the_arguments_that_are_written() {
    for (name, region, days) in [("report.eu", "eu", 7), ("report.us", "us", 8)] {
        let template = entry(name).template;
        assert_eq!(template.task.as_str(), "shop.report");
        assert_eq!(template.queue.as_str(), "reports");
        assert_eq!(template.priority, Priority::new(8));
        let message: report = decode_args(&template.args).unwrap();
        assert_eq!((message.region.as_str(), message.days), (region, days));
    }
    decode_args::<tick>(&entry("tick").template.args).unwrap();
}

#[test]
fn options_are_those_that_are_written_and_no_others() {
    assert_eq!(entry("tick").schedule, Schedule::every(secs(30)).unwrap());
    let lamps = Schedule::solar(SolarEvent::Sunset, 38.72, -9.14).unwrap();
    assert_eq!(entry("lamps").schedule, lamps);
    let new_year = Schedule::cron("0 0 1 1 *")
        .unwrap()
        .tz("Asia/Tokyo")
        .unwrap();
    assert_eq!(entry("new_year").schedule, new_year);

    let everything = Schedule::cron("*/15 * * * *")
        .unwrap()
        .tz("Europe/Lisbon")
        .unwrap()
        .jitter(secs(10))
        .misfire(Misfire::Within(mins(5)))
        .overlap(Overlap::Skip)
        .gap(Gap::Shift)
        .fold(Fold::First)
        .except("2026-12-24")
        .unwrap()
        .except("2026-12-25")
        .unwrap()
        .starting(Millis::new(1_788_220_800_000))
        .ending(Millis::new(1_830_000_000_000))
        .max_runs(10);
    assert_eq!(entry("everything").schedule, everything);
}

#[test]
fn a_schedule_inside_a_function_is_gathered_and_has_the_place_of_its_task() {
    #[periodic(every = secs(60))]
    #[task]
    async fn inside_a_function() {}

    let def = lovage_core::inventory::iter::<PeriodicDef>
        .into_iter()
        .find(|def| def.name == "inside_a_function")
        .unwrap();
    let source = include_str!("periodic.rs");
    let line = source
        .lines()
        .nth(def.location.line() as usize - 1)
        .unwrap();
    assert!(line.contains("fn inside_a_function("), "{line}");
}
