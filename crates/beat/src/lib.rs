//! The periodic scheduler: any number of beats run, and each occurrence of each schedule becomes one task.

mod calendar;
mod crontab;
mod error;
mod every;
mod occurrence;
mod policies;
mod schedule;
mod solar;
mod spans;
mod zone;

pub use calendar::EXCEPT_MAX;
pub use crontab::{CRONTAB_BYTES_MAX, CrontabError, CrontabProblem, Field, YEAR_MAX, YEAR_MIN};
pub use error::ScheduleError;
pub use every::{PERIOD_MAX, PERIOD_MIN};
pub use occurrence::{jitter, task_id};
pub use policies::{Fold, Gap, Misfire, Overlap};
pub use schedule::Schedule;
pub use solar::SolarEvent;
