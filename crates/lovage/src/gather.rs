//! Sends that meet go together: while one enqueue call of a queue travels, later sends gather behind it and go as one.
//!
//! A lone caller makes the call itself, on its own task: nothing is spawned and nobody is woken. Only where others
//! have gathered meanwhile is a flush spawned for them, when that call ends or its caller is dropped. A flush is its
//! own task, so that no caller that goes away takes others' sends with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::{
    BATCH_MAX, BrokerError, Confirmation, Durability, Durable, Encoded, EnqueueError, Enqueued,
    QueueName, TransportError,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The most bytes in one call: what a connection carries in a few milliseconds, so that small calls behind it are
/// not late.
pub(crate) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The sends of one queue that ask for the same confirmation.
#[derive(Debug)]
pub(crate) struct Gather<B> {
    broker: B,
    queue: QueueName,
    wanted: Durability,
    line: Mutex<Line>,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Line {
    /// Whether a call travels, or a flush is about to make one.
    busy: bool,
    /// Who waits for it to end, by number. No longer than the program has callers: each waits here with one send.
    waiting: VecDeque<Waiting>,
    /// The number of the next one that waits.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    task: Encoded,
    deadline: Instant,
    answer: oneshot::Sender<Result<Receipt, EnqueueError>>,
}

/// What is known of one task that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) enqueued: Enqueued,
    /// Who has confirmed it, beside the broker that stored it.
    pub(crate) by: Confirmation,
}

impl<B: Durable> Gather<B> {
    pub(crate) fn new(broker: B, queue: QueueName, wanted: Durability) -> Arc<Self> {
        Arc::new(Self {
            broker,
            queue,
            wanted,
            line: Mutex::default(),
            runtime: Handle::current(),
        })
    }

    /// Sends one task, with whoever else is sending, and makes one attempt at it.
    ///
    /// # Cancel safety
    /// Dropping the future may leave this task unsent, and no other.
    pub(crate) async fn send(
        self: &Arc<Self>,
        task: Encoded,
        deadline: Instant,
    ) -> Result<Receipt, EnqueueError> {
        match self.join(&task, deadline) {
            Joined::Turn(turn) => turn.send(task, deadline).await,
            Joined::Waits(place) => place.wait(deadline).await,
        }
    }

    fn join(self: &Arc<Self>, task: &Encoded, deadline: Instant) -> Joined<'_, B> {
        let mut line = self.line();
        if !line.busy {
            line.busy = true;
            return Joined::Turn(Turn(self));
        }
        let (sender, answer) = oneshot::channel();
        let number = line.next;
        line.next += 1;
        line.waiting.push_back(Waiting {
            number,
            task: task.clone(),
            deadline,
            answer: sender,
        });
        Joined::Waits(Place {
            gather: self,
            number,
            answer,
        })
    }

    /// Takes a send out of the line; `false` if it has gone already.
    fn leave(&self, number: u64) -> bool {
        let mut line = self.line();
        // The line is in the order of the numbers.
        let place = line
            .waiting
            .binary_search_by_key(&number, |waiting| waiting.number);
        place.is_ok_and(|place| line.waiting.remove(place).is_some())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch of a flush; with nobody waiting, the flush is over.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut line = self.line();
        let sizes = line
            .waiting
            .iter()
            .map(|waiting| waiting.task.bytes().len());
        let count = batch_len(sizes);
        line.busy = 0 < count;
        line.busy.then(|| line.waiting.drain(..count).collect())
    }

    async fn call(
        &self,
        tasks: Vec<Encoded>,
        deadline: Instant,
    ) -> Result<Vec<Receipt>, EnqueueError> {
        call(&self.broker, &self.queue, tasks, self.wanted, deadline).await
    }

    async fn send_batch(&self, batch: Vec<Waiting>) {
        // Whoever waits less long leaves by itself.
        let Some(deadline) = batch.iter().map(|waiting| waiting.deadline).max() else {
            return;
        };
        let tasks = batch.iter().map(|waiting| waiting.task.clone()).collect();
        match self.call(tasks, deadline).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for waiting in batch {
                    // One who waits no more does not take the answer; nobody else misses it.
                    let _ = waiting.answer.send(answers.next().ok_or_else(too_few));
                }
            }
            // The queue takes a batch whole or not at all. Single sends that met by chance must not be refused for
            // the number of their company: those that fit go, the rest learns that it is full.
            Err(EnqueueError::QueueFull { len, bound, .. }) if 1 < batch.len() => {
                self.send_what_fits(batch, len, bound).await;
            }
            Err(EnqueueError::InPart { answers, by, error }) => {
                let rest = answer_some(batch, answers, by);
                match *error {
                    EnqueueError::QueueFull { len, bound, .. } if 1 < rest.len() => {
                        self.send_what_fits(rest, len, bound).await;
                    }
                    error => refuse(rest, &error),
                }
            }
            Err(error) => refuse(batch, &error),
        }
    }

    async fn send_what_fits(&self, mut batch: Vec<Waiting>, len: u64, bound: u64) {
        let room = usize::try_from(bound.saturating_sub(len)).unwrap_or(usize::MAX);
        let rest = batch.split_off(room.min(batch.len() - 1));
        let full = |len| EnqueueError::QueueFull {
            queue: self.queue.clone(),
            len,
            bound,
        };
        let Some(deadline) = batch.iter().map(|waiting| waiting.deadline).max() else {
            return refuse(rest, &full(len));
        };
        let tasks = batch.iter().map(|waiting| waiting.task.clone()).collect();
        match self.call(tasks, deadline).await {
            Ok(answers) => {
                refuse(rest, &full(len + answers.len() as u64));
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    let _ = waiting.answer.send(Ok(answer));
                }
            }
            Err(EnqueueError::InPart { answers, by, error }) => {
                refuse(rest, &full(len));
                refuse(answer_some(batch, answers, by), &error);
            }
            Err(error) => {
                refuse(rest, &full(len));
                refuse(batch, &error);
            }
        }
    }

    /// Ends a turn: the line is free again, or a flush is spawned for those who wait.
    fn pass_on(self: &Arc<Self>) {
        let mut line = self.line();
        if line.waiting.is_empty() {
            line.busy = false;
            return;
        }
        drop(line);
        let flush = Flush {
            gather: Arc::clone(self),
            over: false,
        };
        // The caller's runtime, as the one that this line was made on may have ended; it stands in where a caller
        // is dropped outside of any.
        let runtime = Handle::try_current().unwrap_or_else(|_| self.runtime.clone());
        runtime.spawn(flush.run());
    }
}

/// What a caller finds.
enum Joined<'a, B: Durable> {
    /// Nobody's call travels.
    Turn(Turn<'a, B>),
    /// Somebody's does.
    Waits(Place<'a, B>),
}

/// A caller's turn to make the call itself.
struct Turn<'a, B: Durable>(&'a Arc<Gather<B>>);

impl<B: Durable> Turn<'_, B> {
    async fn send(self, task: Encoded, deadline: Instant) -> Result<Receipt, EnqueueError> {
        let answers = self.0.call(vec![task], deadline).await?;
        answers.first().copied().ok_or_else(too_few)
    }
}

impl<B: Durable> Drop for Turn<'_, B> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

/// A place in the line: given up with its caller, so that what nobody waits for is not sent late.
struct Place<'a, B: Durable> {
    gather: &'a Gather<B>,
    number: u64,
    answer: oneshot::Receiver<Result<Receipt, EnqueueError>>,
}

impl<B: Durable> Place<'_, B> {
    async fn wait(mut self, deadline: Instant) -> Result<Receipt, EnqueueError> {
        match timeout_at(deadline, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(EnqueueError::Unknown(TransportError::new(
                "the call was given up: its runtime shuts down",
            ))),
            Err(_) if self.gather.leave(self.number) => {
                Err(EnqueueError::Refused(TransportError::new(
                    "an earlier call to the same queue took all the time there was",
                )))
            }
            Err(_) => Err(no_answer().into()),
        }
    }
}

impl<B: Durable> Drop for Place<'_, B> {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            self.gather.leave(self.number);
        }
    }
}

/// The sends that have gathered, one batch after another, until nobody waits.
struct Flush<B: Durable> {
    gather: Arc<Gather<B>>,
    over: bool,
}

impl<B: Durable> Flush<B> {
    async fn run(mut self) {
        while let Some(batch) = self.gather.next_batch() {
            self.gather.send_batch(batch).await;
            // The callers just answered send their next ones now: with their turn first, these go as one batch
            // again instead of one alone and the others behind it.
            tokio::task::yield_now().await;
        }
        self.over = true;
    }
}

impl<B: Durable> Drop for Flush<B> {
    /// A flush ends with nobody waiting, unless its runtime shuts down or the broker panics. Then nobody may wait
    /// for it any more, and a caller on another runtime has its own turn.
    fn drop(&mut self) {
        if !self.over {
            let mut line = self.gather.line();
            line.busy = false;
            line.waiting.clear();
        }
    }
}

/// One attempt at a call, which ends at `deadline`.
pub(crate) async fn call<B: Durable>(
    broker: &B,
    queue: &QueueName,
    tasks: Vec<Encoded>,
    wanted: Durability,
    deadline: Instant,
) -> Result<Vec<Receipt>, EnqueueError> {
    let receipt = |enqueued, by| Receipt { enqueued, by };
    let call = async {
        if wanted.is_none() {
            let answers = broker.enqueue(queue, tasks).await?;
            let by = Confirmation::default();
            return Ok(answers.into_iter().map(|one| receipt(one, by)).collect());
        }
        // A quarter of the time is for the rest of the call: that a confirmation did not come is worth more to a
        // caller than not to know whether the task is stored.
        let left = deadline.saturating_duration_since(Instant::now());
        let wanted = wanted.within(wanted.within.min(left * 3 / 4));
        let sent = broker.enqueue_confirmed(queue, tasks, wanted).await?;
        let answers = sent.answers.into_iter();
        Ok(answers.map(|one| receipt(one, sent.by)).collect())
    };
    let answer = timeout_at(deadline, call).await;
    answer.unwrap_or_else(|_| Err(no_answer().into()))
}

/// How many of the tasks of these sizes go in one call.
///
/// Whatever their number, a call carries no more than [`BATCH_BYTES_MAX`] unless a single task does.
pub(crate) fn batch_len(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    sizes
        .take(BATCH_MAX)
        .take_while(|size| {
            let first = bytes == 0;
            bytes += size;
            first || bytes <= BATCH_BYTES_MAX
        })
        .count()
}

/// Answers those whose tasks were taken, and gives back the others.
fn answer_some(
    batch: Vec<Waiting>,
    answers: Vec<Option<Enqueued>>,
    by: Confirmation,
) -> Vec<Waiting> {
    let mut others = Vec::new();
    for (waiting, answer) in batch.into_iter().zip(answers) {
        match answer {
            // One who waits no more does not take the answer.
            Some(enqueued) => drop(waiting.answer.send(Ok(Receipt { enqueued, by }))),
            None => others.push(waiting),
        }
    }
    others
}

fn refuse(batch: Vec<Waiting>, error: &EnqueueError) {
    for waiting in batch {
        let _ = waiting.answer.send(Err(copy(error)));
    }
}

/// The same error for one more caller: a transport's error cannot be cloned, what it says can.
fn copy(error: &EnqueueError) -> EnqueueError {
    let said = |source: &TransportError| TransportError::new(source.to_string());
    match error {
        EnqueueError::QueueFull { queue, len, bound } => EnqueueError::QueueFull {
            queue: queue.clone(),
            len: *len,
            bound: *bound,
        },
        EnqueueError::Refused(source) => EnqueueError::Refused(said(source)),
        EnqueueError::Misconfigured(source) => EnqueueError::Misconfigured(said(source)),
        EnqueueError::Unknown(source) => EnqueueError::Unknown(said(source)),
        other => EnqueueError::Refused(TransportError::new(other.to_string())),
    }
}

pub(crate) fn no_answer() -> BrokerError {
    BrokerError::Unknown(TransportError::new("no answer came within the deadline"))
}

pub(crate) fn too_few() -> EnqueueError {
    EnqueueError::Unknown(TransportError::new(
        "the broker answered for fewer tasks than it was given",
    ))
}

#[cfg(test)]
mod tests;
