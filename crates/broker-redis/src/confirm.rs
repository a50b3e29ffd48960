//! Sends that replicas, or disks, confirm: a script and then `WAIT` or `WAITAOF`, on one connection.
//!
//! Both commands block their connection, so each confirmed call has one for itself: plain calls never queue behind it,
//! nor do confirmed calls of different queues behind each other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{
    BrokerError, Confirmation, Confirmed, Durability, Durable, Encoded, EnqueueError, QueueName,
    TransportError, secs, span_ms,
};
use redis::{Cmd, ConnectionInfo, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::broker::{RedisBroker, Shared};
use crate::config::RedisConfig;
use crate::connection::Connection;
use crate::keys::Keys;
use crate::partitioned;
use crate::reply::{number, word};
use crate::script::{Call, Script};

/// Confirmed calls that travel at the same time; more of them wait for their turn. Each has many tasks where many are
/// sent at once, so this bounds queues rather than sends.
const CONNECTIONS_MAX: usize = 16;
/// The longest wait for a confirmation.
const WITHIN_MAX: Duration = secs(30);

/// The connections of a handle for confirmed calls, made when first needed.
pub(crate) struct Confirming {
    config: RedisConfig,
    idle: Mutex<Vec<Idle>>,
    turns: Semaphore,
}

impl Confirming {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        Self {
            // The wait itself is bounded by the call; what is left is the margin for its answer.
            config: config
                .clone()
                .response_timeout(config.response_timeout + WITHIN_MAX),
            idle: Mutex::default(),
            turns: Semaphore::new(CONNECTIONS_MAX),
        }
    }

    fn to(&self, server: ConnectionInfo) -> Idle {
        let mut idle = self.idle();
        if let Some(at) = idle.iter().position(|idle| idle.leads_to(&server)) {
            return idle.swap_remove(at);
        }
        drop(idle);
        let connection = Connection::to(server.clone(), &self.config);
        Idle { server, connection }
    }

    /// Takes a connection back that was answered. Where there are enough, the longest idle one is closed: its server
    /// may have been left for another.
    fn take_back(&self, connection: Idle) {
        let mut idle = self.idle();
        if idle.len() == CONNECTIONS_MAX {
            idle.remove(0);
        }
        idle.push(connection);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that no call uses.
struct Idle {
    server: ConnectionInfo,
    connection: Connection,
}

impl Idle {
    fn leads_to(&self, server: &ConnectionInfo) -> bool {
        self.server.addr() == server.addr()
    }
}

/// The question whether what a connection has written is confirmed.
pub(crate) struct Question {
    wanted: Durability,
}

impl Question {
    /// The command, for a wait of `span`.
    pub(crate) fn ask(&self, span: Duration) -> Cmd {
        // 0 would be for ever.
        let ms = span_ms(span.min(WITHIN_MAX)).max(1);
        let mut cmd = Cmd::new();
        if self.wanted.fsync {
            cmd.arg("WAITAOF").arg(1);
        } else {
            cmd.arg("WAIT");
        }
        cmd.arg(self.wanted.replicas).arg(ms);
        cmd
    }

    /// The command that waits for nobody: it tells whether the server can answer such a question at all.
    pub(crate) fn try_out(&self) -> Cmd {
        let mut nobody = Self {
            wanted: self.wanted,
        };
        nobody.wanted.replicas = 0;
        nobody.ask(Duration::ZERO)
    }

    /// What it is to be called where a server does not know it.
    pub(crate) fn needs(&self) -> &'static str {
        if self.wanted.fsync {
            "a send that is confirmed on disk needs Redis 7.2 or Valkey, with `appendonly yes`, and the permission \
             for WAITAOF"
        } else {
            "a send that is confirmed by replicas needs the permission for WAIT"
        }
    }

    fn read(&self, answer: &Value) -> Option<Confirmation> {
        if !self.wanted.fsync {
            return Some(Confirmation {
                replicas: number(answer)?,
                fsynced: false,
            });
        }
        let Value::Array(numbers) = answer else {
            return None;
        };
        let [here, replicas] = numbers.as_slice() else {
            return None;
        };
        Some(Confirmation {
            replicas: number(replicas)?,
            fsynced: 0 < number(here)?,
        })
    }
}

impl Shared {
    /// Calls a script that stores tasks, and asks for the confirmation that is wanted if it has stored them.
    ///
    /// Redis remembers for each connection how far the stream to its replicas had come with its last write. So the
    /// question must go where the script went; and where the script may have written nothing, as what it was given is
    /// there already, something is written first: all that was written before is confirmed with it.
    pub(crate) async fn run_confirmed(
        &self,
        wanted: Durability,
        keys: &Keys,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<(Value, Confirmation), BrokerError> {
        if wanted.is_none() {
            let reply = self.connection.run(script, fill).await?;
            return Ok((reply, Confirmation::default()));
        }
        // Boxed, as the plain call, which is the usual one, would be several times its size.
        Box::pin(self.run_and_ask(wanted, keys, script, fill)).await
    }

    async fn run_and_ask(
        &self,
        wanted: Durability,
        keys: &Keys,
        script: &Script,
        fill: impl Fn(&mut Call),
    ) -> Result<(Value, Confirmation), BrokerError> {
        let confirming = &self.confirming;
        let turn = confirming.turns.acquire().await;
        let _turn = turn.expect("nobody closes it");
        // Given back only after an answer: one that may still be blocked is closed.
        let routes = &self.connection;
        let server = routes.server_of(&keys.meta).await?;
        let own = confirming.to(server.clone());
        let connection = &own.connection;
        let absent = routes.absent(&keys.meta);
        let fill = |call: &mut Call| {
            if let Some(absent) = &absent {
                call.also(absent);
            }
            fill(call);
        };
        let question = Question { wanted };
        let answer_limit = self.config.response_timeout;
        let live = timeout(answer_limit, connection.able_to_answer(&question))
            .await
            .unwrap_or_else(|_| Err(BrokerError::Refused(no_answer())))
            .inspect_err(|_| routes.met(&keys.meta, &server, None))?;
        let reply = match timeout(answer_limit, connection.call_on(&live, script, fill)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(failed)) => {
                routes.met(&keys.meta, &server, failed.answer());
                return Err(failed.into());
            }
            Err(_) => {
                routes.met(&keys.meta, &server, None);
                return Err(BrokerError::Unknown(no_answer()));
            }
        };
        if word(&reply) != b"stored" {
            confirming.take_back(own);
            return Ok((reply, Confirmation::default()));
        }
        let asked = async {
            if !all_are_new(&reply) {
                let mut write = Cmd::new();
                write.arg("HSET").arg(&keys.meta).arg("asked").arg(1);
                connection.command_on(&live, &write).await?;
            }
            let question = question.ask(wanted.within);
            connection.command_on(&live, &question).await
        };
        let patience = wanted.within.min(WITHIN_MAX) + answer_limit;
        // The tasks are stored, whatever becomes of the question: no answer is the answer that nobody has them.
        match timeout(patience, asked).await {
            Ok(Ok(answer)) => {
                confirming.take_back(own);
                let by = question.read(&answer).unwrap_or_default();
                Ok((reply, by))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a confirmation could not be asked for");
                Ok((reply, Confirmation::default()))
            }
            Err(_) => Ok((reply, Confirmation::default())),
        }
    }
}

/// Whether the script has stored each task that it was given.
fn all_are_new(reply: &Value) -> bool {
    let Value::Array(parts) = reply else {
        return false;
    };
    matches!(parts.as_slice(), [_, Value::Array(known)] if known.is_empty())
}

fn no_answer() -> TransportError {
    TransportError::new("no answer came within the response timeout")
}

impl Durable for RedisBroker {
    /// # Redis
    /// `enqueue.lua`, then `WAIT` or, where it is to be on disk, `WAITAOF` (Redis 7.2, Valkey), on the same connection;
    /// for duplicates an `HSET` of `asked` in between, so that there is something to confirm.
    async fn enqueue_confirmed(
        &self,
        queue: &QueueName,
        tasks: Vec<Encoded>,
        wanted: Durability,
    ) -> Result<Confirmed, EnqueueError> {
        partitioned::enqueue(&self.shared, queue, tasks, wanted).await
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::ms;

    use super::*;

    #[test]
    fn a_question_never_waits_for_ever() {
        let words = |wanted: Durability| {
            let command = Question { wanted }.ask(wanted.within);
            String::from_utf8(command.get_packed_command()).unwrap()
        };
        for (wanted, expected) in [
            (
                Durability::replicas(2),
                "$4\r\nWAIT\r\n$1\r\n2\r\n$4\r\n1000\r\n",
            ),
            (
                Durability::replicas(1).within(Duration::ZERO),
                "$1\r\n1\r\n$1\r\n1\r\n",
            ),
            (
                Durability::replicas(1).within(Duration::MAX),
                "$5\r\n30000\r\n",
            ),
            (
                Durability::replicas(0).fsync().within(ms(5)),
                "$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n5\r\n",
            ),
        ] {
            let words = words(wanted);
            assert!(words.ends_with(expected), "{wanted:?}: {words:?}");
        }
    }
}
