//! The laws, a file a verb. The name of a law says what holds; comments say what is behind it.

#![expect(missing_docs, reason = "the name of a law is its sentence")]
#![expect(clippy::unwrap_used, reason = "a law is a test: an error fails it")]

pub mod amend;
pub mod callbacks;
pub mod cancel;
pub mod checkup;
pub mod claim;
pub mod dead_letters;
pub mod durable;
pub mod enqueue;
pub mod forward;
pub mod inspect;
pub mod lead;
pub mod lease;
pub mod once;
pub mod partition;
pub mod priorities;
pub mod recover;
pub mod replace;
pub mod reports;
pub mod reschedule;
pub mod results;
pub mod schedules;
pub mod settle;
pub mod snooze;
pub mod tick;
pub mod time;
pub mod turn;
pub mod unique;
pub mod wait;
