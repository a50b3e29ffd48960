//! The thread that keeps this worker's leases: with its own runtime and its own connection, so that neither a body that
//! blocks every thread of the user's runtime nor bulk traffic can lose them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lovage_core::{
    BrokerError, CancellationToken, Fence, Membership, Renewal, Retention, TaskId, TransportError,
    WorkerId, ms, secs,
};
use lovage_process::{Home, Monotonic};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::recovery;
use crate::reporter::Reporter;
use crate::shutdown::RETIRE_MAX;
use crate::stats::Counters;
use crate::tenure::{Seat, Tenure};
use crate::watchdog::{Heartbeat, LOOK_EVERY, Watchdog};
use crate::worker::CrashWatch;

/// Renewals a lease: two may be lost before it ends.
const RENEWALS: u32 = 3;

/// What the lease thread tells the pump. A notice that finds no room is dropped: each is told again at a later renewal.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A lease is good; perhaps again, perhaps for a new identity.
    Good,
    /// A report is due: list what runs.
    List,
    /// Somebody cancelled these.
    Cancelled {
        queue: usize,
        worker: WorkerId,
        ids: Vec<TaskId>,
    },
    /// What the broker says that we held at some instant after `asked`.
    Holdings {
        queue: usize,
        worker: WorkerId,
        held: Vec<(TaskId, Fence)>,
        asked: Instant,
    },
}

/// What the thread works with.
pub(crate) struct Keeper<B> {
    pub(crate) broker: B,
    pub(crate) seats: Arc<[Arc<Seat>]>,
    pub(crate) lease: Duration,
    /// How many dead letters the queues keep, if this worker sets it.
    pub(crate) dead_letters: Option<Retention>,
    pub(crate) notices: mpsc::Sender<Notice>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) counters: Arc<Counters>,
    /// Cancelled when the pump has ended.
    pub(crate) ended: CancellationToken,
    /// Cancelled when the callbacks that were sent by then are noted.
    pub(crate) called_back: CancellationToken,
    /// Cancelled when this thread has.
    pub(crate) gone: CancellationToken,
    pub(crate) crashed: Arc<AtomicBool>,
    pub(crate) clock: Monotonic,
}

impl<B: Membership> Keeper<B> {
    /// Starts the thread; it ends by itself after `ended`. A simulated process has none: there it is a part like others.
    pub(crate) fn start(mut self, home: &Home) -> io::Result<()> {
        let (gone, crashed) = (self.gone.clone(), Arc::clone(&self.crashed));
        let keep = async move {
            let (_gone, _crash) = (gone.drop_guard(), CrashWatch(crashed));
            self.run().await;
        };
        if home.is_hosted() {
            home.spawn(keep);
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name(String::from("lovage-lease"))
            .spawn(move || {
                runtime.block_on(keep);
                runtime.shutdown_background();
            })?;
        Ok(())
    }

    async fn run(&mut self) {
        let ended = self.ended.clone();
        let connected = tokio::select! {
            biased;
            () = ended.cancelled() => None,
            broker = self.connect() => Some(broker),
        };
        let Some(broker) = connected else { return };
        self.broker = broker;
        let seats = join_all((0..self.seats.len()).map(|queue| self.keep(queue)));
        let patience = self.lease / RENEWALS;
        let counters = &self.counters;
        let recovery = recovery::recover_forever(&self.broker, &self.seats, patience, counters);
        tokio::select! {
            biased;
            () = ended.cancelled() => {}
            _ = async { tokio::join!(seats, recovery, self.retain(), self.report(), self.watch()) } => {}
        }
        let retired = timeout(
            RETIRE_MAX,
            join_all(self.seats.iter().map(|seat| self.retire(seat))),
        );
        let called_back = timeout(RETIRE_MAX, self.called_back.cancelled());
        let (retired, _) = tokio::join!(retired, called_back);
        if retired.is_err() {
            tracing::warn!(
                "the broker does not answer; this worker's identity ends with its lease"
            );
        }
    }

    async fn connect(&self) -> B {
        let mut told = false;
        loop {
            match self.broker.separate().await {
                Ok(broker) => return broker,
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(%error, "no connection for the lease; trying again");
                }
                Err(_) => {}
            }
            sleep(ms(500)).await;
        }
    }

    /// Sets how many dead letters the queues keep, if this worker was told to.
    async fn retain(&self) {
        let Some(retention) = self.dead_letters else {
            return;
        };
        join_all(self.seats.iter().map(|seat| async move {
            let mut trouble = seat.trouble();
            while let Err(error) = self
                .bounded(self.broker.retain(&seat.queue, retention))
                .await
            {
                trouble.failed(&seat.queue, "retain", &error);
                trouble.wait().await;
            }
            trouble.worked(&seat.queue);
            tracing::info!(queue = %seat.queue, %retention, "the queue is told how many dead letters it keeps");
        }))
        .await;
    }

    /// Tells the queues what this worker is and what it is at, as often as it renews. Beside the renewals, which must not
    /// wait for it.
    async fn report(&self) {
        let mut told = false;
        loop {
            self.tell(Notice::List);
            self.reporter.listed().await;
            let now = self.clock.now();
            let mut all = true;
            for seat in &*self.seats {
                let Some(tenure) = seat.tenure().filter(|tenure| !tenure.is_lost()) else {
                    all = false;
                    continue;
                };
                let report = self.reporter.report(tenure.worker, now).encode();
                let reported = self.broker.report(tenure.worker, &seat.queue, report);
                match self.bounded(reported).await {
                    Ok(_) => told = false,
                    Err(error) if !told => {
                        told = true;
                        tracing::debug!(queue = %seat.queue, %error, "cannot report; trying again");
                    }
                    Err(_) => {}
                }
            }
            // A new identity is not left without a report for long.
            let pause = self.lease / RENEWALS;
            sleep(if all { pause } else { pause.min(ms(100)) }).await;
        }
    }

    /// One identity after another, each for as long as it is not lost.
    async fn keep(&self, queue: usize) {
        let seat = &self.seats[queue];
        loop {
            let tenure = self.register(seat).await;
            seat.take_place(Arc::clone(&tenure));
            self.tell(Notice::Good);
            self.hold(queue, seat, &tenure).await;
            tenure.lose();
            self.counters.leases_lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                queue = %seat.queue, worker = %tenure.worker,
                "this worker's identity is lost: its tasks were taken back; going on under a new one"
            );
        }
    }

    async fn register(&self, seat: &Seat) -> Arc<Tenure> {
        let mut trouble = seat.trouble();
        loop {
            let (worker, asked) = (WorkerId::random(), self.clock.now());
            let registered = self.bounded(self.broker.register(worker, &seat.queue, self.lease));
            match registered.await {
                Ok(()) => {
                    trouble.worked(&seat.queue);
                    tracing::debug!(queue = %seat.queue, %worker, "registered");
                    return Arc::new(Tenure::new(worker, self.good_until(asked), self.clock));
                }
                Err(error) => trouble.failed(&seat.queue, "register", &error),
            }
            trouble.wait().await;
        }
    }

    /// Renews until the identity is lost.
    async fn hold(&self, queue: usize, seat: &Seat, tenure: &Tenure) {
        let (mut trouble, mut compared) = (seat.trouble(), self.clock.now());
        loop {
            if trouble.is_none() {
                let _ = timeout(self.lease / RENEWALS, seat.asked()).await;
            } else {
                trouble.wait().await;
            }
            let asked = self.clock.now();
            let renewed = self.bounded(self.broker.renew(tenure.worker, &seat.queue, self.lease));
            let renewed = renewed.await;
            if renewed.is_ok() {
                trouble.worked(&seat.queue);
            }
            match renewed {
                Ok(Renewal::Held { cancelled }) => {
                    tenure.extend(self.good_until(asked));
                    self.tell(Notice::Good);
                    if !cancelled.is_empty() {
                        self.tell(Notice::Cancelled {
                            queue,
                            worker: tenure.worker,
                            ids: cancelled,
                        });
                    }
                }
                Ok(Renewal::Lost) => return,
                Err(error) => {
                    trouble.failed(&seat.queue, "renew", &error);
                    continue;
                }
            }
            let now = self.clock.now();
            if seat.take_comparison() || self.lease <= now.saturating_duration_since(compared) {
                compared = now;
                self.compare(queue, seat, tenure.worker).await;
            }
        }
    }

    async fn compare(&self, queue: usize, seat: &Seat, worker: WorkerId) {
        let asked = self.clock.now();
        match self
            .bounded(self.broker.holdings(worker, &seat.queue))
            .await
        {
            Ok(held) => self.tell(Notice::Holdings {
                queue,
                worker,
                held,
                asked,
            }),
            Err(error) => {
                tracing::debug!(queue = %seat.queue, %error, "cannot compare what is held; trying again later");
                // Not at once: a broker that renews but cannot answer this would be asked without a pause.
                seat.put_off_comparison();
            }
        }
    }

    async fn retire(&self, seat: &Seat) {
        let Some(tenure) = seat.tenure().filter(|tenure| !tenure.is_lost()) else {
            return;
        };
        match self.broker.retire(tenure.worker, &seat.queue).await {
            Ok(true) => tracing::debug!(queue = %seat.queue, "retired"),
            Ok(false) => {
                tracing::warn!(queue = %seat.queue, "tasks are left to the end of this worker's lease");
            }
            Err(error) => tracing::warn!(queue = %seat.queue, %error, "could not retire"),
        }
    }

    /// Names tasks that block the runtime.
    async fn watch(&self) {
        let (mut watchdog, mut silent) = (Watchdog::default(), false);
        loop {
            sleep(LOOK_EVERY).await;
            for task in watchdog.look(Instant::now()) {
                tracing::warn!(
                    task,
                    "a body has blocked a thread of the async runtime for more than a second; \
                     it should await, or be a plain fn on the lane `blocking` or `cpu`"
                );
            }
            let now_silent = secs(2) <= self.heartbeat.silence();
            if now_silent != silent {
                silent = now_silent;
                if silent {
                    tracing::error!(
                        "the async runtime does not run: every thread of it is blocked"
                    );
                } else {
                    tracing::info!("the async runtime runs again");
                }
            }
        }
    }

    fn tell(&self, notice: Notice) {
        // Never waits: a pump on a blocked runtime must not keep the lease from being renewed.
        if let Err(error) = self.notices.try_send(notice) {
            tracing::debug!(%error, "the pump is behind; it is told again at a later renewal");
        }
    }

    /// Less a tenth: the broker's clock and ours may drift apart a little, and an answer takes its time.
    fn good_until(&self, asked: Instant) -> Instant {
        let margin = (self.lease / 10).min(secs(1));
        asked + self.lease.saturating_sub(margin)
    }

    /// A verb of this thread may take a third of the lease; what is late counts as unknown.
    async fn bounded<T>(
        &self,
        verb: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let limit = self.lease / RENEWALS;
        timeout(limit, verb).await.unwrap_or_else(|_| {
            let error = TransportError::new(format!("no answer within {limit:?}"));
            Err(BrokerError::Unknown(error))
        })
    }
}
