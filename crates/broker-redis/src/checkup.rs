//! Looking whether all is in order, wired to its transitions; and the walks that are plain commands.

use bytes::Bytes;
use lovage_core::{
    Agenda, AgendaShelf, Books, BrokerError, Census, CheckMode, Checkup, Finding, LockKey, Passing,
    QueueName, Repair, ServerLook, Shelf, ShelfPage, StoredFrom, StoredPage, TaskId, WorkerId,
};
use redis::{Cmd, Value, cmd};

use crate::broker::{RedisBroker, Shared};
use crate::error::unexpected;
use crate::keys::{Sort, Sorts};
use crate::reply::{list, number, text};
use crate::transitions;

mod servers;

/// How many things a page has, about.
const PAGE: u64 = 1000;
/// The same where each comes with what it holds.
const PAGE_WITH_VALUES: u64 = 200;

impl Checkup for RedisBroker {
    async fn stored(&self, from: StoredFrom) -> Result<StoredPage, BrokerError> {
        let shared = &*self.shared;
        let mut sorts = Sorts::new(&shared.config.namespace, &shared.beat);
        let mut scan = cmd("SCAN");
        scan.arg(from.cursor)
            .arg("MATCH")
            .arg(sorts.pattern())
            .arg("COUNT")
            .arg(PAGE);
        let Some((server, reply)) = shared.connection.at(from.server, &scan).await? else {
            return Ok(StoredPage::default());
        };
        let (cursor, keys) = page(reply).ok_or_else(|| unexpected("SCAN"))?;
        let mut found = StoredPage {
            next: Some(match cursor {
                Some(cursor) => StoredFrom { cursor, ..from },
                None => StoredFrom {
                    server: from.server + 1,
                    cursor: 0,
                },
            }),
            server,
            looked_at: keys.len() as u64,
            ..StoredPage::default()
        };
        for key in &keys {
            let key = String::from_utf8_lossy(text(key));
            let name = |name: &str| Bytes::copy_from_slice(name.as_bytes());
            match sorts.sort(&key) {
                Sort::OfQueue(queue) => found.queues.push(queue),
                Sort::List(queue, worker) => {
                    found.queues.push(queue.clone());
                    found.lists.push((queue, worker));
                }
                Sort::Result(queue, id) => found.results.push((queue, id)),
                Sort::Send(queue, id) => found.sends.push((queue, id)),
                Sort::Lock(queue, key) => {
                    found.queues.push(queue.clone());
                    found.locks.push((queue, key));
                }
                Sort::OfBeat => {}
                Sort::History(schedule) => found.histories.push(name(schedule)),
                Sort::Outbox(queue) => found.outboxes.push(name(queue)),
                Sort::Unknown => found.unknown.push(key.into_owned()),
            }
        }
        Ok(found)
    }

    async fn shelf(
        &self,
        queue: &QueueName,
        part: Shelf,
        from: u64,
    ) -> Result<ShelfPage<TaskId>, BrokerError> {
        let shared = &*self.shared;
        let keys = shared.keys(queue);
        let held;
        let (key, step, scan) = match part {
            Shelf::Tasks => {
                let reply = transitions::task_ids(shared, queue, from).await?;
                return ids(reply, 1).ok_or_else(|| unexpected("task_ids"));
            }
            Shelf::Ready(level) => {
                let key = &keys.ready[usize::from(level.min(9))];
                return ready(shared, key, from).await;
            }
            Shelf::Scheduled => (&keys.scheduled, 2, "ZSCAN"),
            Shelf::Dead => (&keys.dead, 2, "ZSCAN"),
            Shelf::Active(worker) => {
                held = keys.active(worker);
                (&held, 2, "HSCAN")
            }
            Shelf::Facts => (&keys.facts, 2, "HSCAN"),
            Shelf::Reasons => (&keys.reasons, 2, "HSCAN"),
            Shelf::Waiting => (&keys.waiting, 2, "HSCAN"),
            Shelf::Cancels => (&keys.cancels, 1, "SSCAN"),
            Shelf::Ghosts => (&keys.ghosts, 2, "HSCAN"),
            Shelf::Locks => (&keys.locks, 2, "HSCAN"),
            Shelf::Callbacks => (&keys.callbacks, 2, "ZSCAN"),
        };
        let reply = shared.connection.command(&walk(scan, key, from)).await?;
        ids(reply, step).ok_or_else(|| unexpected(scan))
    }

    async fn census(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        unlisted: &[WorkerId],
        seek: bool,
    ) -> Result<Vec<Census>, BrokerError> {
        transitions::census(&self.shared, queue, ids, unlisted, seek).await
    }

    async fn repair(
        &self,
        queue: &QueueName,
        census: &Census,
        unlisted: &[WorkerId],
        repairs: &[Repair],
    ) -> Result<bool, BrokerError> {
        transitions::repair(&self.shared, queue, census, unlisted, repairs).await
    }

    async fn wrong_types(&self, queue: &QueueName) -> Result<Vec<String>, BrokerError> {
        transitions::wrong_types(&self.shared, queue).await
    }

    async fn books(
        &self,
        queue: &QueueName,
        unlisted: &[WorkerId],
        mode: CheckMode,
    ) -> Result<Books, BrokerError> {
        transitions::books(&self.shared, queue, unlisted, mode).await
    }

    async fn orphans(
        &self,
        queue: &QueueName,
        workers: &[WorkerId],
        mode: CheckMode,
    ) -> Result<Vec<WorkerId>, BrokerError> {
        transitions::orphans(&self.shared, queue, workers, mode).await
    }

    async fn lasting(
        &self,
        queue: &QueueName,
        of: Passing,
        ids: &[TaskId],
        mode: CheckMode,
    ) -> Result<Vec<TaskId>, BrokerError> {
        transitions::lasting(&self.shared, queue, of, ids, mode).await
    }

    async fn locks(
        &self,
        queue: &QueueName,
        keys: &[LockKey],
        tasks: &[TaskId],
        mode: CheckMode,
    ) -> Result<Vec<Finding>, BrokerError> {
        transitions::locks(&self.shared, queue, keys, tasks, mode).await
    }

    async fn agenda_shelf(
        &self,
        part: AgendaShelf,
        from: u64,
    ) -> Result<ShelfPage<Bytes>, BrokerError> {
        let keys = &self.shared.beat;
        let (key, step, scan) = match part {
            AgendaShelf::Versions => (&keys.versions, 2, "HSCAN"),
            AgendaShelf::Records => (&keys.records, 2, "HSCAN"),
            AgendaShelf::Wakes => (&keys.wakes, 2, "ZSCAN"),
            AgendaShelf::Names => (&keys.names, 2, "ZSCAN"),
            AgendaShelf::Outboxes => (&keys.outboxes, 1, "SSCAN"),
        };
        let walk = walk(scan, key, from);
        let reply = self.shared.connection.command(&walk).await?;
        let (next, items) = page(reply).ok_or_else(|| unexpected(scan))?;
        let names = items.iter().step_by(step);
        Ok(ShelfPage {
            found: names
                .map(|name| Bytes::copy_from_slice(text(name)))
                .collect(),
            rubbish: 0,
            next,
        })
    }

    async fn agenda(
        &self,
        of: Agenda,
        names: &[Bytes],
        mode: CheckMode,
    ) -> Result<Vec<Finding>, BrokerError> {
        match of {
            Agenda::Schedules => transitions::agenda(&self.shared, names, mode).await,
            Agenda::Outboxes => transitions::outboxes(&self.shared, names, mode).await,
        }
    }

    async fn servers(&self) -> Result<Vec<ServerLook>, BrokerError> {
        let mut looks = Vec::new();
        while let Some(look) = servers::server(&self.shared, looks.len()).await {
            looks.push(look);
        }
        Ok(looks)
    }
}

fn walk(scan: &str, key: &str, from: u64) -> Cmd {
    let mut walk = cmd(scan);
    walk.arg(key).arg(from).arg("COUNT").arg(PAGE_WITH_VALUES);
    walk
}

/// What a scan answers: the next cursor unless it has ended, and what was found.
fn page(reply: Value) -> Option<(Option<u64>, Vec<Value>)> {
    let mut parts = list(reply)?.into_iter();
    let next = number(&parts.next()?)?;
    Some(((next != 0).then_some(next), list(parts.next()?)?))
}

/// The ids among the fields or members, each followed by `step - 1` other things.
fn ids(reply: Value, step: usize) -> Option<ShelfPage<TaskId>> {
    let (next, items) = page(reply)?;
    Some(of_ids(items.iter().step_by(step), next))
}

fn of_ids<'a>(items: impl Iterator<Item = &'a Value>, next: Option<u64>) -> ShelfPage<TaskId> {
    let mut found = ShelfPage {
        next,
        ..ShelfPage::default()
    };
    for item in items {
        // A ghost's field has a digit behind the id.
        let item = text(item);
        let id = match item {
            [id @ .., b'0'..=b'9'] if id.len() == 16 => id,
            id => id,
        };
        match TaskId::try_from(id) {
            Ok(id) => found.found.push(id),
            Err(_) => found.rubbish += 1,
        }
    }
    found
}

async fn ready(shared: &Shared, key: &str, from: u64) -> Result<ShelfPage<TaskId>, BrokerError> {
    let mut range = cmd("LRANGE");
    range.arg(key).arg(from).arg(from + PAGE - 1);
    let reply = shared.connection.command(&range).await?;
    let items = list(reply).ok_or_else(|| unexpected("LRANGE"))?;
    let next = (items.len() as u64 == PAGE).then_some(from + PAGE);
    Ok(of_ids(items.iter(), next))
}
