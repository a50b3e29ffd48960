//! Some of every kind, round after round.

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use lovage::{Ack, Client, Schedule, Unique};
use lovage_core::{TaskId, ms, secs};

use crate::risky::whereabouts;
use crate::stage::{QUEUE, Stage};
use crate::tasks::{compute, doomed, drowsy, flaky, hold, nap, panic, quick, tick};
use crate::until::eventually;

/// How long a result is kept: short, so that those of the last round run out soon.
const KEPT: Duration = secs(10);
const SCHEDULES: u64 = 20;
const PAGE: usize = 100;
/// So many sends of the quick kind a round; of the others some.
const QUICK: u64 = 20;

/// The producers' side.
#[derive(Debug)]
pub(crate) struct Load {
    client: Client,
    open: String,
    closed: String,
    /// The processes that are no child's.
    processes: Vec<u32>,
    sent: Cell<u64>,
}

impl Load {
    /// Makes the gates; one send of a kind makes the keys that stay with a queue for ever.
    pub(crate) async fn prepare(stage: &Stage, processes: Vec<u32>) -> Result<Self> {
        let open = stage.gate("open");
        open.open();
        let load = Self {
            client: stage.client().await,
            open: open.path(),
            closed: stage.gate("closed").path(),
            processes,
            sent: Cell::new(0),
        };
        load.round().await?;
        load.clear().await?;
        load.until_rest().await?;
        for number in 0..SCHEDULES {
            let every = Schedule::every(secs(1))?;
            let schedules = load.client.schedules();
            schedules.upsert(&name(number), every, tick()).await?;
        }
        Ok(load)
    }

    /// Sends rounds until then, evenly spaced.
    pub(crate) async fn go_on(&self, until: Instant, rounds_per_second: u32) -> Result<()> {
        let mut ticks = tokio::time::interval(secs(1) / rounds_per_second);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while Instant::now() < until {
            ticks.tick().await;
            self.round().await?;
            self.clear().await?;
        }
        Ok(())
    }

    /// Takes the schedules back and waits until all has ended. Answers how many sends there were.
    pub(crate) async fn end(&self, stage: &Stage) -> Result<u64> {
        for number in 0..SCHEDULES {
            self.client.schedules().delete(&name(number)).await?;
        }
        self.until_rest().await?;
        self.clear().await?;
        // The journal of so many tasks is no use to anybody.
        fs::remove_file(stage.journal.path()).context("the workers have written into it")?;
        Ok(self.sent.get())
    }

    async fn round(&self) -> Result<()> {
        let client = &self.client;
        let sends = (0..QUICK).map(|n| client.send(quick(n)).result_ttl(KEPT).into_future());
        let answers = try_join_all(sends).await?;
        let naps = client.send_all((0..5).map(nap)).await?;
        client.send(nap(1)).ack(Ack::Early).await?;
        client.send(nap(1)).countdown(ms(300)).priority(9).await?;
        client.send(flaky()).await?;
        client.send(panic()).await?;
        client
            .send(compute(self.open.clone()))
            .result_ttl(KEPT)
            .await?;
        let running = client
            .send(hold(self.closed.clone()))
            .result_ttl(KEPT)
            .await?;
        let waiting = client.send(nap(1)).countdown(secs(600)).await?;
        let child = client.send(whereabouts()).result_ttl(KEPT).await?;
        client.send(drowsy()).await?;
        client.send(doomed()).await?;
        client
            .send(nap(2))
            .idempotency_key(self.key())
            .idempotency_ttl(KEPT)
            .await?;
        for unique in [
            Unique::args(),
            Unique::args().replace(),
            Unique::args().debounce(ms(100)),
            Unique::args().throttle(secs(2)),
        ] {
            // Two of the same, so that there is something to settle between them.
            client.send(nap(3)).unique(unique.clone()).await?;
            client.send(nap(3)).unique(unique).await?;
        }
        self.sent
            .set(self.sent.get() + QUICK + naps.len() as u64 + 19);
        let child = child.wait(secs(60)).await?;
        ensure!(
            !self.processes.contains(&child),
            "a body of the process lane ran in process {child}, which is none of a child"
        );

        for (number, answer) in (0..).zip(&answers) {
            let value = answer.wait(secs(60)).await?;
            ensure!(value == number, "{value} came back for {number}");
        }
        running.cancel().await?;
        waiting.cancel().await?;
        Ok(())
    }

    /// The same for some rounds, then another.
    fn key(&self) -> String {
        format!("soak-{}", self.sent.get() / 1_000)
    }

    /// Takes the dead letters away, as an operator does.
    async fn clear(&self) -> Result<()> {
        let dead = self.client.dead_letters_of(QUEUE)?;
        loop {
            let page = dead.list(0, PAGE).await?;
            for letter in &page {
                let id: TaskId = letter.id;
                self.client.cancel(QUEUE, id).await?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn until_rest(&self) -> Result<()> {
        eventually("all has ended", async || {
            let counts = self.client.counts(QUEUE).await.ok()?;
            (counts.ready + counts.scheduled + counts.active == 0).then_some(())
        })
        .await;
        Ok(())
    }
}

fn name(number: u64) -> String {
    format!("soak-{number}")
}
