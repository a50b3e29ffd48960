//! Where a child process begins: it recognises itself, and runs what it is told until its worker hangs up.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use lovage_core::{
    CancellationToken, CarriedError, Envelope, Fence, Handler, Millis, Registry, States,
    TaskContext, TaskError,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, kill_current_process_group, setrlimit,
};
use tokio::runtime::Handle;
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
        ignore_signals()?;
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
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        drop(signal(kind)?);
    }
    Ok(())
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
    fn serve(&mut self, mut reports: UnixStream, runtime: Handle) -> io::Result<()> {
        let Some(Order::Setup { memory }) = read(&mut self.orders)? else {
            return Err(io::Error::other("the worker did not say how to begin"));
        };
        let (give, runs) = mpsc::channel();
        let (registry, states) = (Arc::clone(&self.registry), Arc::clone(&self.states));
        let mut answers = reports.try_clone()?;
        let fit = limit_memory(memory).and_then(|()| {
            let bodies = move || {
                let _inside = runtime.enter();
                for run in runs {
                    if work(&registry, &states, run, memory, &mut answers).is_err() {
                        return;
                    }
                }
            };
            spawn("lovage-body", bodies)
        });
        if let Err(error) = fit {
            return reports.write_all(&encode(&Report::Unfit(error.to_string()))?);
        }
        reports.write_all(&encode(&Report::Ready)?)?;
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
                    if give.send((context, start_by_ns)).is_err() {
                        return Err(io::Error::other("the thread of the bodies has ended"));
                    }
                }
                Order::Cancel => token.cancel(),
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
    answers: &mut UnixStream,
) -> io::Result<()> {
    // A host that was frozen wakes up here: others may run this task already (guarantee 2).
    if start_by_ns <= monotonic_ns() {
        return answers.write_all(&encode(&Report::NotStarted)?);
    }
    let end = run(registry, states, context);
    let end = match end {
        Ok(value) if value.len() < FRAME_BYTES_MAX / 2 => Ending::Value(value.into()),
        Ok(value) => {
            let text = format!("ran, but its result of {} bytes is not kept", value.len());
            Ending::Error(CarriedError::from(&TaskError::malformed(anyhow::anyhow!(
                text
            ))))
        }
        Err(error) => Ending::Error(CarriedError::from(&error)),
    };
    // What a body leaves behind counts against the limit of the next: it shall have at least the half.
    let spent = memory.is_some_and(|limit| limit / 2 < crate::limits::data_bytes().unwrap_or(0));
    answers.write_all(&encode(&Report::Ended { end, spent })?)
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
    caught(|| handler(context, args)).and_then(|end| end)
}
