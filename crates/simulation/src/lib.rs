//! Whole fleets of real workers and beats in simulated time, under faults that a seed decides, and what must be true
//! of their history whatever went wrong.
//!
//! | file | role |
//! |---|---|
//! | `run` | one seed: a fleet, its work, its faults, and the quiet at the end |
//! | `fleet` | workers and beats in processes, and what is done to them |
//! | `process` | a process that can be killed at any poll, frozen, and cut off |
//! | `thread` | its threads, of which one runs at a time |
//! | `network` | requests and answers that are late, lost, or executed after they were given up |
//! | `faulty` | the broker's contract through that network |
//! | `flaw` | bugs on purpose, for the checker's own tests |
//! | `work`, `client` | the tasks, and those who send them |
//! | `history`, `checker` | what happened, and whether it may |
//!
//! One thing at a time, one runtime, one paused clock: the same seed is the same history. So there are limits: the random
//! order in which a `HashMap` is walked, or in which `select!` looks at its branches, must not be felt, and
//! `the_same_seed_is_the_same_history` fails where it is.

pub mod checker;
pub mod client;
pub mod dice;
pub mod faulty;
pub mod flaw;
pub mod fleet;
pub mod history;
pub mod network;
pub mod process;
pub mod run;
pub mod thread;
pub mod work;
