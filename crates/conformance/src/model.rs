//! Random sequences of calls, for comparing brokers and for finding what no law thought of.
//!
//! A [`Command`] names tasks and workers by small numbers, so that it means the same to every broker. A [`Session`] plays
//! commands on one broker and answers what it said; a [`Ledger`] holds a session to what the contract says of each
//! task. How to run sequences is up to the test: [`cases`] says how many.

mod command;
mod ledger;
mod session;

pub use command::{Command, Pick, Plan, Retiming, Sent, Verdicts, Who};
pub use ledger::Ledger;
pub use session::{Answer, Look, Session};

/// How many sequences a test plays: what `PROPTEST_CASES` says, or else a number that takes seconds.
pub fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(256)
}
