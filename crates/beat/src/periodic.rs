//! Schedules that stand in the code: what `#[periodic]` writes, and how it is gathered.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;

use lovage_core::{Draft, DraftError, Envelope, Millis, NameError, ScheduleName, Task, inventory};

use crate::entry::{Entry, Origin};
use crate::error::ScheduleError;
use crate::instants::InstantError;
use crate::schedule::Schedule;

/// What the application is called whose code has schedules, unless somebody says: as the program's file, without its
/// folder and ending. Programs of other names do not take each other's schedules away.
pub fn program_name() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| {
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "program".to_owned())
}

/// A schedule in the code: what `inventory` gathers.
#[derive(Clone, Copy, Debug)]
pub struct PeriodicDef {
    /// Its name: that of its task, unless another is given.
    pub name: &'static str,
    /// Makes it. Expressions and zones are read when a program starts, not when it is compiled.
    pub make: fn() -> Result<Periodic, PeriodicError>,
    /// Where in the source its task is.
    pub location: &'static Location<'static>,
}

/// A schedule and the task it sends, before anybody says whose they are.
#[derive(Clone, Debug)]
pub struct Periodic {
    schedule: Schedule,
    template: Envelope,
}

/// Why a schedule in the code cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeriodicError {
    /// It has no good name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It has no good times.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Its start or end is none.
    #[error(transparent)]
    Instant(#[from] InstantError),
    /// Its task cannot be sent.
    #[error(transparent)]
    Message(#[from] DraftError),
    /// Its task is too large, or has too many headers.
    #[error(transparent)]
    Encode(#[from] lovage_core::EncodeError),
    /// Another one has its name.
    #[error("another schedule at {first} has this name; give one of them another `name`")]
    Duplicate {
        /// Where the other one is.
        first: &'static Location<'static>,
    },
}

/// Schedules in the code that cannot be used, each with its place.
#[derive(Debug)]
pub struct LinkedError(Vec<(PeriodicDef, PeriodicError)>);

impl PeriodicDef {
    /// The definition of a schedule; its place is the caller's.
    #[track_caller]
    pub const fn new(name: &'static str, make: fn() -> Result<Periodic, PeriodicError>) -> Self {
        Self {
            name,
            make,
            location: Location::caller(),
        }
    }

    /// The entries of definitions, as those of the application `app`; all errors at once.
    pub fn entries(
        defs: impl IntoIterator<Item = Self>,
        app: &str,
    ) -> Result<Vec<Entry>, LinkedError> {
        let mut first_of: HashMap<&str, &'static Location<'static>> = HashMap::new();
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for def in defs {
            let entry = match first_of.get(def.name) {
                Some(first) => Err(PeriodicError::Duplicate { first }),
                None => def.entry(app),
            };
            first_of.entry(def.name).or_insert(def.location);
            match entry {
                Ok(entry) => entries.push(entry),
                Err(error) => errors.push((def, error)),
            }
        }
        if errors.is_empty() {
            Ok(entries)
        } else {
            // As inventory gathers them in no particular order.
            errors.sort_by_key(|(def, _)| (def.location.file(), def.location.line(), def.name));
            Err(LinkedError(errors))
        }
    }

    /// The entries of all crates that are linked into this program, as those of the application `app`.
    ///
    /// # Errors
    /// All that is wrong with any of them, each with its place in the source.
    pub fn linked(app: &str) -> Result<Vec<Entry>, LinkedError> {
        Self::entries(inventory::iter::<Self>.into_iter().copied(), app)
    }

    fn entry(&self, app: &str) -> Result<Entry, PeriodicError> {
        let name = ScheduleName::parse(self.name)?;
        let Periodic { schedule, template } = (self.make)()?;
        let entry = Entry::new(name, schedule, Origin::Code(app.to_owned()), template);
        entry.check()?;
        Ok(entry)
    }
}

inventory::collect!(PeriodicDef);

impl Periodic {
    /// Sends `message`, with the options of its task, when `schedule` says.
    pub fn new<T: Task>(schedule: Schedule, message: &T) -> Result<Self, PeriodicError> {
        let template = Draft::default().envelope(message, Millis::default())?;
        Ok(Self { schedule, template })
    }
}

impl std::error::Error for LinkedError {}

impl fmt::Display for LinkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (def, error)) in self.0.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(
                f,
                "{line}schedule {:?} at {}: {error}",
                def.name, def.location
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::secs;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Report {
        region: String,
    }

    impl Task for Report {
        const NAME: &'static str = "report";
        type Output = ();
    }

    fn report() -> Report {
        Report {
            region: "eu".to_owned(),
        }
    }

    #[test]
    fn definitions_become_entries_of_their_application() {
        let def = PeriodicDef::new("nightly", || {
            Periodic::new(Schedule::cron("0 3 * * *")?, &report())
        });
        let entries = PeriodicDef::entries([def], "shop").unwrap();
        let [entry] = &entries[..] else {
            panic!("{entries:?}")
        };
        assert_eq!(entry.name.as_str(), "nightly");
        assert_eq!(entry.origin, Origin::Code("shop".to_owned()));
        assert_eq!(entry.template.task.as_str(), "report");
        assert_eq!(&entry.template.args[..], b"\x81\xa6region\xa2eu");
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let defs = [
            PeriodicDef::new("a", || {
                Periodic::new(Schedule::cron("0 25 * * *")?, &report())
            }),
            PeriodicDef::new("b", || {
                Periodic::new(Schedule::every(secs(1))?.tz("Europe/Lisboa")?, &report())
            }),
            PeriodicDef::new("a", || Periodic::new(Schedule::every(secs(1))?, &report())),
            PeriodicDef::new("with blank", || {
                Periodic::new(Schedule::every(secs(1))?, &report())
            }),
        ];
        let error = PeriodicDef::entries(defs, "shop").unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 4, "{error}");
        for (line, parts) in lines.iter().zip([
            ["schedule \"a\" at ", "\"0 25 * * *\"", "column 3"],
            ["schedule \"b\" at ", "\"Europe/Lisboa\"", "periodic.rs:"],
            [
                "schedule \"a\" at ",
                "another schedule at ",
                "another `name`",
            ],
            ["schedule \"with blank\" at ", "' '", "ASCII"],
        ]) {
            for part in parts {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
