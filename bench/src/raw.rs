//! The same moves by raw Redis: what any task queue could reach here.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value, cmd, pipe};

use crate::stats::number;

/// As large as a task of a hundred bytes with its id and a few words about it.
const VALUE_BYTES: usize = 130;
/// The leading bytes of a value that stand for the task's id.
const ID_BYTES: usize = 16;
/// Commands in one pipelined trip.
const PIPELINE: u64 = 100;
const LIST: &str = "raw:list";
const ACTIVE: &str = "raw:active";

/// Takes a batch from a list into a hash of its own, and forgets the last batch: the least that a safe queue does.
const CLAIM: &str = r"
if #ARGV > 1 then redis.call('HDEL', KEYS[2], unpack(ARGV, 2)) end
local taken = redis.call('RPOP', KEYS[1], ARGV[1])
if not taken then return {} end
local held = {}
for at, value in ipairs(taken) do
  held[2 * at - 1] = string.sub(value, 1, 16)
  held[2 * at] = value
end
redis.call('HSET', KEYS[2], unpack(held))
return taken
";

/// A connection for raw commands.
#[derive(Clone)]
pub(crate) struct Raw {
    connection: MultiplexedConnection,
}

impl Raw {
    /// Connects.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(Duration::from_mins(1)))
            .set_connection_timeout(Some(Duration::from_secs(5)));
        let client = redis::Client::open(url)?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .context("raw connection")?;
        Ok(Self { connection })
    }

    /// The connection itself, for looking at the server.
    pub(crate) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// PING calls a second, each awaited before the next.
    pub(crate) async fn ping(&mut self, count: u64) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..count {
            cmd("PING").exec_async(&mut self.connection).await?;
        }
        Ok(rate(count, start))
    }

    /// LPUSH calls a second, each awaited before the next.
    pub(crate) async fn push(&mut self, count: u64) -> Result<f64> {
        let start = Instant::now();
        for n in 0..count {
            push_one(&mut self.connection, n).await?;
        }
        let rate = rate(count, start);
        self.clear().await?;
        Ok(rate)
    }

    /// LPUSH calls a second by `callers` at once on this one connection, each awaiting its own.
    pub(crate) async fn push_by_callers(&mut self, callers: u64, count: u64) -> Result<f64> {
        let start = Instant::now();
        let each = count / callers;
        let pushing: Vec<_> = (0..callers)
            .map(|caller| {
                let mut connection = self.connection.clone();
                tokio::spawn(async move {
                    for n in 0..each {
                        push_one(&mut connection, caller * each + n).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for caller in pushing {
            caller.await??;
        }
        let rate = rate(each * callers, start);
        self.clear().await?;
        Ok(rate)
    }

    /// Pipelined LPUSH calls a second, two trips in flight.
    pub(crate) async fn push_pipelined(&mut self, count: u64) -> Result<f64> {
        let start = Instant::now();
        self.fill(count).await?;
        let rate = rate(count, start);
        self.clear().await?;
        Ok(rate)
    }

    /// Values a second by pipelined LMOVE and then LREM, two trips in flight.
    pub(crate) async fn move_pipelined(&mut self, count: u64) -> Result<f64> {
        self.fill(count).await?;
        let start = Instant::now();
        self.two_flights(count, move_pipelined).await?;
        Ok(rate(count, start))
    }

    /// Values a second claimed and acknowledged by a script, `batch` a call, two calls in flight.
    pub(crate) async fn claim(&mut self, batch: u64, count: u64) -> Result<f64> {
        self.fill(count).await?;
        let sha: String = cmd("SCRIPT")
            .arg("LOAD")
            .arg(CLAIM)
            .query_async(&mut self.connection)
            .await?;
        let start = Instant::now();
        let flights = [(); 2].map(|()| {
            tokio::spawn(claim_until_empty(
                self.connection.clone(),
                sha.clone(),
                batch,
            ))
        });
        let mut claimed = 0;
        for flight in flights {
            claimed += flight.await??;
        }
        let rate = rate(count, start);
        ensure!(claimed == count, "claimed {claimed} of {count} values");
        Ok(rate)
    }

    async fn fill(&self, count: u64) -> Result<()> {
        self.two_flights(count, push_pipelined).await
    }

    /// Half of the count to each of two callers on this connection: one prepares while the other's trip is away.
    async fn two_flights<F>(
        &self,
        count: u64,
        flight: fn(MultiplexedConnection, u64) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let half = count / 2;
        let first = tokio::spawn(flight(self.connection.clone(), half));
        let second = tokio::spawn(flight(self.connection.clone(), count - half));
        first.await??;
        second.await?
    }

    async fn clear(&mut self) -> Result<()> {
        cmd("DEL")
            .arg(LIST)
            .arg(ACTIVE)
            .exec_async(&mut self.connection)
            .await?;
        Ok(())
    }
}

async fn push_one(connection: &mut MultiplexedConnection, n: u64) -> Result<()> {
    cmd("LPUSH")
        .arg(LIST)
        .arg(&value(n)[..])
        .exec_async(connection)
        .await?;
    Ok(())
}

async fn push_pipelined(mut connection: MultiplexedConnection, count: u64) -> Result<()> {
    let mut pushed = 0;
    while pushed < count {
        let mut trip = pipe();
        let end = count.min(pushed + PIPELINE);
        for n in pushed..end {
            trip.cmd("LPUSH").arg(LIST).arg(&value(n)[..]).ignore();
        }
        trip.exec_async(&mut connection).await?;
        pushed = end;
    }
    Ok(())
}

async fn move_pipelined(mut connection: MultiplexedConnection, count: u64) -> Result<()> {
    let mut left = count;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while 0 < left || !taken.is_empty() {
        let mut trip = pipe();
        for value in taken.drain(..) {
            // From the end that holds the oldest: the best case of LREM.
            trip.cmd("LREM").arg(ACTIVE).arg(-1).arg(value).ignore();
        }
        let moves = left.min(PIPELINE);
        for _ in 0..moves {
            trip.cmd("LMOVE")
                .arg(LIST)
                .arg(ACTIVE)
                .arg("RIGHT")
                .arg("LEFT");
        }
        taken = trip.query_async(&mut connection).await?;
        left -= moves;
    }
    Ok(())
}

async fn claim_until_empty(
    mut connection: MultiplexedConnection,
    sha: String,
    batch: u64,
) -> Result<u64> {
    let mut claimed = 0;
    let mut finished: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut call = cmd("EVALSHA");
        call.arg(&sha).arg(2).arg(LIST).arg(ACTIVE).arg(batch);
        for id in &finished {
            call.arg(&id[..]);
        }
        let taken: Vec<Value> = call.query_async(&mut connection).await?;
        claimed += taken.len() as u64;
        finished.clear();
        for value in taken {
            if let Value::BulkString(bytes) = value {
                finished.push(bytes[..ID_BYTES].to_vec());
            }
        }
        if finished.is_empty() {
            return Ok(claimed);
        }
    }
}

fn value(n: u64) -> [u8; VALUE_BYTES] {
    let mut value = [b'x'; VALUE_BYTES];
    value[..8].copy_from_slice(&n.to_be_bytes());
    value
}

/// Moves a second since `start`.
pub(crate) fn rate(count: u64, start: Instant) -> f64 {
    number(count) / start.elapsed().as_secs_f64()
}
