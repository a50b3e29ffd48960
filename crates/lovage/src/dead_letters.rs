//! A client's handle on the dead letters of one queue.

use std::time::Duration;

use lovage_core::{
    BATCH_MAX, BrokerError, Control, DeadLetters as _, DecodeError, FailureKind, Inspect,
    Membership, Millis, NameError, QueueName, Revived, TaskId,
};
pub use lovage_core::{Cut, DeadLetter, DeadLettersSummary, Edit, EditError, Retention};

use crate::client::Client;

/// The dead letters of one queue: see [`Client::dead_letters_of`]. Each call to the broker ends within the client's
/// deadline; what takes several calls takes as many of them.
///
/// ```
/// # use lovage::prelude::*;
/// use lovage::dead_letters::{Edit, Filter, Retention};
/// # #[task] async fn resize(width: u32) {}
/// # async fn f(client: Client, id: lovage::TaskId) -> anyhow::Result<()> {
/// let dead = client.dead_letters_of("default")?;
/// dead.revive_all(&Filter::new().task("resize").newer_than(hours(2))).await?;
/// dead.revive_edited(id, Edit::new().message(&resize(300))).await?;
/// dead.purge_older(hours(24 * 30)).await?;
/// dead.retain(Retention { count: Some(100_000), ..Retention::default() }).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: Client,
    queue: QueueName,
}

/// Which dead letters: those that are all that is said here.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Filter {
    task: Option<String>,
    kind: Option<FailureKind>,
    older_than: Option<Duration>,
    newer_than: Option<Duration>,
}

/// Why dead letters were not looked after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLettersError {
    /// The task could not be sent as it was edited: nothing was changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The letter's envelope cannot be read, so that nothing in it can be edited: nothing was changed.
    #[error(
        "dead letter {id} cannot be edited: {source}; revive it as it is, or purge it and send the task anew"
    )]
    Unreadable {
        /// The letter.
        id: TaskId,
        /// What is wrong with its bytes.
        r#source: DecodeError,
    },
    /// The broker did not do it, or did not answer. Of what takes several calls, those before this one are done.
    #[error("{}{source}", before(*done))]
    Broker {
        /// How many were certainly moved or removed before.
        done: u64,
        /// Why not the others.
        r#source: BrokerError,
    },
}

fn before(done: u64) -> String {
    match done {
        0 => String::new(),
        _ => format!("{done} dead letters were taken care of, then: "),
    }
}

impl From<BrokerError> for DeadLettersError {
    fn from(source: BrokerError) -> Self {
        Self::Broker { done: 0, source }
    }
}

impl Client {
    /// The dead letters of `queue`: to look at, revive, edit and purge.
    pub fn dead_letters_of(&self, queue: &str) -> Result<DeadLetters, NameError> {
        Ok(DeadLetters {
            client: self.clone(),
            queue: QueueName::parse(queue)?,
        })
    }
}

impl DeadLetters {
    /// A page of them, oldest first, from number `offset` on, at most `limit`; fewer where they are large. None where
    /// there are no more. Letters that leave while pages are read shift the numbers of those behind them.
    pub async fn list(
        &self,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        let page = || {
            self.client
                .broker()
                .dead_letters(&self.queue, offset, limit)
        };
        Ok(self.client.within(page).await?)
    }

    /// The one of this id, if there is one.
    pub async fn get(&self, id: TaskId) -> Result<Option<DeadLetter>, DeadLettersError> {
        let letter = || self.client.broker().dead_letter(&self.queue, id);
        Ok(self.client.within(letter).await?)
    }

    /// How many there are, what they take, how many are kept and how many were cut.
    pub async fn summary(&self) -> Result<DeadLettersSummary, DeadLettersError> {
        let summary = || self.client.broker().dead_letters_summary(&self.queue);
        Ok(self.client.within(summary).await?)
    }

    /// Makes one ready again, with no attempts and no losses. A unique one whose key another task holds meanwhile stays
    /// dead: [`Revived::Held`] names that one.
    pub async fn revive(&self, id: TaskId) -> Result<Revived, DeadLettersError> {
        let revived = || self.client.broker().revive(&self.queue, id);
        Ok(self.client.within(revived).await?)
    }

    /// Makes these ready again, a thousand a call. Answers of each what became of it, as [`Self::revive`] does.
    pub async fn revive_many(&self, ids: &[TaskId]) -> Result<Vec<Revived>, DeadLettersError> {
        let is_done = |answer: &Revived| *answer == Revived::Ready;
        self.each(ids, is_done, async |ids| {
            let broker = self.client.broker();
            let revived = || broker.revive_many(&self.queue, ids.to_vec());
            self.client.within(revived).await
        })
        .await
    }

    /// Makes all ready again that were dead when this was called and that `filter` takes, a thousand a call; answers how
    /// many. One that dies again meanwhile is not revived again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves an unknown part of them revived.
    pub async fn revive_all(&self, filter: &Filter) -> Result<u64, DeadLettersError> {
        let start = self.summary().await?;
        let (mut left, mut offset) = (usize::try_from(start.count).unwrap_or(usize::MAX), 0);
        let mut done = 0;
        let stopped = |done| move |error: DeadLettersError| error.after(done);
        while 0 < left {
            let page = self.list(offset, left.min(BATCH_MAX)).await;
            let page = page.map_err(stopped(done))?;
            let old = page.iter().take_while(|letter| letter.died_at <= start.now);
            let wanted: Vec<TaskId> = old
                .filter(|letter| filter.takes(letter, start.now))
                .map(|letter| letter.id)
                .collect();
            let revived = self.revive_many(&wanted).await.map_err(stopped(done))?;
            let made = revived.iter().filter(|answer| **answer == Revived::Ready);
            let made = made.count();
            done += made as u64;
            if page.last().is_none_or(|last| start.now < last.died_at) {
                break;
            }
            left -= page.len();
            // The others keep their places, and so does one whose key another task holds.
            offset += page.len() - made;
        }
        Ok(done)
    }

    /// Changes the task as `edit` says and makes it ready again, or scheduled where that gives it a start, in one step.
    /// [`Revived::NotDead`] as well if it died anew since it was looked at; [`Revived::Held`] if another task holds the key
    /// of what it would become.
    ///
    /// # Errors
    /// [`DeadLettersError::Edit`] where the task could not be sent so.
    pub async fn revive_edited(&self, id: TaskId, edit: Edit) -> Result<Revived, DeadLettersError> {
        let Some(letter) = self.get(id).await? else {
            return Ok(Revived::NotDead);
        };
        let envelope = letter.envelope();
        let envelope = envelope.map_err(|source| DeadLettersError::Unreadable { id, source })?;
        let task = edit.apply(envelope)?;
        let broker = self.client.broker();
        let revived = || broker.revive_edited(&self.queue, letter.died_at, task.clone());
        Ok(self.client.within(revived).await?)
    }

    /// Removes these for good, a thousand a call: nothing is kept of them. Answers of each whether it was dead.
    pub async fn purge(&self, ids: &[TaskId]) -> Result<Vec<bool>, DeadLettersError> {
        self.each(
            ids,
            |was_dead| *was_dead,
            async |ids| {
                let purged = || self.client.broker().purge(&self.queue, ids.to_vec());
                self.client.within(purged).await
            },
        )
        .await
    }

    /// Removes all that died `age` ago or earlier, a thousand a call; answers how many.
    pub async fn purge_older(&self, age: Duration) -> Result<u64, DeadLettersError> {
        let mut done = 0;
        loop {
            let purged = || self.client.broker().purge_older(&self.queue, age);
            let purged = self.client.within(purged).await;
            let purged = purged.map_err(|error| DeadLettersError::from(error).after(done))?;
            done += purged.count;
            if !purged.more {
                return Ok(done);
            }
        }
    }

    /// Sets how many the queue keeps; [`Retention::default`] keeps all. A worker that is started with limits of its own
    /// replaces them.
    pub async fn retain(&self, retention: Retention) -> Result<(), DeadLettersError> {
        let kept = || self.client.broker().retain(&self.queue, retention);
        Ok(self.client.within(kept).await?)
    }

    async fn each<A>(
        &self,
        ids: &[TaskId],
        is_done: impl Fn(&A) -> bool,
        call: impl AsyncFn(&[TaskId]) -> Result<Vec<A>, BrokerError>,
    ) -> Result<Vec<A>, DeadLettersError> {
        let mut answers = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH_MAX) {
            let answered = call(batch).await;
            let done = answers.iter().filter(|answer| is_done(answer)).count() as u64;
            answers.extend(answered.map_err(|error| DeadLettersError::from(error).after(done))?);
        }
        Ok(answers)
    }
}

impl DeadLettersError {
    /// The same, after as many more were done.
    fn after(self, before: u64) -> Self {
        match self {
            Self::Broker { done, source } => Self::Broker {
                done: done + before,
                source,
            },
            other => other,
        }
    }
}

impl Filter {
    /// All of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of this task. A letter whose envelope cannot be read is of none.
    pub fn task(mut self, name: impl Into<String>) -> Self {
        self.task = Some(name.into());
        self
    }

    /// Those that failed like this.
    pub fn kind(mut self, kind: FailureKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Those that died `age` ago or earlier.
    pub fn older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }

    /// Those that died less than `age` ago.
    pub fn newer_than(mut self, age: Duration) -> Self {
        self.newer_than = Some(age);
        self
    }

    /// Whether it takes `letter` at `now`, by the broker's clock.
    pub fn takes(&self, letter: &DeadLetter, now: Millis) -> bool {
        let age = now.since(letter.died_at);
        let is_named = |name: &String| {
            letter
                .task()
                .is_some_and(|task| task.as_str() == name.as_str())
        };
        self.kind.is_none_or(|kind| kind == letter.failure.kind)
            && self.older_than.is_none_or(|least| least <= age)
            && self.newer_than.is_none_or(|most| age < most)
            && self.task.as_ref().is_none_or(is_named)
    }
}
