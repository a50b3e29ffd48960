//! The tasks of the simulation: one of each sort of trouble.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{
    Ack, AsyncBody, Backoff, Envelope, Millis, Priority, QueueName, Registry, State, StateNeed,
    Task, TaskContext, TaskDef, TaskError, TaskId, TaskName, TaskOptions, When, mins, ms,
};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::history::{History, Run, What};
use crate::process::Process;

/// Attempts after the first that a task has.
pub const RETRIES: u32 = 3;

/// What a body does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Act {
    /// Ends at once.
    Quick,
    /// Ends after so many milliseconds, whatever its token says.
    Slow(u64),
    /// The same, but fails as soon as its token is cancelled.
    Polite(u64),
    /// Fails so often, then succeeds.
    Flaky(u32),
    /// Fails always.
    Fails,
    /// Panics at its first attempt.
    Panics,
    /// Kills its process.
    Poison,
}

/// Where a body runs, and who wants to know.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its process.
    pub process: Arc<Process>,
    /// What is seen.
    pub history: Arc<History>,
}

impl Task for Act {
    const NAME: &'static str = "act";
    type Output = u64;

    fn options() -> TaskOptions {
        TaskOptions::new()
            .max_retries(RETRIES)
            .backoff(Backoff::exponential(ms(100)).cap(ms(1500)))
    }
}

impl AsyncBody for Act {
    const NEEDS: &'static [StateNeed] = &[StateNeed::of::<Here>()];

    async fn run(self, context: TaskContext) -> Result<u64, TaskError> {
        let here: State<Here> = context.state()?;
        here.history.note(What::Began {
            process: here.process.name().to_owned(),
            id: context.id(),
            fence: context.fence(),
            attempt: context.attempt(),
        });
        let mut end = End {
            history: Arc::clone(&here.history),
            id: context.id(),
            fence: context.fence(),
            how: Run::Dropped,
        };
        let result = self.act(&context, &here).await;
        end.how = if result.is_ok() {
            Run::Succeeded
        } else {
            Run::Failed
        };
        result
    }
}

impl Act {
    async fn act(self, context: &TaskContext, here: &Here) -> Result<u64, TaskError> {
        match self {
            Self::Slow(span) => tokio::time::sleep(ms(span)).await,
            Self::Polite(span) => unless_cancelled(context, ms(span)).await?,
            Self::Flaky(times) if context.attempt() <= times => {
                return Err(TaskError::new("not yet"));
            }
            Self::Fails => return Err(TaskError::new("never")),
            // As `panic!` does, but for the message on stderr.
            Self::Panics if context.attempt() == 1 => {
                std::panic::resume_unwind(Box::new("as its message says"))
            }
            Self::Poison => {
                let name = here.process.name();
                here.history
                    .fault(format_args!("{name} is killed by a body"));
                here.process.kill();
                pending::<()>().await;
            }
            Self::Quick | Self::Flaky(_) | Self::Panics => {}
        }
        Ok(u64::from(context.attempt()))
    }
}

async fn unless_cancelled(context: &TaskContext, span: Duration) -> Result<(), TaskError> {
    tokio::select! {
        biased;
        () = context.cancellation().cancelled() => Err(TaskError::new("told to stop")),
        () = tokio::time::sleep(span) => Ok(()),
    }
}

/// Notes the end of a run, however it ends.
struct End {
    history: Arc<History>,
    id: TaskId,
    fence: u64,
    how: Run,
}

impl Drop for End {
    fn drop(&mut self) {
        self.history.note(What::Ended {
            id: self.id,
            fence: self.fence,
            how: self.how,
        });
    }
}

/// The tasks that a simulated worker knows.
pub fn registry() -> Registry {
    Registry::new()
        .with(TaskDef::asynchronous::<Act>())
        .build()
        .expect("one task of a good name")
}

/// A task as it is sent, and what its sender does with it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The task.
    pub envelope: Envelope,
    /// How long after the start it is sent.
    pub sent_after: Duration,
    /// How long after that its sender cancels it.
    pub cancelled_after: Option<Duration>,
    /// Whether its sender waits for its outcome.
    pub awaited: bool,
}

/// The jobs of one seed.
pub fn jobs(dice: &mut Dice, queues: &[QueueName], horizon: Duration) -> Vec<Job> {
    let count = dice.number(5..36);
    (1..=count).map(|n| job(dice, n, queues, horizon)).collect()
}

fn job(dice: &mut Dice, n: u64, queues: &[QueueName], horizon: Duration) -> Job {
    let act = match dice.number(0..20) {
        0..5 => Act::Quick,
        5..8 => Act::Slow(dice.number(1..3_000)),
        8..12 => Act::Polite(dice.number(1..8_000)),
        12..15 => Act::Flaky(1 + u32::try_from(dice.number(0..3)).unwrap_or(0)),
        15..17 => Act::Fails,
        17..19 => Act::Panics,
        _ => Act::Poison,
    };
    let queue = &queues[usize::try_from(n).unwrap_or(0) % queues.len()];
    let mut envelope = envelope(id(n), queue, &act);
    envelope.priority = Priority::new(u8::try_from(dice.number(0..10)).unwrap_or(5));
    if dice.chance(150) {
        // Retries are for those who ask for them: these shall start once.
        (envelope.ack, envelope.max_retries) = (Ack::Early, Some(0));
    }
    if dice.chance(200) {
        envelope.start = Some(When::In(dice.span(1..6_000)));
    }
    if dice.chance(150) {
        envelope.expires = Some(When::In(dice.span(1..8_000)));
    }
    if dice.chance(500) {
        envelope.result_ttl = Some(mins(10));
    }
    if dice.chance(100) {
        envelope.hard_timeout = Some(dice.span(100..4_000));
    }
    Job {
        envelope,
        sent_after: dice.moment(horizon),
        cancelled_after: dice.chance(120).then(|| dice.moment(ms(4_000))),
        awaited: dice.chance(300),
    }
}

/// The message `act`, as it is sent.
pub fn envelope(id: TaskId, queue: &QueueName, act: &Act) -> Envelope {
    let name = TaskName::parse(Act::NAME).expect("it is a constant");
    let args = lovage_core::encode_args(act).expect("it is an enum of numbers");
    Envelope {
        sent_at: Millis::default(),
        ..Envelope::new(id, name, queue.clone(), args)
    }
}

/// The id number `n`.
pub fn id(n: u64) -> TaskId {
    TaskId::from_bytes(u128::from(n).to_be_bytes())
}
