//! The other processes of a measurement: this program again, in a role.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::machine::Usage;
use crate::tally::{Lateness, Runs};

/// No order of a measurement takes so long on any machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(5);
/// Between two looks at how far the workers are: seldom enough to cost them nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A process in a role; killed when dropped.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a worker of the broker at `url` and waits until it is ready.
    pub(crate) async fn worker(url: &str, settings: &[&str]) -> Result<Self> {
        let role = ["worker", "--broker", url];
        Self::start(role.iter().chain(settings).copied()).await
    }

    /// Starts a producer for the broker at `url` and waits until it is connected.
    pub(crate) async fn producer(url: &str) -> Result<Self> {
        Self::start(["producer", "--broker", url]).await
    }

    /// Starts a beat of the broker at `url` and waits until it is connected.
    pub(crate) async fn beat(url: &str) -> Result<Self> {
        Self::start(["beat", "--broker", url]).await
    }

    async fn start<'a>(role: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        let mut child = Command::new(program)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().context("the input is piped")?;
        let answers = child.stdout.take().context("the output is piped")?;
        let mut process = Self {
            child,
            orders,
            answers: BufReader::new(answers).lines(),
        };
        let greeting = process.answer().await?;
        ensure!(greeting == "ready", "a process began with {greeting:?}");
        Ok(process)
    }

    /// Gives an order and waits for its answer.
    pub(crate) async fn order(&mut self, order: &str) -> Result<String> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        self.answer().await.with_context(|| order.to_owned())
    }

    async fn answer(&mut self) -> Result<String> {
        timeout(ANSWER_LIMIT, self.answers.next_line())
            .await
            .context("a process does not answer")??
            .context("a process ended; its reason stands above")
    }

    async fn ask<T: DeserializeOwned>(&mut self, order: &str) -> Result<T> {
        Ok(serde_json::from_str(&self.order(order).await?)?)
    }

    /// The runs of this worker so far.
    pub(crate) async fn runs(&mut self) -> Result<Runs> {
        self.ask("runs").await
    }

    /// How late this worker's runs started.
    pub(crate) async fn lateness(&mut self) -> Result<Lateness> {
        self.ask("lateness").await
    }

    /// Waits until this worker has run `count` tasks.
    pub(crate) async fn until_run(&mut self, count: u64) -> Result<Runs> {
        until_run(std::slice::from_mut(self), count).await
    }

    /// What it has used of the machine.
    pub(crate) fn usage(&self) -> Option<Usage> {
        Usage::of(self.child.id()?)
    }

    /// Ends it in its own way.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.orders);
        let status = timeout(ANSWER_LIMIT, self.child.wait())
            .await
            .context("a process does not end")??;
        ensure!(status.success(), "a process ended with {status}");
        Ok(())
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Waits until these workers have run `count` tasks together.
pub(crate) async fn until_run(workers: &mut [Process], count: u64) -> Result<Runs> {
    let limit = Instant::now() + ANSWER_LIMIT;
    loop {
        let mut all = Runs {
            count: 0,
            first_ns: u64::MAX,
        };
        for worker in &mut *workers {
            let runs = worker.runs().await?;
            all.count += runs.count;
            all.first_ns = all.first_ns.min(runs.first_ns);
        }
        if count <= all.count {
            return Ok(all);
        }
        ensure!(
            Instant::now() < limit,
            "{} of {count} tasks ran within {ANSWER_LIMIT:?}",
            all.count
        );
        sleep(LOOK_EVERY).await;
    }
}
