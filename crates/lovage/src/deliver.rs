//! How encoded tasks reach the broker: attempts until the deadline, in a line for each queue, within a budget of bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{iter, mem};

use lovage_core::{Durability, Encoded, EnqueueError, Enqueued, QueueName, TaskId};
use tokio::time::Instant;

use crate::any_broker::AnyBroker;
use crate::client::Client;
#[cfg(feature = "memory")]
use crate::client::Mode;
use crate::error::SendError;
use crate::gather::{Gather, Receipt, call, too_few};
use crate::retry::{Attempts, instant_in};

/// So many lines of sends are kept; then those of queues that nobody is sending to are given up.
const LINES_MAX: usize = 1024;

/// How a send is made: what does not travel with its task. What is not set is the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Manner {
    pub(crate) deadline: Option<Duration>,
    pub(crate) durability: Option<Durability>,
}

/// Who has a task that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The broker, which says what it made of it.
    ByBroker(Enqueued),
    /// This host, until the broker takes it.
    #[cfg(feature = "spool")]
    Locally,
}

/// Where sends wait: a line for each queue and kind of confirmation.
pub(crate) struct Lines {
    by_queue: Mutex<HashMap<(QueueName, Durability), Line>>,
    /// The bytes of all single sends under way.
    held: AtomicUsize,
    bytes_max: usize,
}

impl Lines {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            by_queue: Mutex::default(),
            held: AtomicUsize::new(0),
            bytes_max,
        }
    }

    pub(crate) fn line(&self, broker: &AnyBroker, queue: &QueueName, wanted: Durability) -> Line {
        let mut lines = self.by_queue.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (queue.clone(), wanted);
        if let Some(line) = lines.get(&key) {
            return Arc::clone(line);
        }
        if LINES_MAX <= lines.len() {
            lines.retain(|_, line| 1 < Arc::strong_count(line));
        }
        let line = Gather::new(broker.clone(), queue.clone(), wanted);
        lines.insert(key, Arc::clone(&line));
        line
    }

    /// Takes `bytes` of what sends under way may hold. One send alone is always let in, however large.
    fn admit(&self, bytes: usize) -> Result<Held<'_>, SendError> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        let admitted = Held { lines: self, bytes };
        if 0 < held && self.bytes_max < held.saturating_add(bytes) {
            return Err(SendError::Overloaded {
                held,
                limit: self.bytes_max,
            });
        }
        Ok(admitted)
    }
}

/// A line.
type Line = Arc<Gather<AnyBroker>>;

/// A part of the budget, given back with the end of its send.
struct Held<'a> {
    lines: &'a Lines,
    bytes: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lines.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Client {
    /// Sends one encoded task, together with whoever else sends to this queue.
    pub(crate) async fn deliver(
        &self,
        queue: &QueueName,
        encoded: Encoded,
        manner: Manner,
        task: &'static str,
    ) -> Result<Kept, SendError> {
        let id = encoded.id();
        let _held = self.0.lines.admit(encoded.bytes().len())?;
        #[cfg(feature = "spool")]
        if let Some(spool) = &self.0.spool {
            let mut batch = Batch::of(vec![encoded]);
            Box::pin(self.deliver_or_spool(spool, queue, &mut batch, manner, task)).await;
            return batch.one();
        }
        let wanted = self.wanted(manner);
        let line = self.0.lines.line(self.broker(), queue, wanted);
        let tasks = std::slice::from_ref(&encoded);
        let mut attempts = Attempts::at(tasks, self.ends(manner));
        loop {
            match line.send(encoded.clone(), attempts.deadline()).await {
                Ok(receipt) => {
                    self.accepted(queue, &[encoded], &[receipt]).await;
                    confirmed(&receipt, wanted, id)?;
                    return Ok(Kept::ByBroker(receipt.enqueued));
                }
                Err(error) => {
                    let end = attempts.failed(error).await;
                    end.map_err(|error| SendError::from_enqueue(error, id, task))?;
                }
            }
        }
    }

    /// Sends up to a thousand encoded tasks in one call; answers in their order.
    pub(crate) async fn deliver_batch(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
        manner: Manner,
        task: &'static str,
    ) -> Delivered {
        let mut batch = Batch::of(tasks);
        #[cfg(feature = "spool")]
        if let Some(spool) = &self.0.spool {
            self.deliver_or_spool(spool, queue, &mut batch, manner, task)
                .await;
            return batch.end();
        }
        let wanted = self.wanted(manner);
        let mut attempts = Attempts::at(&batch.left, self.ends(manner));
        while let Some(first) = batch.left.first().map(Encoded::id) {
            let deadline = attempts.deadline();
            if let Err(error) = self.attempt(queue, &mut batch, wanted, deadline).await
                && let Err(error) = attempts.failed(error).await
            {
                batch.sent.end = Err(SendError::from_enqueue(error, first, task));
                break;
            }
        }
        batch.end()
    }

    /// Makes one call with what is left of a batch, and takes out of it what the broker has taken. An error speaks of
    /// those that are still left.
    pub(crate) async fn attempt(
        &self,
        queue: &QueueName,
        batch: &mut Batch,
        wanted: Durability,
        deadline: Instant,
    ) -> Result<(), EnqueueError> {
        let tasks = batch.left.clone();
        let answer = call(self.broker(), queue, tasks, wanted, deadline).await;
        let (receipts, end) = receipts(answer);
        self.take(queue, batch, receipts, wanted).await;
        if end.is_ok() && !batch.left.is_empty() {
            return Err(too_few());
        }
        end
    }

    pub(crate) async fn take(
        &self,
        queue: &QueueName,
        batch: &mut Batch,
        receipts: Vec<Option<Receipt>>,
        wanted: Durability,
    ) {
        let (tasks, receipts) = batch.take(receipts, wanted);
        self.accepted(queue, &tasks, &receipts).await;
    }

    pub(crate) fn wanted(&self, manner: Manner) -> Durability {
        manner.durability.unwrap_or(self.0.durability)
    }

    pub(crate) fn ends(&self, manner: Manner) -> Instant {
        instant_in(manner.deadline.unwrap_or(self.0.deadline))
    }

    /// Lets the test kit know, where there is one.
    #[cfg_attr(
        not(feature = "memory"),
        expect(
            clippy::unused_async,
            unused_variables,
            reason = "as the one with a kit"
        )
    )]
    pub(crate) async fn accepted(
        &self,
        queue: &QueueName,
        tasks: &[Encoded],
        receipts: &[Receipt],
    ) {
        #[cfg(feature = "memory")]
        if let Some((inline, mode)) = &self.0.inline {
            for (task, receipt) in tasks.iter().zip(receipts) {
                if matches!(receipt.enqueued, Enqueued::New | Enqueued::Replaced(_)) {
                    inline.accepted(queue, task);
                }
            }
            if *mode == Mode::Eager {
                for (task, receipt) in tasks.iter().zip(receipts) {
                    let id = receipt.enqueued.id(task.id());
                    // Boxed, as a body that sends comes through here again.
                    Box::pin(inline.run_eagerly(self, queue, id)).await;
                }
            }
        }
    }
}

/// What a call answered of each of its tasks, and what is to be said of those without an answer.
pub(crate) fn receipts(
    answer: Result<Vec<Receipt>, EnqueueError>,
) -> (Vec<Option<Receipt>>, Result<(), EnqueueError>) {
    match answer {
        Ok(receipts) => (receipts.into_iter().map(Some).collect(), Ok(())),
        Err(EnqueueError::InPart { answers, by, error }) => {
            let receipt = |enqueued| Receipt { enqueued, by };
            let receipts = answers.into_iter().map(|answer| answer.map(receipt));
            (receipts.collect(), Err(*error))
        }
        Err(error) => (Vec::new(), Err(error)),
    }
}

/// A batch on its way.
pub(crate) struct Batch {
    /// What nobody has taken yet.
    pub(crate) left: Vec<Encoded>,
    /// Where each of these stood in the batch.
    places: Vec<usize>,
    pub(crate) sent: Delivered,
}

impl Batch {
    fn of(tasks: Vec<Encoded>) -> Self {
        Self {
            places: (0..tasks.len()).collect(),
            left: tasks,
            sent: Delivered::default(),
        }
    }

    /// Takes out what a broker has taken.
    fn take(
        &mut self,
        receipts: Vec<Option<Receipt>>,
        wanted: Durability,
    ) -> (Vec<Encoded>, Vec<Receipt>) {
        let (mut tasks, mut taken) = (Vec::new(), Vec::new());
        let (left, places) = (mem::take(&mut self.left), mem::take(&mut self.places));
        let receipts = receipts.into_iter().chain(iter::repeat(None));
        for ((task, place), receipt) in left.into_iter().zip(places).zip(receipts) {
            let Some(receipt) = receipt else {
                self.left.push(task);
                self.places.push(place);
                continue;
            };
            if receipt.enqueued != Enqueued::New {
                self.sent.known.push((place, receipt.enqueued));
            }
            match confirmed(&receipt, wanted, task.id()) {
                Ok(()) => self.sent.accepted.push(task.id()),
                Err(error) => {
                    self.sent.unconfirmed.push(task.id());
                    self.sent.end = Err(error);
                }
            }
            tasks.push(task);
            taken.push(receipt);
        }
        (tasks, taken)
    }

    /// What became of the only task.
    #[cfg(feature = "spool")]
    fn one(self) -> Result<Kept, SendError> {
        self.sent.end?;
        if self.sent.spooled.is_empty() {
            let answer = self.sent.known.first().map(|(_, answer)| *answer);
            return Ok(Kept::ByBroker(answer.unwrap_or(Enqueued::New)));
        }
        Ok(Kept::Locally)
    }

    fn end(mut self) -> Delivered {
        self.sent.left = self.left.iter().map(Encoded::id).collect();
        self.sent
    }
}

/// What became of a batch.
pub(crate) struct Delivered {
    pub(crate) accepted: Vec<TaskId>,
    /// Stored, and not confirmed as was wanted.
    pub(crate) unconfirmed: Vec<TaskId>,
    /// Kept on this host.
    #[cfg(feature = "spool")]
    pub(crate) spooled: Vec<TaskId>,
    /// What the queue made of those that were not new, by their places in the batch.
    pub(crate) known: Vec<(usize, Enqueued)>,
    /// What `end` speaks of: all that is in none of the first ones.
    pub(crate) left: Vec<TaskId>,
    pub(crate) end: Result<(), SendError>,
}

impl Default for Delivered {
    fn default() -> Self {
        Self {
            accepted: Vec::new(),
            unconfirmed: Vec::new(),
            #[cfg(feature = "spool")]
            spooled: Vec::new(),
            known: Vec::new(),
            left: Vec::new(),
            end: Ok(()),
        }
    }
}

fn confirmed(receipt: &Receipt, wanted: Durability, id: TaskId) -> Result<(), SendError> {
    if receipt.by.meets(&wanted) {
        return Ok(());
    }
    Err(SendError::NotConfirmed {
        id: receipt.enqueued.id(id),
        wanted,
        by: receipt.by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_under_way_hold_no_more_bytes_than_allowed_unless_one_alone_does() {
        let lines = Lines::new(10);
        let large = lines.admit(100).map(drop);
        assert!(large.is_ok(), "{large:?}");
        let first = lines.admit(6).unwrap();
        let refused = lines.admit(5).map(drop).unwrap_err();
        assert!(
            matches!(refused, SendError::Overloaded { held: 6, limit: 10 }),
            "{refused:?}"
        );
        let second = lines.admit(4).map(drop);
        assert!(second.is_ok(), "{second:?}");
        drop(first);
        assert!(lines.admit(10).is_ok());
        assert_eq!(lines.held.load(Ordering::Relaxed), 0);
    }
}
