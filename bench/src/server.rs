//! What a redis-server tells of its own work.

use anyhow::{Context as _, Result};
use redis::aio::MultiplexedConnection;
use redis::cmd;

/// The counters of a server at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Commands, those inside of scripts included.
    pub(crate) commands: f64,
    /// Reads from sockets: about one a trip.
    pub(crate) reads: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) memory_bytes: f64,
}

impl Counters {
    /// Reads them.
    pub(crate) async fn read(connection: &mut MultiplexedConnection) -> Result<Self> {
        let info: String = cmd("INFO")
            .arg("everything")
            .query_async(connection)
            .await?;
        let field = |name: &str| {
            field(&info, name)
                .and_then(|text| text.parse::<f64>().ok())
                .with_context(|| format!("INFO has no {name}"))
        };
        Ok(Self {
            commands: calls(&info),
            reads: field("total_reads_processed")?,
            cpu_seconds: field("used_cpu_sys")? + field("used_cpu_user")?,
            memory_bytes: field("used_memory")?,
        })
    }

    /// What was added since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            commands: self.commands - earlier.commands,
            reads: self.reads - earlier.reads,
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            memory_bytes: self.memory_bytes - earlier.memory_bytes,
        }
    }
}

/// The version that the server tells.
pub(crate) async fn version(connection: &mut MultiplexedConnection) -> Result<String> {
    let info: String = cmd("INFO").arg("server").query_async(connection).await?;
    let name = field(&info, "valkey_version").map(|version| format!("Valkey {version}"));
    name.or_else(|| field(&info, "redis_version").map(|version| format!("Redis {version}")))
        .context("INFO has no version")
}

/// Empties the server; scripts stay.
pub(crate) async fn flush(connection: &mut MultiplexedConnection) -> Result<()> {
    Ok(cmd("FLUSHALL").arg("SYNC").exec_async(connection).await?)
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim_end)
}

/// The calls of all commands but the one that asks.
fn calls(info: &str) -> f64 {
    info.lines()
        .filter(|line| line.starts_with("cmdstat_") && !line.starts_with("cmdstat_info"))
        .filter_map(|line| {
            line.split_once("calls=")?
                .1
                .split(',')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_all_commands_are_summed() {
        let info = "cmdstat_get:calls=2,usec=9\r\ncmdstat_info:calls=5,usec=1\r\ncmdstat_client|list:calls=3,usec=1\r\n";
        assert!((calls(info) - 5.0).abs() < 1e-9);
        assert_eq!(
            field("redis_version:7.0.15\r\n", "redis_version"),
            Some("7.0.15")
        );
    }
}
