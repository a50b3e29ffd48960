//! One child that runs tasks: started, spoken to, and its end explained.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{TaskError, secs};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::frames::{Incoming, Order, Report, encode};
use super::leash::Leash;
use super::words::LAST_MAX;

/// How long a child may take to become ready: the start of the program, and of its states.
const START_MAX: Duration = secs(60);
/// How long a process may take to end when it has hung up, or was told to.
const END_MAX: Duration = secs(2);

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum NoChild {
    /// The host gives none: no fault of a task.
    Host(io::Error),
    /// It was started, and cannot run tasks.
    Unfit(TaskError),
}

/// A child at the disposal of one run. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    channel: UnixStream,
    incoming: Incoming,
    leash: Arc<Leash>,
    pub(crate) memory: Option<u64>,
    pub(crate) runs: u32,
    pub(crate) idle_since: Instant,
}

impl Child {
    /// Starts one, and waits until it is ready.
    pub(crate) async fn start(
        memory: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, NoChild> {
        let (ours, theirs) = StdUnixStream::pair().map_err(NoChild::Host)?;
        ours.set_nonblocking(true).map_err(NoChild::Host)?;
        let channel = UnixStream::from_std(ours).map_err(NoChild::Host)?;
        let leash = Leash::take(theirs, permit).await.map_err(NoChild::Host)?;
        let mut child = Self {
            channel,
            incoming: Incoming::default(),
            leash,
            memory,
            runs: 0,
            idle_since: Instant::now(),
        };
        let ready = timeout(START_MAX, async {
            child.send(&Order::Setup { memory }).await?;
            child.receive().await
        });
        match ready.await {
            Ok(Ok(Some(Report::Ready))) => Ok(child),
            Ok(Ok(Some(Report::Unfit(reason)))) => Err(NoChild::Unfit(TaskError::crashed(
                format_args!("a child process cannot run tasks: {reason}"),
                "",
            ))),
            Ok(_) => {
                let crash = child.crash("a child process was to start, and").await;
                Err(NoChild::Unfit(crash))
            }
            Err(_) => {
                child.leash.kill();
                let words = child.leash.words.last().await;
                Err(NoChild::Unfit(TaskError::crashed(
                    format_args!(
                        "a child process was not ready within {START_MAX:?}: the program must reach \
                         lovage::process::init() or lovage::worker::run_cli() before it does anything slow"
                    ),
                    &words.text,
                )))
            }
        }
    }

    /// A run begins.
    pub(crate) fn begin(&mut self) {
        self.runs += 1;
        self.leash.words.forget();
    }

    pub(crate) async fn send(&mut self, order: &Order) -> io::Result<()> {
        let frame = encode(order)?;
        self.channel.write_all(&frame).await
    }

    /// The next report; `None` where the process has hung up or ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Report>> {
        tokio::select! {
            biased;
            report = self.incoming.read(&mut self.channel) => return report,
            _ = self.leash.ended() => {}
        }
        // What it has said arrives, but not always an end: a process that it left behind may hold the channel open.
        let last = timeout(LAST_MAX, self.incoming.read(&mut self.channel));
        last.await.unwrap_or(Ok(None))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.leash.has_ended()
    }

    /// Why this child hung up, as a failure of what `whose` names.
    pub(crate) async fn crash(self, whose: &str) -> TaskError {
        // One that is ending shall have its own status; one that only hung up is ended.
        let mut ended = timeout(END_MAX, self.leash.ended()).await;
        let ended_itself = ended.is_ok();
        if !ended_itself {
            self.leash.kill();
            ended = Ok(self.leash.ended().await);
        }
        let words = self.leash.words.last().await;
        let status = match ended.ok().flatten() {
            Some(status) if ended_itself => format!("ended without an answer ({status})"),
            Some(_) => String::from("hung up without an answer, and was killed"),
            None => String::from("ended without an answer (its status is not known)"),
        };
        let memory = match self.memory {
            Some(limit) if words.out_of_memory => {
                format!(": it ran out of its memory limit of {limit} bytes")
            }
            Some(limit) => format!("; its memory limit was {limit} bytes"),
            None => String::new(),
        };
        TaskError::crashed(format_args!("{whose} {status}{memory}"), &words.text)
    }

    /// Lets an idle process end by itself, and sees to it that it does.
    pub(crate) fn end(mut self) {
        tokio::spawn(async move {
            if self.send(&Order::End).await.is_ok() {
                tokio::select! {
                    _ = self.leash.ended() => {}
                    () = sleep(END_MAX) => {}
                }
            }
        });
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.leash.kill();
    }
}
