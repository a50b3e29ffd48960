//! The loop that sends what waits, queue by queue and in its order, as soon as the broker takes it.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lovage_core::{
    BATCH_MAX, Backoff, Durability, Encoded, EnqueueError, Partitioning as _, QueueName, hours, ms,
    secs,
};
use tokio::time::{sleep, timeout};

use super::keeper::{Head, Keeper, OnTheWay};
use super::store::Change;
use super::{Entry, SpoolError};
use crate::any_broker::AnyBroker;
use crate::deliver::receipts;
use crate::gather::{BATCH_BYTES_MAX, call};
use crate::retry::instant_in;

/// A broker that is back is found within two seconds.
const BACKOFF: Backoff = Backoff::exponential(ms(50)).cap(secs(2));
/// Nobody waits for this call, so it may take long.
const CALL_LIMIT: Duration = secs(30);
/// A task that is stored and not confirmed is sent again until it is: for so long it is the same task, whatever has
/// become of it.
const REMEMBERED: Duration = hours(24);
/// Why an at-most-once task is kept where it is.
const IN_DOUBT: &str = "it may run at most once, and may have been accepted: no answer came";
/// Why another one is.
const UNCONFIRMED: &str =
    "it is stored, and was not confirmed as its send asked; it may run at most once";

/// Runs until it is aborted.
pub(super) async fn run(keeper: Keeper, broker: AnyBroker) {
    loop {
        keeper.until_filled().await;
        let stats = keeper.stats();
        tracing::warn!(
            tasks = stats.tasks,
            bytes = stats.bytes,
            "tasks wait in the spool until the broker takes them"
        );
        empty(&keeper, &broker).await;
        tracing::info!("the spool is empty: sends go to the broker again");
    }
}

/// Sends what waits in all queues, each by itself: one that is stuck holds up no other.
async fn empty(keeper: &Keeper, broker: &AnyBroker) {
    let mut draining = FuturesUnordered::new();
    let mut drained = HashSet::new();
    while keeper.holds_any() || !drained.is_empty() {
        tokio::select! {
            queues = keeper.until_waits_outside(&drained) => {
                for queue in queues {
                    drained.insert(queue.clone());
                    draining.push(Drain::new(keeper, broker, queue).run());
                }
            }
            Some(queue) = draining.next() => {
                drained.remove(&queue);
            }
        }
    }
}

/// The way of one queue's tasks to the broker.
struct Drain<'a> {
    keeper: &'a Keeper,
    broker: &'a AnyBroker,
    queue: QueueName,
    owed: Option<Owed>,
}

/// A change that the file does not have yet, whatever the reason; nothing else of its queue moves before it has.
struct Owed {
    change: Change,
    _on_the_way: OnTheWay,
}

/// What came of one look at a queue.
enum Moved {
    /// Something left it.
    Some,
    /// Nothing, and a later look may do better.
    None(String),
}

impl<'a> Drain<'a> {
    fn new(keeper: &'a Keeper, broker: &'a AnyBroker, queue: QueueName) -> Self {
        Self {
            keeper,
            broker,
            queue,
            owed: None,
        }
    }

    /// Sends until nothing waits any more.
    async fn run(mut self) -> QueueName {
        let mut failures = 0;
        while self.owed.is_some() || self.keeper.holds(&self.queue) {
            let why = match self.send_some().await {
                Ok(Moved::Some) => {
                    if failures != 0 {
                        tracing::info!(queue = %self.queue, "tasks leave the spool again");
                    }
                    failures = 0;
                    continue;
                }
                Ok(Moved::None(why)) => why,
                Err(error) => error.to_string(),
            };
            failures += 1;
            if failures == 1 {
                tracing::warn!(queue = %self.queue, why, "tasks stay in the spool; trying again until they are taken");
            }
            sleep(BACKOFF.delay(failures, fastrand::f64())).await;
        }
        self.queue
    }

    async fn send_some(&mut self) -> Result<Moved, SpoolError> {
        if self.owed.is_some() {
            self.settle().await?;
            return Ok(Moved::Some);
        }
        let head = self
            .keeper
            .head(&self.queue, BATCH_MAX, BATCH_BYTES_MAX)
            .await?;
        let Some((number, first)) = head.first() else {
            return Ok(Moved::None("its entries cannot be found".to_owned()));
        };
        match first {
            Err(reason) => {
                self.put_aside(*number, reason.clone()).await?;
                Ok(Moved::Some)
            }
            Ok(entry) if entry.task.acks_early() => self.send_once(*number, entry).await,
            Ok(entry) => {
                let wanted = entry.wanted;
                self.send_batch(batch(head, wanted), wanted).await
            }
        }
    }

    /// Writes what is owed. Where the disk refuses it stays so: what the broker has accepted is not sent again.
    async fn settle(&mut self) -> Result<(), SpoolError> {
        if let Some(owed) = &self.owed {
            self.keeper.change(owed.change.clone()).await?;
            self.owed = None;
        }
        Ok(())
    }

    async fn owe(&mut self, change: Change, on_the_way: OnTheWay) -> Result<(), SpoolError> {
        self.owed = Some(Owed {
            change,
            _on_the_way: on_the_way,
        });
        self.settle().await
    }

    async fn send_batch(
        &mut self,
        mut batch: Vec<(u64, Encoded)>,
        wanted: Durability,
    ) -> Result<Moved, SpoolError> {
        loop {
            let (numbers, tasks): (Vec<u64>, Vec<Encoded>) = batch.iter().cloned().unzip();
            let sending = self.keeper.sends(&self.queue, numbers[numbers.len() - 1]);
            let ends = instant_in(CALL_LIMIT);
            let answer = call(self.broker, &self.queue, tasks, wanted, ends).await;
            let (receipts, end) = receipts(answer);
            let confirmed = batch
                .iter()
                .zip(&receipts)
                .filter_map(|((number, _), receipt)| {
                    receipt
                        .filter(|receipt| receipt.by.meets(&wanted))
                        .map(|_| *number)
                });
            let confirmed: Vec<u64> = confirmed.collect();
            if !confirmed.is_empty() {
                // A producer that is killed before this sends them once more, by the same ids.
                self.owe(Change::Remove(self.queue.clone(), confirmed), sending)
                    .await?;
                return Ok(Moved::Some);
            }
            match end {
                Ok(()) => return Ok(Moved::None("they are stored and not confirmed".to_owned())),
                // The queue takes a batch whole or not at all: what fits goes.
                Err(EnqueueError::QueueFull { len, bound, .. })
                    if fits(len, bound, batch.len()) =>
                {
                    batch.truncate(usize::try_from(bound - len).unwrap_or(usize::MAX));
                }
                Err(
                    error @ (EnqueueError::QueueFull { .. }
                    | EnqueueError::Refused(_)
                    | EnqueueError::Misconfigured(_)
                    | EnqueueError::Unknown(_)),
                ) => return Ok(Moved::None(error.to_string())),
                // Refused for good. Which one it is shows alone, and it holds up no others then.
                Err(_) if 1 < batch.len() => batch.truncate(1),
                Err(error) => {
                    self.put_aside(numbers[0], error.to_string()).await?;
                    return Ok(Moved::Some);
                }
            }
        }
    }

    /// Sends an at-most-once task: set aside before it travels, so that nothing sends it again, a next process
    /// included, where no answer comes.
    async fn send_once(&mut self, number: u64, entry: &Entry) -> Result<Moved, SpoolError> {
        // A broker that is away is no reason to be in doubt of a task.
        match timeout(CALL_LIMIT, self.broker.partitions(&self.queue)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Ok(Moved::None(error.to_string())),
            Err(_) => return Ok(Moved::None("the broker does not answer".to_owned())),
        }
        let travelling = self.keeper.travels(&self.queue, number);
        let queue = self.queue.clone();
        let aside = Change::SetAside(queue.clone(), number, IN_DOUBT.to_owned());
        if let Err(error) = self.keeper.change(aside).await {
            // It may stand aside all the same, and has not travelled.
            self.owe(Change::PutBack(queue, number), travelling).await?;
            return Err(error);
        }
        let tasks = vec![entry.task.clone()];
        let ends = instant_in(CALL_LIMIT);
        let answer = call(self.broker, &self.queue, tasks, entry.wanted, ends).await;
        let (receipts, end) = receipts(answer);
        match end {
            Ok(()) => {
                let mut by = receipts.iter().flatten().map(|receipt| receipt.by);
                let next = if by.all(|by| by.meets(&entry.wanted)) {
                    Change::Forget(queue, number)
                } else {
                    Change::SetAside(queue, number, UNCONFIRMED.to_owned())
                };
                self.owe(next, travelling).await?;
                Ok(Moved::Some)
            }
            Err(
                error @ (EnqueueError::QueueFull { .. }
                | EnqueueError::Refused(_)
                | EnqueueError::Misconfigured(_)),
            ) => {
                self.owe(Change::PutBack(queue, number), travelling).await?;
                Ok(Moved::None(error.to_string()))
            }
            Err(error) => {
                tracing::error!(%queue, id = %entry.task.id(), %error, "an at-most-once task stays aside in the spool");
                Ok(Moved::Some)
            }
        }
    }

    async fn put_aside(&self, number: u64, reason: String) -> Result<(), SpoolError> {
        tracing::error!(queue = %self.queue, number, reason, "a task is set aside in the spool: it can never be sent");
        let change = Change::SetAside(self.queue.clone(), number, reason);
        self.keeper.change(change).await.map(drop)
    }
}

/// The entries at the head that may go in one call. A second copy of a task waits until the first is done with: while one
/// is on its way, the other is certain to be sent.
fn batch(head: Head, wanted: Durability) -> Vec<(u64, Encoded)> {
    let mut ids = HashSet::new();
    let mut fits = |entry: &Entry| {
        entry.wanted == wanted && !entry.task.acks_early() && ids.insert(entry.task.id())
    };
    head.into_iter()
        .map_while(|(number, entry)| entry.ok().map(|entry| (number, entry)))
        .take_while(|(_, entry)| fits(entry))
        .map(|(number, entry)| {
            if entry.wanted.is_none() {
                (number, entry.task)
            } else {
                (number, entry.task.remembered_for(REMEMBERED))
            }
        })
        .collect()
}

/// Whether some of so many tasks fit, and not all.
fn fits(len: u64, bound: u64, tasks: usize) -> bool {
    len < bound && bound - len < tasks as u64
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use bytes::Bytes;
    use lovage_core::{Envelope, Inspect as _, Millis, TaskId, TaskName};

    use super::*;
    use crate::spool::SpoolConfig;

    fn queue() -> QueueName {
        QueueName::parse("q").expect("a name")
    }

    fn entry() -> Entry {
        let name = TaskName::parse("t").expect("a name");
        let envelope = Envelope::new(TaskId::random(), name, queue(), Bytes::from_static(b"\xc0"));
        let task = envelope.encode().expect("small enough");
        Entry::new(&task, Durability::NONE, Millis::new(1))
    }

    /// A spool that holds `entries`, and its folder.
    async fn kept(entries: Vec<Entry>) -> (tempfile::TempDir, Keeper) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = SpoolConfig::at(folder.path());
        let keeper = Keeper::open(config).await.expect("it is free");
        let kept = keeper.append(&queue(), entries).await;
        kept.expect("there is room");
        (folder, keeper)
    }

    async fn memory() -> AnyBroker {
        let broker = AnyBroker::connect("memory://").await;
        broker.expect("memory is there")
    }

    #[tokio::test]
    async fn what_the_broker_has_accepted_is_not_sent_again_where_the_disk_refuses_to_note_it() {
        let entries: Vec<Entry> = (0..3).map(|_| entry()).collect();
        let ids: Vec<TaskId> = entries.iter().map(|entry| entry.task.id()).collect();
        let (_folder, keeper) = kept(entries).await;
        let broker = memory().await;
        let refusing = keeper.refusing(3);
        let draining = Drain::new(&refusing, &broker, queue()).run();
        // As soon as they are there they end; whoever sends them again makes new tasks of them.
        let (drained, ()) = tokio::join!(timeout(secs(60), draining), until_gone(&broker, &ids));
        assert_eq!(drained, Ok(queue()));
        let counts = broker.counts(&queue()).await.expect("memory is there");
        assert_eq!(counts.ready, 0, "{counts:?}");
        assert_eq!(keeper.stats(), crate::SpoolStats::default());
    }

    /// Cancels tasks until all were there.
    async fn until_gone(broker: &AnyBroker, ids: &[TaskId]) {
        use lovage_core::{Cancelled, Control as _};
        for id in ids {
            while broker.cancel(&queue(), *id).await.expect("memory is there") != Cancelled::Removed
            {
                sleep(ms(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn an_id_that_waits_is_kept_once_and_beside_one_that_is_on_its_way() {
        let (_folder, keeper) = kept(Vec::new()).await;
        let entry = entry();
        let tasks_with_it = async || {
            let kept = keeper.append(&queue(), vec![entry.clone()]).await;
            kept.expect("there is room");
            keeper.stats().tasks
        };
        assert_eq!((tasks_with_it().await, tasks_with_it().await), (1, 1));
        let sending = keeper.sends(&queue(), 0);
        assert_eq!((tasks_with_it().await, tasks_with_it().await), (2, 2));
        let sent = Change::Remove(queue(), vec![0]);
        assert!(keeper.change(sent).await.expect("the disk works"));
        drop(sending);
        assert_eq!(tasks_with_it().await, 1);
    }

    #[tokio::test]
    async fn an_id_is_kept_twice_at_most_however_often_it_is_sent_to_a_silent_broker() {
        let (_folder, keeper) = kept(Vec::new()).await;
        let entry = entry();
        let send = async || {
            let kept = keeper.append(&queue(), vec![entry.clone()]).await;
            kept.expect("there is room");
        };
        send().await;
        for _ in 0..20 {
            let head = keeper.head(&queue(), BATCH_MAX, BATCH_BYTES_MAX).await;
            let batch = batch(head.expect("the disk works"), Durability::NONE);
            assert_eq!(batch.len(), 1);
            let sending = keeper.sends(&queue(), batch[0].0);
            send().await;
            send().await;
            drop(sending);
            send().await;
            assert_eq!(keeper.stats().tasks, 2);
        }
    }

    #[tokio::test]
    async fn one_that_is_put_back_hides_no_later_copy() {
        let entry = entry();
        let (_folder, keeper) = kept(vec![entry.clone()]).await;
        let send = async || {
            let kept = keeper.append(&queue(), vec![entry.clone()]).await;
            kept.expect("there is room");
        };
        let aside = Change::SetAside(queue(), 0, IN_DOUBT.to_owned());
        assert!(keeper.change(aside).await.expect("the disk works"));
        send().await;
        assert!(keeper.put_back(&queue(), 0).await.expect("the disk works"));
        let gone = Change::Remove(queue(), vec![0]);
        assert!(keeper.change(gone).await.expect("the disk works"));
        send().await;
        assert_eq!(keeper.stats().tasks, 1);
    }

    #[tokio::test]
    async fn a_task_that_is_sent_again_while_its_first_copy_ends_is_a_task_of_its_own() {
        let entry = entry();
        let (_folder, keeper) = kept(vec![entry.clone()]).await;
        let broker = memory().await;
        let refusing = keeper.refusing(1);
        let mut drain = Drain::new(&refusing, &broker, queue());
        let noted = drain.send_some().await;
        assert!(noted.is_err(), "it is stored, and the disk refuses");
        until_gone(&broker, &[entry.task.id()]).await;
        let again = keeper.append(&queue(), vec![entry]).await;
        again.expect("there is room");
        drain.run().await;
        let counts = broker.counts(&queue()).await.expect("memory is there");
        assert_eq!(counts.ready, 1, "{counts:?}");
        assert_eq!(keeper.stats(), crate::SpoolStats::default());
    }

    #[tokio::test]
    async fn an_at_most_once_task_that_travels_holds_its_queue_and_is_nobody_elses_to_move() {
        let (_folder, keeper) = kept(vec![entry()]).await;
        let travelling = keeper.travels(&queue(), 0);
        let aside = Change::SetAside(queue(), 0, IN_DOUBT.to_owned());
        assert!(keeper.change(aside).await.expect("the disk works"));
        assert!(keeper.waits_in(&queue()) && !keeper.holds(&queue()));
        let moved = async || {
            let put_back = keeper.put_back(&queue(), 0).await;
            let forgotten = keeper.forget(&queue(), 0).await;
            let listed = keeper.list_aside(9).await.expect("the disk works");
            let moved = put_back.expect("the disk works") || forgotten.expect("the disk works");
            (moved, listed.len())
        };
        assert_eq!(moved().await, (false, 0));
        drop(travelling);
        assert!(!keeper.waits_in(&queue()));
        assert_eq!(keeper.list_aside(9).await.expect("the disk works").len(), 1);
        assert_eq!(moved().await, (true, 0));
    }
}
