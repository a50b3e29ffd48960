//! The worker runtime: claims tasks from a broker, runs them on their lanes, and settles what became of them.
//!
//! Generic over [`Membership`](lovage_core::Membership): no broker is named here. One role a file:
//!
//! | file | role |
//! |---|---|
//! | `worker` | puts the parts together, starts and stops them |
//! | `pump` | the main loop: owns all state, one round trip at a time |
//! | `fetcher` | which queue to claim from, and how much |
//! | `triage` | from a delivery's bytes to a run, or to a verdict without one |
//! | `executor` | one run, from its start to its verdict |
//! | `settler` | verdicts that wait for the broker, and what it answers |
//! | `lanes` | where bodies run |
//! | `children` | the process lane: child processes that run bodies, from both sides |
//! | `lease`, `recovery`, `watchdog` | the thread that keeps the leases, takes back what others lost, and watches the runtime |
//! | `callbacks` | sends what is owed for tasks that have failed for good |
//! | `panics` | where a panic was: for dead letters |
//! | `reconcile` | compares what the broker says we hold with what we hold |
//! | `limits` | what of memory and of tasks ends the worker |
//! | `shutdown` | quiet, drain, release |
//! | `layers` | what is around every body, as tower layers |

mod announce;
mod callbacks;
#[cfg(unix)]
mod children;
#[cfg(not(unix))]
#[path = "children/elsewhere.rs"]
mod children;
pub mod cli;
mod executor;
mod fetcher;
mod health;
mod held;
mod host;
mod lanes;
mod layers;
mod lease;
mod limits;
mod panics;
mod pump;
mod queues;
mod reconcile;
mod recovery;
mod reporter;
mod run;
mod settings;
mod settler;
mod shutdown;
mod stats;
mod tenure;
mod threads;
mod triage;
mod trouble;
mod watchdog;
mod worker;

pub use children::{Entry, EntryError, ProcessLaneError, entry};
pub use layers::{Runner, RunnerFuture};
pub use run::Run;
pub use settings::{ProcessLane, Queues, QueuesError, Settings, SettingsError};
pub use stats::{NotReady, Stats};
pub use worker::{RunningWorker, StartError, Worker, WorkerBuilder};
