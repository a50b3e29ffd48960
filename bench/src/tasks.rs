//! The tasks that are measured. They do nothing but tell the tally.

use lovage::{TaskContext, task};

use crate::tally;

/// The queue of all of them.
pub(crate) const QUEUE: &str = "bench";
/// The size of the argument.
pub(crate) const PAYLOAD_BYTES: usize = 100;

/// An argument of a hundred bytes.
pub(crate) fn payload() -> String {
    "x".repeat(PAYLOAD_BYTES)
}

/// Ends at once.
#[task(queue = QUEUE, ignore_result)]
pub(crate) async fn noop(payload: String) {
    drop(payload);
    tally::ran();
}

/// Ends at once, with a result that is kept.
#[task(queue = QUEUE, result_ttl = lovage::mins(10))]
pub(crate) async fn answer(payload: String) -> u64 {
    tally::ran();
    payload.len() as u64
}

/// Notes how late it starts.
#[task(queue = QUEUE, ignore_result)]
pub(crate) async fn stamped(due_ns: u64, payload: String) {
    drop(payload);
    tally::ran_late(due_ns);
}

/// Notes how long after its occurrence it starts.
#[task(queue = QUEUE, ignore_result)]
pub(crate) async fn ticked(context: &TaskContext) -> anyhow::Result<()> {
    let occurrence = context.headers().get("lovage-occurrence");
    let occurrence: jiff::Timestamp = occurrence.map_or("", String::as_str).parse()?;
    tally::ran_late(u64::try_from(occurrence.as_nanosecond())?);
    Ok(())
}

/// Stays until its worker is lost; ends at once when it is run again.
#[task(queue = QUEUE, ignore_result)]
pub(crate) async fn held(context: &TaskContext) {
    tally::ran();
    if context.losses() == 0 {
        context.cancellation().cancelled().await;
    }
}
