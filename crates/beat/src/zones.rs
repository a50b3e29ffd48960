//! Reviews what a leader before this one has left: a new release of the time zones' database may move the next
//! occurrence of any schedule, and what an older build could not read it has put off.

use std::time::Duration;

use lovage_core::{
    Amended, Amendment, BrokerError, CancellationToken, Change, Millis, Schedules, StoredSchedule,
    ms, secs,
};
use lovage_process::Home;
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
pub(crate) fn review<B: Schedules>(broker: B, epoch: u64, stopped: CancellationToken, home: &Home) {
    home.spawn(async move {
        tokio::select! {
            biased;
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
    let changes: Vec<Review> = looked
        .found
        .iter()
        .filter_map(|stored| reviewed(stored, looked.now))
        .collect();
    let mut moved = 0;
    for batch in batches(changes, |change| &change.amendment) {
        let other_times: Vec<bool> = batch.iter().map(|change| change.moves).collect();
        let amendments = batch.into_iter().map(|change| change.amendment).collect();
        let answers = bounded(CALL_MAX, broker.amend(Some(epoch), amendments)).await?;
        // One that has been changed meanwhile was computed by a leader of today.
        let done = answers
            .iter()
            .map(|answer| matches!(answer, Amended::Done(_)));
        moved += done
            .zip(other_times)
            .filter(|both| *both == (true, true))
            .count();
    }
    Ok(Page { last, moved })
}

struct Review {
    amendment: Amendment,
    /// Whether the next occurrence is another one.
    moves: bool,
}

/// The change that a schedule needs, if any.
fn reviewed(stored: &StoredSchedule, now: Millis) -> Option<Review> {
    let mut record = Record::decode(&stored.name, &stored.record).ok()?;
    let (before, base) = (record.state.next?, record.state.base);
    plan::follow(&record.entry, &mut record.state, base);
    let moves = record.state.next != Some(before);
    let wake = plan::wake(&record.entry, &record.state, now);
    let too_late = wake.is_some_and(|wake| stored.wake.is_none_or(|stored| wake < stored));
    (moves || too_late).then_some(())?;
    let amendment = Amendment {
        name: stored.name.clone(),
        expected: Some(stored.version),
        change: Change::Store {
            record: record.encode().ok()?,
            wake,
        },
        sends: Vec::new(),
        firings: Vec::new(),
    };
    Some(Review { amendment, moves })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lovage_core::{Envelope, QueueName, ScheduleName, TaskId, TaskName, hours};

    use super::*;
    use crate::{Entry, Origin, Schedule};

    /// A multiple of a day.
    const T0: Millis = Millis::new(1_728_000_000_000);

    /// As a leader has left it that took the next occurrence to be at `next`, and looks at it at `wake`.
    fn left(next: Millis, wake: Millis) -> StoredSchedule {
        let template = Envelope::new(
            TaskId::from_bytes([0; 16]),
            TaskName::parse("report").unwrap(),
            QueueName::parse("mail").unwrap(),
            Bytes::from_static(b"\x90"),
        );
        let name = ScheduleName::parse("report").unwrap();
        let schedule = Schedule::cron("0 9 * * *").unwrap();
        let entry = Entry::new(name.clone(), schedule, Origin::Runtime, template);
        let mut record = plan::restate(&entry, None, T0);
        record.state.next = Some(next);
        StoredSchedule {
            name,
            version: 7,
            wake: Some(wake),
            record: record.encode().unwrap(),
        }
    }

    #[test]
    fn what_the_rules_of_today_say_otherwise_is_moved() {
        let nine = T0.plus(hours(9));
        assert!(reviewed(&left(nine, nine), T0).is_none(), "it is right");
        // Its clocks were an hour behind by the rules of another day.
        let ten = T0.plus(hours(10));
        let change = reviewed(&left(ten, ten), T0).unwrap();
        assert!(change.moves);
        let Change::Store { record, wake } = change.amendment.change else {
            panic!("it is not removed");
        };
        assert_eq!(wake, Some(nine));
        let record = Record::decode(&change.amendment.name, &record).unwrap();
        assert_eq!(record.state.next, Some(nine));
        assert_eq!(change.amendment.expected, Some(7));
    }

    #[test]
    fn what_was_put_off_by_a_leader_that_could_not_read_it_is_looked_at_in_time() {
        let nine = T0.plus(hours(9));
        let late = left(nine, nine.plus(secs(300)));
        let change = reviewed(&late, nine.plus(secs(1))).unwrap();
        assert!(!change.moves);
        let Change::Store { wake, record } = change.amendment.change else {
            panic!("it is not removed");
        };
        assert_eq!((wake, record), (Some(nine), late.record));
        let bad = StoredSchedule {
            record: Bytes::from_static(b"\xc1"),
            ..left(nine, nine)
        };
        assert!(
            reviewed(&bad, T0).is_none(),
            "it is left to whoever reads it"
        );
    }
}
