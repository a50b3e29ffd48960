//! The tasks of the simulation: one of each sort of trouble.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{
    Ack, AsyncBody, Backoff, Callback, Conflict, Envelope, FailedTask, Lane, Lock, LockKey, Millis,
    Priority, QueueName, Registry, State, StateNeed, SyncBody, Task, TaskContext, TaskDef,
    TaskError, TaskId, TaskName, TaskOptions, Until, When, hours, mins, ms,
};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::history::{History, Run, What};
use crate::process::Process;
use crate::thread;

/// Attempts after the first that a task has.
pub const RETRIES: u32 = 3;
/// The keys of unique tasks, in each queue: few, so that they meet.
const KEYS: u64 = 3;
/// The header that says whose message a task has: that of another one may take its place.
const SENT: &str = "sent";

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
    /// Fails at its first attempt, and asks for the next after so many milliseconds.
    Later(u64),
    /// Asks so often to run again after so many milliseconds, without an attempt being counted.
    Snoozes(u32, u64),
    /// Fails always.
    Fails,
    /// Fails, and says that no further attempt would help.
    Hopeless,
    /// Panics at its first attempt.
    Panics,
    /// Kills its process.
    Poison,
}

/// An act on a thread that may block.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OnThread(Act);

/// What is called when a task has failed for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Called {
    failed: FailedTask,
}

/// Where a body runs, and who wants to know.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its process.
    pub process: Arc<Process>,
    /// What is seen.
    pub history: Arc<History>,
}

fn options() -> TaskOptions {
    TaskOptions::new()
        .max_retries(RETRIES)
        .backoff(Backoff::exponential(ms(100)).cap(ms(1500)))
}

impl Task for Act {
    const NAME: &'static str = "act";
    type Output = u64;

    fn options() -> TaskOptions {
        options()
    }
}

impl AsyncBody for Act {
    const NEEDS: &'static [StateNeed] = &[StateNeed::of::<Here>()];

    async fn run(self, context: TaskContext) -> Result<u64, TaskError> {
        let here: State<Here> = context.state()?;
        let run = begin(&context, &here);
        run.end(match self {
            Self::Slow(span) => {
                tokio::time::sleep(ms(span)).await;
                Ok(())
            }
            Self::Polite(span) => unless_cancelled(&context, ms(span)).await,
            Self::Poison => {
                here.poison();
                pending().await
            }
            _ => self.at_once(&context),
        })
    }
}

impl Task for OnThread {
    const NAME: &'static str = "act_on_a_thread";
    type Output = u64;

    fn options() -> TaskOptions {
        options()
    }
}

impl SyncBody for OnThread {
    const NEEDS: &'static [StateNeed] = Act::NEEDS;
    const LANE: Lane = Lane::Cpu;

    fn run(self, context: TaskContext) -> Result<u64, TaskError> {
        let here: State<Here> = context.state()?;
        let run = begin(&context, &here);
        run.end(match self.0 {
            Act::Slow(span) => {
                thread::block(ms(span));
                Ok(())
            }
            Act::Polite(span) => in_steps(&context, ms(span)),
            Act::Poison => {
                here.poison();
                thread::block(Duration::MAX);
                Ok(())
            }
            act => act.at_once(&context),
        })
    }
}

impl Task for Called {
    const NAME: &'static str = "called";
    type Output = u64;

    fn options() -> TaskOptions {
        options()
    }
}

impl AsyncBody for Called {
    const NEEDS: &'static [StateNeed] = Act::NEEDS;

    async fn run(self, context: TaskContext) -> Result<u64, TaskError> {
        let here: State<Here> = context.state()?;
        let run = begin(&context, &here);
        let (of, died_at) = (self.failed.id, self.failed.died_at);
        here.history.note(What::Heard {
            call: context.id(),
            of,
            died_at,
        });
        run.end(Ok(()))
    }
}

impl Act {
    /// What takes no time.
    fn at_once(self, context: &TaskContext) -> Result<(), TaskError> {
        match self {
            Self::Flaky(times) if context.attempt() <= times => Err(TaskError::new("not yet")),
            Self::Later(span) if context.attempt() == 1 => {
                Err(context.retry("not now").after(ms(span)))
            }
            Self::Snoozes(times, span) if context.snoozes() < times => {
                Err(context.snooze(ms(span)))
            }
            Self::Fails => Err(TaskError::new("never")),
            Self::Hopeless => Err(TaskError::permanent(TaskError::new("never ever"))),
            // As `panic!` does, but for the message on stderr.
            Self::Panics if context.attempt() == 1 => {
                std::panic::resume_unwind(Box::new("as its message says"))
            }
            _ => Ok(()),
        }
    }
}

impl Here {
    fn poison(&self) {
        let name = self.process.name();
        self.history
            .fault(format_args!("{name} is killed by a body"));
        self.process.kill();
    }
}

async fn unless_cancelled(context: &TaskContext, span: Duration) -> Result<(), TaskError> {
    tokio::select! {
        biased;
        () = context.cancellation().cancelled() => Err(TaskError::new("told to stop")),
        () = tokio::time::sleep(span) => Ok(()),
    }
}

fn in_steps(context: &TaskContext, span: Duration) -> Result<(), TaskError> {
    const STEPS: u32 = 10;
    for _ in 0..STEPS {
        if context.is_cancelled() {
            return Err(TaskError::new("told to stop"));
        }
        thread::block(span / STEPS);
    }
    Ok(())
}

/// Notes that a run begins, and how it ends.
fn begin(context: &TaskContext, here: &Here) -> End {
    let sent = context.headers().get(SENT);
    here.history.note(What::Began {
        process: here.process.name().to_owned(),
        id: context.id(),
        fence: context.fence(),
        attempt: context.attempt(),
        snoozes: context.snoozes(),
        sent: sent.map_or(context.id(), |n| id(n.parse().expect("it is a number"))),
    });
    End {
        history: Arc::clone(&here.history),
        id: context.id(),
        fence: context.fence(),
        attempt: context.attempt(),
        how: Run::Dropped,
    }
}

/// Notes the end of a run, however it ends.
struct End {
    history: Arc<History>,
    id: TaskId,
    fence: u64,
    attempt: u32,
    how: Run,
}

impl End {
    fn end(mut self, result: Result<(), TaskError>) -> Result<u64, TaskError> {
        self.how = match &result {
            Ok(()) => Run::Succeeded,
            Err(error) => match (error.snoozes_for(), error.delay()) {
                (Some(span), _) => Run::Snoozed(span),
                (None, Some(span)) => Run::FailedFor(span),
                (None, None) if error.is_permanent() => Run::FailedForGood,
                (None, None) => Run::Failed,
            },
        };
        result.map(|()| u64::from(self.attempt))
    }
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
        .with(TaskDef::synchronous::<OnThread>())
        .with(TaskDef::asynchronous::<Called>())
        .build()
        .expect("their names are good")
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
    /// How long after it was sent somebody sends it once more.
    pub repeated_after: Option<Duration>,
    /// How long after it was sent somebody revives it, if it is a dead letter by then.
    pub revived_after: Option<Duration>,
    /// Whether its sender waits for its outcome.
    pub awaited: bool,
}

/// The jobs of one seed.
pub fn jobs(dice: &mut Dice, queues: &[QueueName], horizon: Duration) -> Vec<Job> {
    let count = dice.number(5..36);
    (1..=count).map(|n| job(dice, n, queues, horizon)).collect()
}

fn job(dice: &mut Dice, n: u64, queues: &[QueueName], horizon: Duration) -> Job {
    let act = match dice.number(0..24) {
        0..5 => Act::Quick,
        5..8 => Act::Slow(dice.number(1..3_000)),
        8..12 => Act::Polite(dice.number(1..8_000)),
        12..15 => Act::Flaky(1 + u32::try_from(dice.number(0..3)).unwrap_or(0)),
        15 => Act::Later(dice.number(10..4_000)),
        16..18 => Act::Snoozes(
            1 + u32::try_from(dice.number(0..5)).unwrap_or(0),
            dice.number(10..1_000),
        ),
        18..20 => Act::Fails,
        20 => Act::Hopeless,
        21..23 => Act::Panics,
        _ => Act::Poison,
    };
    let queue = &queues[usize::try_from(n).unwrap_or(0) % queues.len()];
    let mut envelope = envelope(id(n), queue, &act);
    envelope.headers.insert(SENT.to_owned(), n.to_string());
    let on_thread = dice.chance(250);
    if on_thread {
        envelope.task = name(OnThread::NAME);
    }
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
    // A body on a thread goes on where it is given up: then one task may have two runs, as docs/guarantees.md says.
    if dice.chance(100) && !on_thread {
        envelope.hard_timeout = Some(dice.span(100..4_000));
    }
    if dice.chance(350) {
        envelope.unique = Some(lock(dice));
    }
    if dice.chance(200) {
        // Of an at-most-once task for longer than anybody sends it again.
        envelope.remembered = Some(match envelope.ack {
            Ack::Early => hours(1),
            Ack::Late => dice.span(500..20_000),
        });
    }
    if dice.chance(300) {
        let to = usize::try_from(dice.number(0..queues.len() as u64)).unwrap_or(0);
        envelope.on_failure = Some(Callback {
            task: name(Called::NAME),
            queue: queues[to].clone(),
            priority: Priority::default(),
            ack: Ack::Late,
            on_failure: None,
        });
    }
    // Whoever sends an at-most-once task again without a key lets it run again.
    let may_be_repeated = envelope.ack == Ack::Late || envelope.remembered.is_some();
    Job {
        sent_after: dice.moment(horizon),
        cancelled_after: dice.chance(120).then(|| dice.moment(ms(4_000))),
        repeated_after: (may_be_repeated && dice.chance(200)).then(|| dice.moment(ms(10_000))),
        revived_after: dice.chance(200).then(|| dice.moment(ms(20_000))),
        awaited: dice.chance(300),
        envelope,
    }
}

/// One of few keys, held in one of all the ways there are.
fn lock(dice: &mut Dice) -> Lock {
    let key = u8::try_from(dice.number(0..KEYS)).unwrap_or(0);
    let until = match dice.number(0..6) {
        0..4 => Until::Done,
        4 => Until::Start,
        _ => Until::Elapsed(dice.span(200..6_000)),
    };
    let conflict = match dice.number(0..5) {
        0..2 => Conflict::Reject,
        2..4 => Conflict::Replace,
        _ => Conflict::Debounce {
            span: dice.span(50..2_000),
            wait_max: dice.chance(500).then(|| dice.span(50..4_000)),
        },
    };
    let has_ttl = dice.chance(150) && !matches!(until, Until::Elapsed(_));
    Lock {
        key: LockKey::from_bytes([key; 16]),
        until,
        conflict,
        ttl: has_ttl.then(|| dice.span(100..8_000)),
    }
}

/// The message `act`, as it is sent.
pub fn envelope(id: TaskId, queue: &QueueName, act: &Act) -> Envelope {
    let args = lovage_core::encode_args(act).expect("it is an enum of numbers");
    Envelope {
        sent_at: Millis::default(),
        ..Envelope::new(id, name(Act::NAME), queue.clone(), args)
    }
}

fn name(text: &str) -> TaskName {
    TaskName::parse(text).expect("it is a constant")
}

/// The id number `n`: before the last four bytes, which say only where a task is.
pub fn id(n: u64) -> TaskId {
    TaskId::from_bytes((u128::from(n) << 32).to_be_bytes())
}
