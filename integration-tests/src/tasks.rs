//! The tasks of the worker program. Each writes into the journal what it does.

use std::path::Path;
use std::time::Duration;

use lovage::{Backoff, FailedTask, TaskContext, TaskError, Unique, ms, task};

use crate::journal::{Event, record};

/// Between two looks of a body at its gate.
const LOOK_EVERY: Duration = ms(5);

/// Whether the gate is open, or the part of it for runs with as many losses: two runs of one task can be let go
/// one after the other.
fn is_open(gate: &str, ctx: &TaskContext) -> bool {
    Path::new(gate).exists() || Path::new(&part_of(gate, ctx.losses())).exists()
}

/// The part of a gate for runs with `losses` losses.
pub(crate) fn part_of(gate: &str, losses: u32) -> String {
    format!("{gate}-{losses}")
}

/// Ends at once.
#[task(backoff = Backoff::constant(ms(1)))]
pub async fn quick(ctx: &TaskContext, number: u64) -> u64 {
    record(Event::Start, ctx);
    record(Event::End, ctx);
    number
}

/// Takes a while.
#[task(ignore_result)]
pub async fn nap(ctx: &TaskContext, span_ms: u64) {
    record(Event::Start, ctx);
    tokio::time::sleep(ms(span_ms)).await;
    record(Event::End, ctx);
}

/// Runs until its gate is opened, or its token is cancelled.
#[task(backoff = Backoff::constant(ms(1)))]
pub async fn hold(ctx: &TaskContext, gate: String) -> Result<(), TaskError> {
    record(Event::Start, ctx);
    while !is_open(&gate, ctx) {
        if ctx.is_cancelled() {
            record(Event::Cancelled, ctx);
            return Err(TaskError::new("told to end"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    record(Event::End, ctx);
    Ok(())
}

/// Notes that it is at 3 of 10, and runs until its gate is opened.
#[task]
pub async fn work(ctx: &TaskContext, gate: String) {
    record(Event::Start, ctx);
    ctx.progress((3, 10));
    while !is_open(&gate, ctx) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    record(Event::End, ctx);
}

/// Unique, and otherwise as `hold`.
#[task(unique = Unique::by(|message: &hold_key| message.key), backoff = Backoff::constant(ms(1)))]
pub async fn hold_key(ctx: &TaskContext, key: u64, gate: String) -> Result<(), TaskError> {
    let _ = key;
    hold::call(ctx, gate).await
}

/// Runs until its gate is opened, whatever its token says; answers the losses before this run.
#[task]
pub async fn stubborn(ctx: &TaskContext, gate: String) -> u32 {
    record(Event::Start, ctx);
    while !is_open(&gate, ctx) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    record(Event::End, ctx);
    ctx.losses()
}

/// Blocks its thread of the async runtime until its gate is opened: what a body must not do, and some do.
#[task]
pub async fn block(ctx: &TaskContext, gate: String) {
    record(Event::Start, ctx);
    while !is_open(&gate, ctx) {
        std::thread::sleep(LOOK_EVERY);
    }
    record(Event::End, ctx);
}

/// Computes on the pool of threads until its gate is opened.
#[task(cpu)]
pub fn compute(ctx: &TaskContext, gate: String) {
    record(Event::Start, ctx);
    while !is_open(&gate, ctx) {
        std::thread::sleep(LOOK_EVERY);
    }
    record(Event::End, ctx);
}

/// At most once: runs until its gate is opened.
#[task(ack_early)]
pub async fn once(ctx: &TaskContext, gate: String) {
    record(Event::Start, ctx);
    while !is_open(&gate, ctx) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    record(Event::End, ctx);
}

/// Fails for good unless its gate is open.
#[task(max_retries = 0)]
pub async fn fail(ctx: &TaskContext, gate: String) -> Result<(), TaskError> {
    record(Event::Start, ctx);
    if !is_open(&gate, ctx) {
        return Err(TaskError::new("the gate is closed"));
    }
    record(Event::End, ctx);
    Ok(())
}

/// Ends the whole process.
#[task]
pub async fn abort(ctx: &TaskContext) {
    record(Event::Start, ctx);
    std::process::abort();
}

/// Panics, each time.
#[task(max_retries = 1, backoff = Backoff::constant(ms(1)))]
pub async fn panic(ctx: &TaskContext) {
    record(Event::Start, ctx);
    panic!("as it is told to");
}

/// What schedules send: notes that it ran.
#[task(ignore_result)]
pub async fn tick(ctx: &TaskContext) {
    record(Event::Start, ctx);
}

/// Fails at its first attempt, and ends at the second.
#[task(ignore_result, backoff = Backoff::constant(ms(5)))]
pub async fn flaky(ctx: &TaskContext) -> Result<(), TaskError> {
    record(Event::Start, ctx);
    if ctx.attempt() == 1 {
        record(Event::Failed, ctx);
        return Err(TaskError::new("as at every first attempt"));
    }
    record(Event::End, ctx);
    Ok(())
}

/// Takes `bytes` of memory for good.
#[task]
pub async fn hoard(ctx: &TaskContext, bytes: u64) {
    record(Event::Start, ctx);
    let bytes = usize::try_from(bytes).expect("as on 64 bits");
    std::mem::forget(vec![1_u8; bytes]);
    record(Event::End, ctx);
}

/// Fails, once and for all.
#[task(max_retries = 0, on_failure = report)]
pub async fn doomed(ctx: &TaskContext) -> anyhow::Result<()> {
    record(Event::Start, ctx);
    record(Event::Failed, ctx);
    anyhow::bail!("as it is told to");
}

/// Is called back for tasks that have failed for good.
#[task(ignore_result)]
pub async fn report(ctx: &TaskContext, failed: FailedTask) {
    record(Event::Start, ctx);
    drop(failed);
    record(Event::End, ctx);
}

/// Waits for its gate, whatever its token says, and writes by its fence: into a database, and into Redis. A write that is
/// refused is noted as a cancellation.
#[task]
pub async fn write_fenced(
    ctx: &TaskContext,
    gate: String,
    database: String,
    redis: String,
) -> anyhow::Result<()> {
    record(Event::Start, ctx);
    while !is_open(&gate, ctx) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let value = ctx.losses().to_string();
    let rows = rusqlite::Connection::open(&database)?.execute(
        "INSERT INTO orders (id, state, fence) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, fence = excluded.fence
         WHERE orders.fence <= excluded.fence",
        rusqlite::params![value, i64::try_from(ctx.fence())?],
    )?;
    let mut redis = redis::Client::open(redis)?
        .get_multiplexed_async_connection()
        .await?;
    let set = lovage::fence::redis_set("order:1", ctx.fence(), &value);
    let set: bool = redis::cmd("EVAL").arg(set).query_async(&mut redis).await?;
    anyhow::ensure!(
        (rows == 1) == set,
        "the two stores differ: {rows} rows, and {set}"
    );
    record(if set { Event::End } else { Event::Cancelled }, ctx);
    Ok(())
}

/// Asks once to run again later, and says how far it is.
#[task(ignore_result)]
pub async fn drowsy(ctx: &TaskContext) -> Result<(), TaskError> {
    record(Event::Start, ctx);
    ctx.progress("half of it");
    if ctx.snoozes() == 0 {
        record(Event::Failed, ctx);
        return Err(ctx.snooze(ms(20)));
    }
    record(Event::End, ctx);
    Ok(())
}
