//! A client's handle on the schedules of its broker.

use lovage_beat::{Entry, Firing, Origin, Schedule, Standing, Timetable, TimetableError, Upserted};
use lovage_core::{Draft, Looked, Millis, NameError, ScheduleName, Task, TaskId, When};
use tokio::time::timeout;

use crate::any_broker::AnyBroker;
use crate::client::Client;
use crate::error::SendError;
use crate::gather::no_answer;
use crate::send::{IntoSending, envelope};

/// The schedules of a client's broker: see [`Client::schedules`]. Each call ends within the client's deadline.
#[derive(Clone, Debug)]
pub struct Schedules {
    client: Client,
    timetable: Timetable<AnyBroker>,
}

/// Why a schedule was not changed, or not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulesError {
    /// The schedule's name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its task cannot be sent as it was put together: nothing was changed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It was not changed, or may not be, or the broker did not answer.
    #[error(transparent)]
    Timetable(#[from] TimetableError),
}

impl Schedules {
    pub(super) fn of(client: Client) -> Self {
        let timetable = Timetable::new(client.broker().clone());
        Self { client, timetable }
    }

    /// Sends a message, or a [`Sending`](crate::Sending) with options of its own, when `schedule` says. One that was made
    /// at run time under this name becomes this one; with the same times it goes on where it stands.
    ///
    /// # Errors
    /// [`TimetableError::Owned`] if the name belongs to code or a file. A send with an id, or with an instant, fits no
    /// schedule: each firing has its own.
    ///
    /// # Cancel safety
    /// A future that is dropped may or may not have made the change.
    pub async fn upsert(
        &self,
        name: &str,
        schedule: Schedule,
        sending: impl IntoSending,
    ) -> Result<Upserted, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        let (message, parts) = sending.parts();
        fits_each_firing(&parts.0, task_name(&message))?;
        let template = envelope(parts.0, &message, Millis::default())?;
        let entry = Entry::new(name, schedule, Origin::Runtime, template);
        self.within(self.timetable.upsert(entry)).await
    }

    /// The schedules in the order of their names, from the first behind `after` on, at most `limit` and a thousand; and
    /// the broker's time. Empty where there are no more.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Looked<Vec<Standing>>, SchedulesError> {
        let after = after.map(ScheduleName::parse).transpose()?;
        self.within(self.timetable.list(after.as_ref(), limit))
            .await
    }

    /// One schedule as it stands, if there is one of this name.
    pub async fn get(&self, name: &str) -> Result<Option<Standing>, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        let looked = self.within(self.timetable.get(&name)).await?;
        Ok(looked.found)
    }

    /// Lets it fire no more until it is resumed, whoever made it. Answers whether it did before.
    pub async fn pause(&self, name: &str) -> Result<bool, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        self.within(self.timetable.pause(&name)).await
    }

    /// Lets it fire again, with its first occurrence from now on. Answers whether it was paused.
    pub async fn resume(&self, name: &str) -> Result<bool, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        self.within(self.timetable.resume(&name)).await
    }

    /// Removes one that was made at run time, with its history; `false` if there is none. What it has sent goes on.
    ///
    /// # Errors
    /// [`TimetableError::Owned`] if it belongs to code or a file.
    pub async fn delete(&self, name: &str) -> Result<bool, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        self.within(self.timetable.delete(&name)).await
    }

    /// Sends its task now, beside its occurrences, whether it is paused or not.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`](crate::BrokerError::Unknown) if no answer came: it may have been sent.
    pub async fn run_now(&self, name: &str) -> Result<TaskId, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        self.within(self.timetable.run_now(&name)).await
    }

    /// What became of its last occurrences, newest first, at most `limit` of the hundred that are remembered.
    pub async fn firings(&self, name: &str, limit: usize) -> Result<Vec<Firing>, SchedulesError> {
        let name = ScheduleName::parse(name)?;
        self.within(self.timetable.firings(&name, limit)).await
    }

    fn within<T>(
        &self,
        call: impl Future<Output = Result<T, TimetableError>> + Send,
    ) -> impl Future<Output = Result<T, SchedulesError>> + Send {
        // A change is read, decided and made: too much to be part of each caller's own future.
        let call = Box::pin(call);
        let deadline = self.client.deadline();
        async move {
            let answer = timeout(deadline, call).await;
            Ok(answer.unwrap_or_else(|_| Err(no_answer().into()))?)
        }
    }
}

fn task_name<T: Task>(_: &T) -> &'static str {
    T::NAME
}

/// Refuses what a firing has of its own, and would be lost or wrong.
fn fits_each_firing(draft: &Draft, task: &'static str) -> Result<(), SendError> {
    let refused = if draft.id.is_some() {
        "each firing has an id of its own; remove .id(..)"
    } else if draft.start.is_some() {
        "each firing starts when its schedule says; remove .eta(..) or .countdown(..)"
    } else if matches!(draft.expires, Some(When::At(_))) {
        "from one instant on all firings would be expired; say .expires(span), or let the schedule end"
    } else {
        return Ok(());
    };
    Err(SendError::invalid(task, &refused))
}
