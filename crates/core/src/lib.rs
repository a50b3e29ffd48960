//! The vocabulary and the pure decisions of Lovage: tasks, envelopes, retry policies, and the contract of a broker.
//!
//! No network and no runtime are here. Users depend on the `lovage` crate; authors of brokers on this one.

mod access;
mod advice;
mod broker;
mod callbacks;
mod checkup;
mod context;
mod dead_letters;
mod draft;
mod durable;
pub mod envelope;
mod error;
mod failure;
mod ids;
mod lifecycle;
mod membership;
mod options;
mod outcome;
mod partitions;
mod registry;
mod reports;
mod retry;
mod schedules;
mod size;
mod task;
pub mod telemetry;
mod time;
mod unique;
mod verdict;

pub use access::{AccessError, AccessFile, AccessFiles};
pub use advice::TaskResultExt;
pub use broker::{
    Awaited, BATCH_MAX, Batch, Broker, BrokerError, Cancelled, Claim, Control, Counts, Delivery,
    EnqueueError, Enqueued, Fence, Inspect, LOSSES_MAX, Parked, Recovered, Renewal, Rescheduled,
    Results, Revived, Scheduled, Settled, Settlement, TransportError,
};
pub use callbacks::{CALLBACK_DEPTH_MAX, Callback, Callbacks, FailedTask, OnFailure, Owed};
pub use checkup::{
    Agenda, AgendaShelf, Books, CHECKED_MAX, Census, CheckMode, Checkup, Diagnosis, Finding,
    FindingKind, Holder, Passing, READY_SOUGHT_MAX, ReadyEntries, ReadyLevel, Repair, SOUGHT_MAX,
    ServerLook, Shelf, ShelfPage, StoredFrom, StoredPage,
};
pub use context::{State, StateNeed, States, TaskContext, WeakTaskContext};
pub use dead_letters::{
    CUT_SHOWN_MAX, Cut, DeadLetter, DeadLetters, DeadLettersSummary, Edit, EditError, Purged,
    Retention,
};
pub use draft::{
    Draft, DraftError, IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_TTL_DEFAULT, Uniqueness,
};
pub use durable::{Confirmation, Confirmed, Durability, Durable};
pub use envelope::{DecodeError, EncodeError, Encoded, Envelope, Remembered, TraceContext, When};
pub use error::{CarriedError, TaskError};
pub use failure::{
    BACKTRACE_BYTES_MAX, CAUSES_MAX, FailedRun, Failure, FailureKind, MESSAGE_BYTES_MAX,
};
pub use ids::{
    BeatId, NAME_BYTES_MAX, NameError, QueueName, ScheduleName, TaskId, TaskName, WorkerId,
};
pub use lifecycle::{Event, State as Place};
pub use membership::Membership;
pub use options::{Ack, Priority, ResultPolicy, TaskOptions};
pub use outcome::{Outcome, RESULT_BYTES_MAX};
pub use partitions::{PARTITIONS_MAX, Partitioned, Partitioning, Partitions, PartitionsError};
pub use registry::{Registry, RegistryBuilder, RegistryError};
pub use reports::{
    KnownWorker, LOSSES_KEPT_MAX, Loss, LostWorker, PROGRESS_BYTES_MAX, Progress, REPORT_BYTES_MAX,
    Reports, RunningTask, WorkerReport,
};
pub use retry::{Backoff, RetryPolicy};
pub use schedules::{
    Amended, Amendment, BeatRole, Change, FIRINGS_MAX, Forwarded, Lead, Leader, Looked, OUTBOX_MAX,
    Outgoing, Schedules, StoredSchedule, Tick,
};
pub use size::{PROCESS_MEMORY_MIN, gib, kib, mib, process_memory, size_text};
pub use task::{
    AsyncBody, Handler, IntoTaskResult, Lane, Running, SyncBody, Task, TaskDef, decode_args,
    encode_args,
};
pub use time::{Clock, ManualClock, Millis, hours, mins, ms, secs, span_ms};
pub use tokio_util::sync::CancellationToken;
pub use unique::{Conflict, Lock, LockKey, Unique, UniqueError, Until};
pub use verdict::{SNOOZE_MIN, Verdict, verdict};

#[doc(hidden)]
pub use inventory;
