//! Tests of the schedule file.

use super::*;
use lovage_core::{
    Ack, AsyncBody, Millis, Priority, StateNeed, Task, TaskContext, TaskDef, TaskError,
    TaskOptions, When, hours, mins, ms, secs,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

use crate::policies::{Fold, Gap, Misfire, Overlap};
use crate::schedule::Schedule;
use crate::solar::SolarEvent;

/// A task with options of its own.
#[derive(Serialize, Deserialize)]
struct Report {
    region: String,
    days: u32,
    since: String,
    tags: Vec<String>,
    nested: std::collections::BTreeMap<String, f64>,
}

impl Task for Report {
    const NAME: &'static str = "report";
    type Output = ();

    fn options() -> TaskOptions {
        TaskOptions::new()
            .queue("reports")
            .priority(8)
            .max_retries(7)
            .expires(hours(1))
            .ack(Ack::Early)
    }
}

impl AsyncBody for Report {
    const NEEDS: &'static [StateNeed] = &[];

    async fn run(self, _: TaskContext) -> Result<(), TaskError> {
        Ok(())
    }
}

fn linked() -> Registry {
    Registry::new()
        .with(TaskDef::asynchronous::<Report>())
        .build()
        .unwrap()
}

fn parsed(text: &str) -> Contents {
    parse(text, "test.toml", &linked()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn every_kind_of_schedule_can_be_written() {
    let text = r#"
        [schedules.weekdays]
        cron = "0 9 * * MON-FRI"
        tz = "Europe/Lisbon"
        task = "report"
        except = ["2026-12-25", 2027-01-01]
        misfire = "within 1h"
        overlap = "skip"
        gap = "skip"
        fold = "both"
        jitter = "1m 30s"
        max_runs = 10
        starting = 2026-09-01T00:00:00Z
        ending = "2027-09-01T02:00:00+02:00"

        [schedules.often]
        every = "250ms"
        task = "tick"

        [schedules."once.only"]
        at = 2026-12-25T09:00:00+01:00
        task = "tick"

        [schedules.lamps]
        solar = "sunset"
        latitude = 38.72
        longitude = -9
        task = "tick"
        misfire = "all"
    "#;
    let weekdays = Schedule::cron("0 9 * * MON-FRI")
        .and_then(|schedule| schedule.tz("Europe/Lisbon"))
        .and_then(|schedule| schedule.except("2026-12-25"))
        .and_then(|schedule| schedule.except("2027-01-01"))
        .unwrap()
        .misfire(Misfire::Within(hours(1)))
        .overlap(Overlap::Skip)
        .gap(Gap::Skip)
        .fold(Fold::Both)
        .jitter(secs(90))
        .max_runs(10)
        .starting(Millis::new(1_788_220_800_000))
        .ending(Millis::new(1_819_756_800_000));
    let lamps = Schedule::solar(SolarEvent::Sunset, 38.72, -9.0).unwrap();
    let expected = [
        ("lamps", lamps.misfire(Misfire::All)),
        ("often", Schedule::every(ms(250)).unwrap()),
        ("once.only", Schedule::at(Millis::new(1_798_185_600_000))),
        ("weekdays", weekdays),
    ];
    let entries = parsed(text).entries;
    assert_eq!(entries.len(), expected.len());
    for (entry, (name, schedule)) in entries.iter().zip(expected) {
        assert_eq!(entry.name.as_str(), name);
        assert_eq!(entry.schedule, schedule, "{name}");
        assert_eq!(entry.origin, Origin::File("test.toml".to_owned()));
    }
}

#[test]
fn arguments_become_fields_and_instants_become_texts() {
    let text = r#"
        [schedules.a]
        every = "1h"
        task = "report"
        args = { region = "eu", days = 7, since = 2026-01-01T00:00:00Z, tags = ["x", "y"], nested = { half = 0.5 } }

        [schedules.b]
        every = "1h"
        task = "report"

        [schedules.b.args]
        region = "größe"
        days = 0x10
        since = 2026-01-01
        tags = []
        nested = {}

        [schedules.none]
        every = "1h"
        task = "tick"
    "#;
    let entries = parsed(text).entries;
    let message = |index: usize| -> Report {
        lovage_core::decode_args(&entries[index].template.args).unwrap()
    };
    let first = message(0);
    assert_eq!((first.region.as_str(), first.days), ("eu", 7));
    assert_eq!(first.since, "2026-01-01T00:00:00Z");
    assert_eq!((first.tags.len(), first.nested["half"]), (2, 0.5));
    let second = message(1);
    assert_eq!((second.region.as_str(), second.days), ("größe", 16));
    assert_eq!(second.since, "2026-01-01");
    assert_eq!(&entries[2].template.args[..], b"\x80", "an empty map");
}

#[test]
fn options_of_a_linked_task_count_where_the_file_says_nothing() {
    let text = r#"
        [schedules.by_task]
        every = "1h"
        task = "report"

        [schedules.by_file]
        every = "1h"
        task = "report"
        queue = "slow"
        priority = 0
        expires = "5m"
        max_retries = 1
        timeout = "30s"
        hard_timeout = "1m"
        ignore_result = true
        ack_early = false
        headers = { tenant = "7" }

        [schedules.unknown]
        every = "1h"
        task = "tick"
        result_ttl = "1d"
    "#;
    let entries = parsed(text).entries;
    let (by_file, by_task, unknown) = (
        &entries[0].template,
        &entries[1].template,
        &entries[2].template,
    );
    assert_eq!(by_task.queue.as_str(), "reports");
    assert_eq!(by_task.priority, Priority::new(8));
    assert_eq!(by_task.expires, Some(When::In(hours(1))));
    assert_eq!(by_task.ack, Ack::Early);
    assert_eq!(by_task.max_retries, None, "looked up by the worker");
    assert_eq!(by_task.result_ttl, Some(hours(24)));

    assert_eq!(by_file.queue.as_str(), "slow");
    assert_eq!(by_file.priority, Priority::new(0));
    assert_eq!(by_file.expires, Some(When::In(mins(5))));
    assert_eq!(by_file.ack, Ack::Late);
    assert_eq!(by_file.max_retries, Some(1));
    assert_eq!(
        (by_file.timeout, by_file.hard_timeout),
        (Some(secs(30)), Some(mins(1)))
    );
    assert_eq!(by_file.result_ttl, None);
    assert_eq!(by_file.headers["tenant"], "7");

    assert_eq!(unknown.queue.as_str(), "default");
    assert_eq!(unknown.result_ttl, Some(hours(24)));
}

#[test]
fn what_is_not_enabled_is_checked_and_left_out() {
    let text = "[schedules.a]\nevery = \"1h\"\ntask = \"tick\"\nenabled = false\n";
    let contents = parsed(text);
    assert!(contents.entries.is_empty());
    assert_eq!(contents.disabled[0].as_str(), "a");
    assert!(parse(&text.replace("1h", "1x"), "test.toml", &linked()).is_err());
    assert!(parsed("").entries.is_empty());
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_line() {
    let text = r#"
[schedules.one]
cron = "0 25 * * *"
tz = "Europe/Lisboa"
task = "re port"
[schedules.two]
every = "1h"
crom = "0 9 * * *"
[schedules.three]
cron = "0 9 * * *"
every = "1h"
task = "tick"
misfire = "never"
priority = 10
max_retries = "3"
args = "eu"
except = ["25.12.2026", 5]
jitter = 30
[schedules.four.five]
every = "1h"
task = "tick"
[schedules."s i x"]
solar = "moonrise"
latitude = 95
task = "tick"
at_once = true
starting = 2026-09-02T00:00:00
[other]
"#;
    let problems = parse(text, "test.toml", &linked()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for (line, part) in [
        (
            3,
            "\"0 25 * * *\", hour at column 3: \"25\" is out of range",
        ),
        (
            4,
            "no time zone \"Europe/Lisboa\"; did you mean Europe/Lisbon?",
        ),
        (5, "task name \"re port\" has ' '"),
        (6, "it sends nothing: write task"),
        (8, "unknown key \"crom\"; the keys are task, args, cron"),
        (9, "several kinds of times, cron and every: keep one"),
        (13, "misfire \"never\" is unknown; use skip, once, all"),
        (14, "priority: 10 is not a whole number from 0 to 9"),
        (
            15,
            "max_retries: this is of type string; write a whole number",
        ),
        (16, "args: this is of type string; write a table"),
        (17, "\"25.12.2026\" is no date"),
        (17, "except: this is of type integer; write a list of dates"),
        (
            18,
            "jitter: this is of type integer; write a number with its unit in quotes",
        ),
        (
            19,
            "unknown key \"five\"; a schedule's name with a dot stands in quotes",
        ),
        (
            19,
            "it has no times: write one of cron, every, at and solar",
        ),
        (22, "schedule name \"s i x\" has ' '"),
        (22, "solar needs a place: write longitude as well"),
        (
            23,
            "solar event \"moonrise\" is unknown; use dawn_astronomical",
        ),
        (26, "unknown key \"at_once\""),
        (27, "is no instant; write date, time and offset"),
        (
            28,
            "unknown key \"other\"; each schedule is a table [schedules.NAME]",
        ),
    ] {
        let expected = format!("line {line}, ");
        assert!(
            told.iter()
                .any(|told| told.starts_with(&expected) && told.contains(part)),
            "{line} {part}: {told:#?}"
        );
    }
    assert!(told.is_sorted_by_key(|told| {
        told[5..]
            .split(',')
            .next()
            .and_then(|n| n.parse::<u32>().ok())
    }));
}

#[test]
fn numbers_are_read_with_their_radix_and_end_where_toml_does() {
    let text =
        "[schedules.a]\nsolar = \"sunset\"\nlatitude = 0x10\nlongitude = -9\ntask = \"tick\"\n";
    let expected = Schedule::solar(SolarEvent::Sunset, 16.0, -9.0).unwrap();
    assert_eq!(parsed(text).entries[0].schedule, expected);
    let text = format!("{text}args = {{ big = 9223372036854775808 }}\n");
    let problems = parse(&text, "test.toml", &linked()).unwrap_err();
    let expected =
        "args: 9223372036854775808 is beyond the numbers of TOML, which end at 9223372036854775807";
    assert!(problems[0].message.starts_with(expected), "{problems:?}");
}

#[test]
fn all_that_is_no_toml_is_told_at_once_with_its_line() {
    let text = "[schedules.a]\ncron = 0 9\ntask = \"tick\n[schedules.a]\n";
    let problems = parse(text, "test.toml", &linked()).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert!(lines.contains(&2) && lines.contains(&3), "{problems:?}");
}

#[test]
fn a_file_that_is_wrong_throughout_is_not_read_to_its_end() {
    let mut text = String::new();
    for n in 0..5000 {
        writeln!(
            text,
            "[schedules.s{n}]\nevery = \"1h\"\ntask = \"tick\"\ncrom = 1"
        )
        .unwrap();
    }
    let problems = parse(&text, "test.toml", &linked()).unwrap_err();
    assert_eq!(problems.len(), 1000);
    let path = Path::new("test.toml").to_owned();
    let told = FileError::Refused { path, problems }.to_string();
    assert_eq!(told.lines().count(), 1 + 100 + 1, "{told}");
    assert!(told.ends_with("\n  and at least 900 more"), "{told}");
}

#[test]
fn a_file_is_refused_with_its_path_or_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "[schedules.a]\nevery = \"1\"\ntask = \"tick\"\n").unwrap();
    let error = read(file.path(), "x", &linked()).unwrap_err().to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    assert!(
        error.contains("\n  line 2, column 9: every: \"1\""),
        "{error}"
    );
    let error = read(Path::new("/nowhere/at/all"), "x", &linked()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");

    std::fs::write(&file, vec![b'#'; FILE_BYTES_MAX + 1]).unwrap();
    let error = read(file.path(), "x", &linked()).unwrap_err().to_string();
    assert!(error.contains("more than 16777216 bytes"), "{error}");
}
