//! Where a child process begins: it recognises itself, and runs what it is told until its worker hangs up.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use bytes::Bytes;
use lovage_core::{
    CancellationToken, CarriedError, Envelope, Fence, Handler, Millis, Progress, Registry, States,
    TaskContext, TaskError, WeakTaskContext,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, kill_current_process_group, setrlimit,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::frames::{Ending, FRAME_BYTES_MAX, Order, Report, RunOrder, encode, read};
use super::{PARENT_VARIABLE, PROGRAM_NAME, monotonic_ns};
use crate::layers::catch_panic::caught;
use crate::panics;

/// Whether this program has looked whether it is a child: one that has not must not start any.
static LOOKED: AtomicBool = AtomicBool::new(false);

/// Proof that this process is a child of a worker's process lane.
#[derive(Debug)]
pub struct Entry {
    channel: UnixStream,
}

/// Why a process cannot tell whether it is a child, or cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Whatever started this process did not pass on its name: it is a child that would become a worker.
    #[error(
        "this is a child of the process lane that was not called {PROGRAM_NAME}: what starts the program (a wrapper, an \
         emulator) does not pass on argument 0, so tasks of the process lane cannot be run through it"
    )]
    Renamed,
    /// The system lets it ignore no signals.
    #[error("this child of the process lane cannot leave signals to its worker: {0}")]
    Signals(#[source] io::Error),
    /// Its standard input is not what a worker gives it, or cannot be replaced.
    #[error("this is a child of the process lane without a channel to its worker: {0}")]
    Channel(#[source] io::Error),
}

/// Looks whether this process is a child of a worker's process lane. To be called early in `main`, before anything that
/// only one process can do, such as listening on a port. Where it is, [`Entry::serve`] is all that it may do from then on.
///
/// # Errors
/// If it is one that cannot work.
pub fn entry() -> Result<Option<Entry>, EntryError> {
    if is_child() {
        ignore_signals().map_err(EntryError::Signals)?;
        return Entry::take().map(Some).map_err(EntryError::Channel);
    }
    let parent = getppid().map(|pid| pid.to_string());
    if parent.is_some() && std::env::var(PARENT_VARIABLE).ok() == parent {
        return Err(EntryError::Renamed);
    }
    LOOKED.store(true, Ordering::Relaxed);
    Ok(None)
}

fn is_child() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| name == PROGRAM_NAME)
}

/// Whether children of this process would find their entry.
pub(crate) fn entry_is_there() -> bool {
    LOOKED.load(Ordering::Relaxed) && !is_child()
}

impl Entry {
    /// Takes the channel from standard input, and leaves nothing to be read there: a body cannot break a frame.
    fn take() -> io::Result<Self> {
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        let nothing = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(nothing)?;
        let channel = UnixStream::from(channel);
        // Anything else that was given as standard input fails here.
        channel.peer_addr()?;
        Ok(Self { channel })
    }

    /// Runs tasks of `registry` for the worker until it hangs up. Where it was killed, this process is killed as well,
    /// with all that its bodies have started.
    ///
    /// # Errors
    /// If the system refuses something.
    pub async fn serve(self, registry: Registry, states: States) -> anyhow::Result<()> {
        panics::watch();
        let mut server = Server {
            orders: self.channel.try_clone()?,
            registry: Arc::new(registry),
            states: Arc::new(states),
        };
        let hangup = self.channel.try_clone()?;
        spawn("lovage-hangup", move || end_with_worker(&hangup))?;
        let (tell, told) = oneshot::channel();
        let runtime = Handle::current();
        spawn("lovage-orders", move || {
            let _ = tell.send(server.serve(self.channel, runtime));
        })?;
        told.await??;
        Ok(())
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

/// A supervisor that stops a service signals all its processes, and a terminal all in its foreground; whether this one
/// shall end is its worker's to decide. Handlers are not inherited by programs that a body starts.
fn ignore_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // The caller need not be on a runtime. A handler stays when the one that it was asked of is gone.
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let mut kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .into_iter();
    let ignored = kinds.try_for_each(|kind| signal(kind).map(drop));
    drop(inside);
    // Without a wait, which is forbidden on a runtime.
    runtime.shutdown_background();
    ignored
}

/// Ends this process and its group when the worker is gone, whatever the body does. Between here and the kill nothing
/// allocates or locks: a body may have broken the one and hold the other.
fn end_with_worker(channel: &UnixStream) {
    loop {
        let mut fds = [PollFd::new(channel, PollFlags::empty())];
        let seen = poll(&mut fds, None);
        if seen.is_ok_and(|seen| 0 < seen) {
            kill_group();
        }
    }
}

fn kill_group() {
    // The signal is this process's as well: what fails is tried again by whoever calls.
    let _ = kill_current_process_group(Signal::KILL);
}

struct Server {
    orders: UnixStream,
    registry: Arc<Registry>,
    states: Arc<States>,
}

impl Server {
    fn serve(&mut self, channel: UnixStream, runtime: Handle) -> io::Result<()> {
        let Some(Order::Setup { memory }) = read(&mut self.orders)? else {
            return Err(io::Error::other("the worker did not say how to begin"));
        };
        let (give, runs) = mpsc::channel();
        let (registry, states) = (Arc::clone(&self.registry), Arc::clone(&self.states));
        let reports = Arc::new(Reports::new(channel));
        let answers = Arc::clone(&reports);
        let fit = limit_memory(memory).and_then(|()| {
            let bodies = move || {
                let (_inside, _guard) = (runtime.enter(), AbortOnPanic);
                for run in runs {
                    if work(&registry, &states, run, memory, &answers).is_err() {
                        return;
                    }
                }
            };
            spawn("lovage-body", bodies)
        });
        if let Err(error) = fit {
            return reports.send(&Report::Unfit(error.to_string()));
        }
        reports.send(&Report::Ready)?;
        let mut token = CancellationToken::new();
        loop {
            // Hung up, or broken: the same to the worker, which is gone or has given this process up. To return would
            // end it without its group.
            let Ok(Some(order)) = read(&mut self.orders) else {
                kill_group();
                continue;
            };
            match order {
                Order::Run(order) => {
                    token = CancellationToken::new();
                    let start_by_ns = order.start_by_ns;
                    let context = self.context(order, token.clone())?;
                    reports.begins(&context);
                    if give.send((context, start_by_ns)).is_err() {
                        return Err(io::Error::other("the thread of the bodies has ended"));
                    }
                }
                Order::Cancel => token.cancel(),
                Order::TellProgress => reports.tell_progress()?,
                Order::Setup { .. } => {}
                Order::End => return Ok(()),
            }
        }
    }

    fn context(&self, order: RunOrder, token: CancellationToken) -> io::Result<TaskContext> {
        let envelope = Envelope::decode(&Bytes::from(order.envelope)).map_err(io::Error::other)?;
        let fence = Fence {
            number: order.fence,
            claimed_at: Millis::new(order.claimed_at_ms),
        };
        let states = Arc::clone(&self.states);
        Ok(TaskContext::new(
            envelope,
            fence,
            order.losses,
            order.snoozes,
            token,
            states,
        ))
    }
}

/// What this process says to its worker, a frame at a time.
struct Reports(Mutex<Speaker>);

struct Speaker {
    channel: UnixStream,
    /// The run under way, and what was last told of it.
    run: Option<WeakTaskContext>,
    told: Option<Progress>,
}

impl Reports {
    fn new(channel: UnixStream) -> Self {
        Self(Mutex::new(Speaker {
            channel,
            run: None,
            told: None,
        }))
    }

    fn begins(&self, context: &TaskContext) {
        let mut speaker = self.speaker();
        (speaker.run, speaker.told) = (Some(context.downgrade()), None);
    }

    /// Sends what is the last of a run, if there is one.
    fn send(&self, report: &Report) -> io::Result<()> {
        let frame = encode(report)?;
        let mut speaker = self.speaker();
        speaker.run = None;
        speaker.channel.write_all(&frame)
    }

    fn tell_progress(&self) -> io::Result<()> {
        let mut speaker = self.speaker();
        let context = speaker.run.as_ref().and_then(WeakTaskContext::upgrade);
        let note = context.and_then(|context| context.last_progress());
        let news = note.filter(|note| speaker.told.as_ref() != Some(note));
        let frame = encode(&Report::Progress(news.clone()))?;
        speaker.told = news.or(speaker.told.take());
        speaker.channel.write_all(&frame)
    }

    fn speaker(&self) -> MutexGuard<'_, Speaker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the process where the thread of the bodies ends by a panic: nobody would answer for the run any more.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// Of what a process may have, `RLIMIT_DATA` counts what it can write and shares with nobody. `RLIMIT_AS` would count
/// files that are mapped and what the allocator reserves for each thread and never uses.
fn limit_memory(limit: Option<u64>) -> io::Result<()> {
    let Some(limit) = limit else {
        return Ok(());
    };
    let present = getrlimit(Resource::Data).maximum;
    let limit = Some(present.map_or(limit, |present| present.min(limit)));
    let both = Rlimit {
        current: limit,
        maximum: limit,
    };
    Ok(setrlimit(Resource::Data, both)?)
}

fn work(
    registry: &Registry,
    states: &States,
    (context, start_by_ns): (TaskContext, u64),
    memory: Option<u64>,
    reports: &Reports,
) -> io::Result<()> {
    // A host that was frozen wakes up here: others may run this task already (guarantee 2).
    if start_by_ns <= monotonic_ns() {
        return reports.send(&Report::NotStarted);
    }
    // The error is the user's: it may panic where it is shown, and where it is dropped.
    let end = caught(|| ending(run(registry, states, context)));
    let end = end.unwrap_or_else(|error| Ending::Error(CarriedError::from(&error)));
    // What a body leaves behind counts against the limit of the next: it shall have at least the half.
    let spent = memory.is_some_and(|limit| limit / 2 < crate::limits::data_bytes().unwrap_or(0));
    reports.send(&Report::Ended { end, spent })
}

fn ending(end: Result<Bytes, TaskError>) -> Ending {
    match end {
        Ok(value) if value.len() < FRAME_BYTES_MAX / 2 => Ending::Value(value.into()),
        Ok(value) => {
            let text = format!("ran, but its result of {} bytes is not kept", value.len());
            Ending::Error(CarriedError::from(&TaskError::malformed(anyhow::anyhow!(
                text
            ))))
        }
        Err(error) => Ending::Error(CarriedError::from(&error)),
    }
}

fn run(registry: &Registry, states: &States, context: TaskContext) -> Result<Bytes, TaskError> {
    let Some(task) = registry.get(context.task().as_str()) else {
        return Err(TaskError::new("the child process does not know this task"));
    };
    if let Some(missing) = task.needs.iter().find(|need| !states.has(need)) {
        return Err(TaskError::new(format_args!(
            "the task takes State<{}>, which the child process has not; give it to lovage::process::init_with(..)",
            missing.name()
        )));
    }
    let Handler::Sync(handler) = task.handler else {
        return Err(TaskError::new(
            "the body awaits, and cannot run in a child process",
        ));
    };
    let args = context.envelope().args.clone();
    handler(context, args)
}
