//! Several beats over one Redis, with the schedules that they share, and what became of each occurrence.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lovage::AnyBroker;
use lovage_beat::{Schedule, Timetable, task_id};
use lovage_core::{Clock, Leader, Millis, ScheduleName, Schedules as _, TaskId};

use crate::process::{Process, ProcessBuilder};
use crate::servers::Servers;
use crate::stage::Stage;
use crate::until::{eventually, eventually_ok};

/// Beats with one schedule file.
#[derive(Debug)]
pub struct Choir {
    file: PathBuf,
    lease: Duration,
    broker: AnyBroker,
    schedules: Vec<(ScheduleName, Schedule)>,
    /// The beats that are there.
    pub beats: Vec<Process>,
}

/// What became of the occurrences up to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The occurrences, each of which ran once.
    pub occurrences: usize,
    /// Runs of later occurrences, each of which ran once as well.
    pub later: usize,
}

impl Choir {
    /// Writes `each` schedules of a second and as many of a tenth of one into a file. No beat runs yet.
    ///
    /// # Panics
    /// Where the folder of the stage is gone, or its server.
    pub async fn of(
        stage: &Stage<impl Servers>,
        each: usize,
        lease: Duration,
        options: &str,
    ) -> Self {
        let mut text = String::new();
        let mut schedules = Vec::new();
        for number in 0..2 * each {
            let period = if number < each { 1_000 } else { 100 };
            let name = format!("every-{period}-{number}");
            writeln!(
                text,
                "[schedules.{name}]\nevery = \"{period}ms\"\ntask = \"tick\"\nignore_result = true\n{options}\n"
            )
            .expect("a text takes it");
            schedules.push((
                ScheduleName::parse(&name).expect("it is a name"),
                Schedule::every(Duration::from_millis(period)).expect("it is long enough"),
            ));
        }
        let file = stage.folder().join("schedules.toml");
        fs::write(&file, text).expect("the folder is there");
        Self {
            file,
            lease,
            broker: stage.client().await.broker().clone(),
            schedules,
            beats: Vec::new(),
        }
    }

    /// A beat to be started.
    pub fn beat(&self, stage: &Stage<impl Servers>) -> ProcessBuilder {
        stage
            .beat()
            .flag("schedules", self.file.to_str().expect("a plain path"))
            .lease(self.lease)
    }

    /// Starts another beat.
    pub fn join(&mut self, stage: &Stage<impl Servers>) {
        self.beats.push(self.beat(stage).spawn());
    }

    /// Waits until one of the beats leads, in another epoch than `before`. Answers it with its place among the beats.
    pub async fn leader(&self, before: u64) -> (usize, Leader) {
        eventually("a beat leads", async || {
            let leader = self.broker.leader().await.ok()??;
            if leader.epoch == before || leader.ends_in.is_zero() {
                return None;
            }
            let id = leader.beat.to_string();
            // One that was killed may lead for the rest of its lease.
            let place = self.beats.iter().position(|beat| {
                beat.log()
                    .lines()
                    .any(|line| line.contains("this beat leads") && line.contains(&id))
            })?;
            Some((place, leader))
        })
        .await
    }

    /// Holds that each occurrence of each schedule, from its making until now, runs once, checked by its id.
    ///
    /// # Panics
    /// Where one does not run in time, runs twice, or anything else runs.
    pub async fn each_occurrence_ran_once(&self, stage: &Stage<impl Servers>) -> Tally {
        let now = Clock::System.now();
        let (mut expected, mut later) = (HashMap::new(), HashSet::new());
        let timetable = Timetable::new(self.broker.clone());
        for (name, schedule) in &self.schedules {
            let standing = timetable.get(name).await.expect("Redis is well");
            let record = standing
                .found
                .expect("it was made")
                .record
                .expect("it is ours");
            let mut at = record.state.created;
            let horizon = now.plus(10 * crate::LIMIT);
            while let Some(next) = schedule.next_after(at).filter(|next| *next < horizon) {
                at = next;
                if next <= now {
                    expected.insert(task_id(name, next), (name, next));
                } else {
                    later.insert(task_id(name, next));
                }
            }
        }
        let starts = eventually_ok("each occurrence runs", async || {
            let starts = stage.journal.all_starts();
            let absent: Vec<_> = expected
                .iter()
                .filter(|(id, _)| !starts.contains_key(id))
                .map(|(_, occurrence)| occurrence)
                .collect();
            if absent.is_empty() {
                return Ok(starts);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            Err(format!(
                "{} of {} did not run, among them {:?}",
                absent.len(),
                expected.len(),
                absent[0]
            ))
        })
        .await;
        for (id, entries) in &starts {
            let one: Option<&(&ScheduleName, Millis)> = expected.get(id);
            assert!(
                one.is_some() || later.contains(id),
                "no occurrence has the id {id}: {entries:?}"
            );
            assert_eq!(
                entries.len(),
                1,
                "{id} {one:?} ran more than once: {entries:?}"
            );
        }
        Tally {
            occurrences: expected.len(),
            later: starts.len() - expected.len(),
        }
    }

    /// The id of an occurrence of the schedule at `place`.
    pub fn id(&self, place: usize, occurrence: Millis) -> TaskId {
        task_id(&self.schedules[place].0, occurrence)
    }
}
