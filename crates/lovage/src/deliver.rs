//! How encoded tasks reach the broker: attempts until the deadline, in a line for each queue, within a budget of bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// The broker, which says of each what it made of it.
    ByBroker(Vec<Enqueued>),
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
            let tasks = vec![encoded];
            return Box::pin(self.deliver_or_spool(spool, queue, tasks, manner, task)).await;
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
                    return Ok(Kept::ByBroker(vec![receipt.enqueued]));
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
        mut batch: Vec<Encoded>,
        manner: Manner,
        task: &'static str,
    ) -> Delivered {
        let mut sent = Delivered::default();
        #[cfg(feature = "spool")]
        if let Some(spool) = &self.0.spool {
            sent.left = batch.iter().map(Encoded::id).collect();
            if !batch.is_empty() {
                let end = self.deliver_or_spool(spool, queue, batch, manner, task);
                sent.end = end.await;
            }
            return sent;
        }
        let wanted = self.wanted(manner);
        let mut attempts = Attempts::at(&batch, self.ends(manner));
        // Where each that is left stood in the batch.
        let mut places: Vec<usize> = (0..batch.len()).collect();
        while let Some(first) = batch.first().map(Encoded::id) {
            let deadline = attempts.deadline();
            let answer = call(self.broker(), queue, batch.clone(), wanted, deadline).await;
            let (mut receipts, error) = match answer {
                Ok(receipts) => {
                    let error = (receipts.len() < batch.len()).then(too_few);
                    (receipts.into_iter().map(Some).collect(), error)
                }
                Err(EnqueueError::InPart { answers, by, error }) => {
                    let receipt = |enqueued| Receipt { enqueued, by };
                    let receipts = answers.into_iter().map(|answer| answer.map(receipt));
                    (receipts.collect(), Some(*error))
                }
                Err(error) => (vec![None; batch.len()], Some(error)),
            };
            receipts.resize(batch.len(), None);
            for (place, receipt) in places.iter().zip(&receipts) {
                let answer = receipt.map(|receipt: Receipt| receipt.enqueued);
                let known = answer.filter(|answer| *answer != Enqueued::New);
                sent.known.extend(known.map(|answer| (*place, answer)));
            }
            let mut left = receipts.iter().map(Option::is_none);
            places.retain(|_| left.next().unwrap_or_default());
            let (tasks, receipts) = taken(&mut batch, receipts);
            self.accepted(queue, &tasks, &receipts).await;
            for (task, receipt) in tasks.iter().zip(&receipts) {
                match confirmed(receipt, wanted, task.id()) {
                    Ok(()) => sent.accepted.push(task.id()),
                    Err(error) => {
                        sent.unconfirmed.push(task.id());
                        sent.end = Err(error);
                    }
                }
            }
            if let Some(error) = error
                && let Err(error) = attempts.failed(error).await
            {
                sent.end = Err(SendError::from_enqueue(error, first, task));
                break;
            }
        }
        sent.left = batch.iter().map(Encoded::id).collect();
        sent
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

/// Takes what a broker has taken out of `batch`.
fn taken(batch: &mut Vec<Encoded>, receipts: Vec<Option<Receipt>>) -> (Vec<Encoded>, Vec<Receipt>) {
    let (mut taken, mut kept) = (Vec::new(), Vec::new());
    let mut left = Vec::new();
    for (task, receipt) in std::mem::take(batch).into_iter().zip(receipts) {
        match receipt {
            Some(receipt) => {
                taken.push(task);
                kept.push(receipt);
            }
            None => left.push(task),
        }
    }
    *batch = left;
    (taken, kept)
}

/// What became of a batch.
pub(crate) struct Delivered {
    pub(crate) accepted: Vec<TaskId>,
    /// Stored, and not confirmed as was wanted.
    pub(crate) unconfirmed: Vec<TaskId>,
    /// What the queue made of those that were not new, by their places in the batch.
    pub(crate) known: Vec<(usize, Enqueued)>,
    /// What `end` speaks of: all that is in neither of the first two.
    pub(crate) left: Vec<TaskId>,
    pub(crate) end: Result<Kept, SendError>,
}

impl Default for Delivered {
    fn default() -> Self {
        Self {
            accepted: Vec::new(),
            unconfirmed: Vec::new(),
            known: Vec::new(),
            left: Vec::new(),
            end: Ok(Kept::ByBroker(Vec::new())),
        }
    }
}

/// What is known of a batch that was stored, `first` at its head: it is confirmed whole, or not.
#[cfg(feature = "spool")]
pub(crate) fn kept(
    receipts: &[Receipt],
    wanted: Durability,
    first: TaskId,
) -> Result<Kept, SendError> {
    if let Some(short) = receipts.iter().find(|receipt| !receipt.by.meets(&wanted)) {
        confirmed(short, wanted, first)?;
    }
    let answers = receipts.iter().map(|receipt| receipt.enqueued);
    Ok(Kept::ByBroker(answers.collect()))
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
