//! Reviews what was computed by the rules of time zones that have changed since: a new release of their database may
//! move the next occurrence of any schedule.

use std::time::Duration;

use lovage_core::{
    Amended, Amendment, BrokerError, CancellationToken, Change, Schedules, StoredSchedule, ms, secs,
};
use tokio::time::sleep;

use crate::draft::batches;
use crate::plan;
use crate::state::Record;
use crate::trouble::bounded;

const PAGE: usize = 100;
/// Between two pages, so that reviewing many schedules does not hold up their firing.
const PAUSE: Duration = ms(20);
const CALL_MAX: Duration = secs(5);
/// A page that fails so often is left to the next leader.
const ATTEMPTS_MAX: u32 = 5;

/// Reviews all schedules in the background, once, as the leader of `epoch`.
pub(crate) fn review<B: Schedules>(broker: B, epoch: u64, stopped: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            reviewed = review_all(&broker, epoch) => match reviewed {
                Ok(0) => {}
                Ok(moved) => tracing::info!(moved, "the rules of time zones have changed: schedules have moved"),
                Err(error) => tracing::warn!(%error, "not all schedules could be reviewed by the present time zones"),
            }
        }
    });
}

/// Answers how many schedules have moved.
async fn review_all<B: Schedules>(broker: &B, epoch: u64) -> Result<usize, BrokerError> {
    let (mut after, mut moved, mut failures) = (None, 0, 0);
    loop {
        match page(broker, epoch, after.as_ref()).await {
            Ok(Page { last: None, .. }) => return Ok(moved),
            Ok(page) => {
                moved += page.moved;
                after = page.last;
                failures = 0;
                sleep(PAUSE).await;
            }
            Err(error) if ATTEMPTS_MAX <= failures => return Err(error),
            Err(_) => {
                failures += 1;
                sleep(secs(1)).await;
            }
        }
    }
}

struct Page {
    last: Option<lovage_core::ScheduleName>,
    moved: usize,
}

async fn page<B: Schedules>(
    broker: &B,
    epoch: u64,
    after: Option<&lovage_core::ScheduleName>,
) -> Result<Page, BrokerError> {
    let looked = bounded(CALL_MAX, broker.schedules(after, PAGE)).await?;
    let last = looked.found.last().map(|stored| stored.name.clone());
    let changes = looked
        .found
        .iter()
        .filter_map(|stored| reviewed(stored, looked.now))
        .collect();
    let mut moved = 0;
    for batch in batches(changes, |amendment| amendment) {
        let answers = bounded(CALL_MAX, broker.amend(Some(epoch), batch)).await?;
        // One that has been changed meanwhile was computed by a leader of today.
        let done = |answer: &&Amended| matches!(answer, Amended::Done(_));
        moved += answers.iter().filter(done).count();
    }
    Ok(Page { last, moved })
}

/// The change that a schedule needs, if any.
fn reviewed(stored: &StoredSchedule, now: lovage_core::Millis) -> Option<Amendment> {
    let mut record = Record::decode(&stored.name, &stored.record).ok()?;
    let (before, base) = (record.state.next?, record.state.base);
    plan::follow(&record.entry, &mut record.state, base);
    if record.state.next == Some(before) {
        return None;
    }
    let wake = plan::wake(&record.entry, &record.state, now);
    Some(Amendment {
        name: stored.name.clone(),
        expected: Some(stored.version),
        change: Change::Store {
            record: record.encode().ok()?,
            wake,
        },
        sends: Vec::new(),
        firings: Vec::new(),
    })
}
