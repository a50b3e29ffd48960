//! What this program is when it runs as another process of a measurement: a worker, a producer or a beat.
//!
//! A role obeys lines on its standard input, answers each with one line, and ends when the input ends: whatever
//! becomes of the process that measures, its children do not stay.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use lovage::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::stats::number;
use crate::tally;
use crate::tasks::{QUEUE, payload, stamped};

/// What a process is.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Role {
    /// Runs the tasks of a queue.
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// Sends tasks at a steady rate.
    #[command(hide = true)]
    Producer(ProducerArgs),
    /// Fires schedules.
    #[command(hide = true)]
    Beat(BeatArgs),
}

/// A worker's settings.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    broker: String,
    #[arg(long, default_value_t = 100)]
    concurrency: usize,
    #[arg(long, default_value_t = 15_000)]
    lease_ms: u64,
    /// Tasks held a slot; adapts unless it is set.
    #[arg(long)]
    prefetch: Option<u16>,
}

/// A producer's settings.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProducerArgs {
    #[arg(long)]
    broker: String,
}

/// A beat's settings.
#[derive(Clone, Debug, Args)]
pub(crate) struct BeatArgs {
    #[arg(long)]
    broker: String,
}

impl Role {
    /// Plays the role until the input ends.
    pub(crate) async fn play(self) -> Result<()> {
        match self {
            Self::Worker(args) => work(args).await,
            Self::Producer(args) => produce(args).await,
            Self::Beat(args) => beat(args).await,
        }
    }
}

async fn work(args: WorkerArgs) -> Result<()> {
    let client = Client::connect(&args.broker).await?;
    let worker = client
        .worker()
        .queues(QUEUE)
        .concurrency(args.concurrency)
        .lease(Duration::from_millis(args.lease_ms));
    let worker = match args.prefetch {
        Some(prefetch) => worker.prefetch(prefetch),
        None => worker,
    };
    let worker = worker.start().await?;
    obey(async |order: &str| {
        Ok(match order {
            "runs" => serde_json::to_string(&tally::runs())?,
            "lateness" => serde_json::to_string(&tally::lateness())?,
            "forget" => {
                tally::forget();
                "forgotten".into()
            }
            _ => bail!("unknown order {order:?}"),
        })
    })
    .await?;
    worker.shutdown().await;
    Ok(())
}

async fn beat(args: BeatArgs) -> Result<()> {
    let client = Client::connect(&args.broker).await?;
    let beat = client.beat().start().await?;
    obey(async |order: &str| bail!("unknown order {order:?}")).await?;
    beat.shutdown().await;
    Ok(())
}

/// Each order is `RATE COUNT`; it is answered when all those tasks are sent.
async fn produce(args: ProducerArgs) -> Result<()> {
    let client = Client::connect(&args.broker).await?;
    obey(async |order: &str| {
        let (rate, count) = order
            .split_once(' ')
            .and_then(|(rate, count)| Some((rate.parse().ok()?, count.parse().ok()?)))
            .with_context(|| format!("unknown order {order:?}"))?;
        send_steadily(&client, rate, count).await?;
        Ok("sent".into())
    })
    .await
}

/// Sends by the clock, not by the answers: a slow answer must not slow the next send down and so hide itself.
async fn send_steadily(client: &Client, rate: u64, count: u64) -> Result<()> {
    let start = Instant::now();
    let mut sends = JoinSet::new();
    for n in 0..count {
        sleep_until(start + Duration::from_secs_f64(number(n) / number(rate))).await;
        let client = client.clone();
        sends.spawn(async move { client.send(stamped(tally::now_ns(), payload())).await });
        while let Some(sent) = sends.try_join_next() {
            sent??;
        }
    }
    while let Some(sent) = sends.join_next().await {
        sent??;
    }
    Ok(())
}

async fn obey(mut answer: impl AsyncFnMut(&str) -> Result<String>) -> Result<()> {
    let mut orders = BufReader::new(stdin()).lines();
    let mut out = stdout();
    out.write_all(b"ready\n").await?;
    out.flush().await?;
    while let Some(order) = orders.next_line().await? {
        let answer = answer(&order).await?;
        out.write_all(format!("{answer}\n").as_bytes()).await?;
        out.flush().await?;
    }
    Ok(())
}
