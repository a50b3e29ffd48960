//! The file of a spool: one table of tasks that wait, one of those set aside, and what is known of both in memory.
//!
//! Blocking; the keeper's thread alone calls it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use lovage_core::{Millis, QueueName, TaskId, TransportError, ms, secs};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use super::{Entry, SetAside, SpoolConfig, SpoolError, SpoolStats};

type Entries = TableDefinition<'static, (&'static str, u64), &'static [u8]>;
type Aside = TableDefinition<'static, (&'static str, u64), (&'static str, &'static [u8])>;

/// (queue, number) -> entry. Numbers grow over all queues.
const ENTRIES: Entries = TableDefinition::new("entries");
/// (queue, number) -> (reason, entry).
const ASIDE: Aside = TableDefinition::new("aside");
/// The version of the tables.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;

/// What is read again and again is small; without a limit the library keeps a gigabyte.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// A process that was killed a moment ago may still hold the lock.
const LOCK_PATIENCE: Duration = secs(2);
const LOCK_LOOK_EVERY: Duration = ms(20);

pub(super) type Result<T, E = SpoolError> = std::result::Result<T, E>;

/// What waits in one queue, in memory.
#[derive(Debug, Default)]
struct Waiting {
    /// Where each task stands, the last time if it stands here twice.
    ids: HashMap<TaskId, u64>,
    /// Number -> bytes of the entry, and when it was spooled.
    entries: BTreeMap<u64, (usize, Millis)>,
}

/// What the file holds, in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    waiting: HashMap<QueueName, Waiting>,
    tasks: u64,
    bytes: u64,
    aside: u64,
    aside_bytes: u64,
    next: u64,
    /// Up to which number the tasks of a queue are on their way, so that the broker may have them.
    pub(super) sending: HashMap<QueueName, u64>,
}

impl Index {
    pub(super) fn queues(&self) -> Vec<QueueName> {
        self.waiting.keys().cloned().collect()
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Gives no number below `next` any more.
    pub(super) fn number_from(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    pub(super) fn stats(&self) -> SpoolStats {
        let firsts = self.waiting.values();
        let firsts = firsts.filter_map(|waiting| waiting.entries.values().next());
        SpoolStats {
            tasks: self.tasks,
            bytes: self.bytes,
            aside_bytes: self.aside_bytes,
            oldest: firsts.map(|(_, spooled_at)| *spooled_at).min(),
            aside: self.aside,
        }
    }

    /// Whether a task waits behind those that are on their way: it will be sent, whatever becomes of them.
    fn will_be_sent(&self, queue: &QueueName, id: TaskId) -> bool {
        let position = self
            .waiting
            .get(queue)
            .and_then(|waiting| waiting.ids.get(&id));
        position.is_some_and(|position| {
            let last_sent = self.sending.get(queue);
            last_sent.is_none_or(|last| last < position)
        })
    }

    fn add(&mut self, queue: &QueueName, number: u64, bytes: usize, entry: Option<&Entry>) {
        let waiting = self.waiting.entry(queue.clone()).or_default();
        if let Some(entry) = entry {
            let last = waiting.ids.entry(entry.task.id()).or_default();
            *last = number.max(*last);
        }
        let spooled_at = entry.map_or(Millis::MAX, |entry| entry.spooled_at);
        waiting.entries.insert(number, (bytes, spooled_at));
        self.tasks += 1;
        self.bytes += bytes as u64;
        self.next = self.next.max(number + 1);
    }

    fn remove(&mut self, queue: &QueueName, number: u64, id: Option<TaskId>) {
        let Some(waiting) = self.waiting.get_mut(queue) else {
            return;
        };
        if let Some(id) = id.filter(|id| waiting.ids.get(id) == Some(&number)) {
            waiting.ids.remove(&id);
        }
        if let Some((bytes, _)) = waiting.entries.remove(&number) {
            self.tasks -= 1;
            self.bytes -= bytes as u64;
        }
        if waiting.entries.is_empty() {
            self.waiting.remove(queue);
        }
    }
}

/// A change of the file. Those that come together are one commit.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Keeps tasks; those whose id waits already, and is not on its way, are kept once.
    Append(QueueName, Vec<Entry>),
    /// They are stored in the broker.
    Remove(QueueName, Vec<u64>),
    /// Kept, and not sent any more; of one that is aside already, only the reason changes.
    SetAside(QueueName, u64, String),
    /// Sent again, in its old place.
    PutBack(QueueName, u64),
    /// Deletes one that was set aside.
    Forget(QueueName, u64),
}

pub(super) struct Store {
    database: Database,
    tasks_max: u64,
    bytes_max: u64,
}

impl Store {
    /// Opens the file, or makes it, and reads what it holds.
    pub(super) fn open(config: &SpoolConfig) -> Result<(Self, Index)> {
        let folder = &config.folder;
        make_folder(folder).map_err(other)?;
        let database = open_database(folder)?;
        let damaged = |error: redb::Error| damaged(folder, &error);
        let index = prepare(&database).map_err(damaged)?;
        // The name of a new file is on disk before anything in it is relied on.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(other)?;
        let index = index.ok_or_else(|| SpoolError::Damaged {
            folder: folder.clone(),
            reason: format!("its tables are not of version {FORMAT}"),
        })?;
        let store = Self {
            database,
            tasks_max: config.tasks_max,
            bytes_max: config.bytes_max,
        };
        Ok((store, index))
    }

    /// Whether so much more fits.
    pub(super) fn has_room(&self, index: &Index, tasks: u64, bytes: u64) -> bool {
        index.tasks + index.aside + tasks <= self.tasks_max
            && index.bytes + index.aside_bytes + bytes <= self.bytes_max
    }

    pub(super) fn limits(&self) -> (u64, u64) {
        (self.tasks_max, self.bytes_max)
    }

    /// Applies all changes in one commit, which is on disk when this returns. Answers for each whether it changed
    /// anything. On an error the file must be opened again: whether the commit is in it is not known.
    pub(super) fn apply(&self, changes: &[Change], index: &mut Index) -> Result<Vec<bool>> {
        self.try_apply(changes, index).map_err(other)
    }

    fn try_apply(
        &self,
        changes: &[Change],
        index: &mut Index,
    ) -> std::result::Result<Vec<bool>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut done = Vec::with_capacity(changes.len());
        {
            let mut tables = Tables::of(&transaction)?;
            for change in changes {
                done.push(tables.apply(change, index)?);
            }
        }
        transaction.commit()?;
        Ok(done)
    }

    /// The first entries of a queue, at most `max` with `bytes_max` bytes unless one alone has more.
    pub(super) fn head(
        &self,
        queue: &QueueName,
        max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(u64, std::result::Result<Entry, String>)>> {
        let read = || -> std::result::Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(ENTRIES)?;
            let mut bytes = 0;
            let mut head = Vec::new();
            for row in table.range((queue.as_str(), 0)..=(queue.as_str(), u64::MAX))? {
                let (key, value) = row?;
                bytes += value.value().len();
                if head.len() == max || (!head.is_empty() && bytes_max < bytes) {
                    break;
                }
                head.push((key.value().1, Entry::decode(value.value())));
            }
            Ok(head)
        };
        read().map_err(other)
    }

    pub(super) fn list_aside(&self, limit: usize) -> Result<Vec<SetAside>> {
        let read = || -> std::result::Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(ASIDE)?;
            let mut found = Vec::new();
            for row in table.iter()?.take(limit) {
                let (key, value) = row?;
                let (queue, number) = key.value();
                let (reason, entry) = value.value();
                // A name that is none was never written; it would only hide the others.
                let Ok(queue) = QueueName::parse(queue) else {
                    continue;
                };
                found.push(SetAside {
                    queue,
                    number,
                    id: Entry::decode(entry).ok().map(|entry| entry.task.id()),
                    reason: reason.to_owned(),
                });
            }
            Ok(found)
        };
        read().map_err(other)
    }
}

struct Tables<'a> {
    entries: Table<'a, (&'static str, u64), &'static [u8]>,
    aside: Table<'a, (&'static str, u64), (&'static str, &'static [u8])>,
}

impl<'a> Tables<'a> {
    fn of(transaction: &'a WriteTransaction) -> std::result::Result<Self, redb::Error> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            aside: transaction.open_table(ASIDE)?,
        })
    }

    fn apply(
        &mut self,
        change: &Change,
        index: &mut Index,
    ) -> std::result::Result<bool, redb::Error> {
        match change {
            Change::Append(queue, entries) => {
                for entry in entries {
                    if index.will_be_sent(queue, entry.task.id()) {
                        continue;
                    }
                    let (number, bytes) = (index.next, entry.encode());
                    self.entries.insert((queue.as_str(), number), &*bytes)?;
                    index.add(queue, number, bytes.len(), Some(entry));
                }
                Ok(true)
            }
            Change::Remove(queue, numbers) => {
                for number in numbers {
                    let gone = self.entries.remove((queue.as_str(), *number))?;
                    let id = gone.and_then(|bytes| id_of(bytes.value()));
                    index.remove(queue, *number, id);
                }
                Ok(true)
            }
            Change::SetAside(queue, number, reason) => {
                let key = (queue.as_str(), *number);
                let waiting = self.entries.remove(key)?;
                let waiting = waiting.map(|bytes| bytes.value().to_vec());
                let Some(bytes) = waiting else {
                    return self.give_reason(key, reason);
                };
                self.aside.insert(key, (reason.as_str(), &*bytes))?;
                index.remove(queue, *number, id_of(&bytes));
                index.aside += 1;
                index.aside_bytes += bytes.len() as u64;
                Ok(true)
            }
            Change::PutBack(queue, number) => {
                let Some(bytes) = self.take_aside(queue, *number, index)? else {
                    return Ok(false);
                };
                self.entries.insert((queue.as_str(), *number), &*bytes)?;
                let entry = Entry::decode(&bytes).ok();
                index.add(queue, *number, bytes.len(), entry.as_ref());
                Ok(true)
            }
            Change::Forget(queue, number) => Ok(self.take_aside(queue, *number, index)?.is_some()),
        }
    }

    fn give_reason(
        &mut self,
        key: (&str, u64),
        reason: &str,
    ) -> std::result::Result<bool, redb::Error> {
        let found = self.aside.get(key)?.map(|row| row.value().1.to_vec());
        if let Some(bytes) = &found {
            self.aside.insert(key, (reason, bytes.as_slice()))?;
        }
        Ok(found.is_some())
    }

    fn take_aside(
        &mut self,
        queue: &QueueName,
        number: u64,
        index: &mut Index,
    ) -> std::result::Result<Option<Vec<u8>>, redb::Error> {
        let found = self.aside.remove((queue.as_str(), number))?;
        let bytes = found.map(|row| row.value().1.to_vec());
        if let Some(bytes) = &bytes {
            index.aside -= 1;
            index.aside_bytes -= bytes.len() as u64;
        }
        Ok(bytes)
    }
}

fn id_of(entry: &[u8]) -> Option<TaskId> {
    Entry::decode(entry).ok().map(|entry| entry.task.id())
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut maker = std::fs::DirBuilder::new();
    maker.recursive(true);
    // The arguments of tasks are nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
    maker.create(folder)
}

fn open_database(folder: &Path) -> Result<Database> {
    let limit = Instant::now() + LOCK_PATIENCE;
    loop {
        let opened = Builder::new()
            .set_cache_size(CACHE_BYTES)
            // A file that was damaged behind our back is an error then, and not a panic later.
            .set_check_integrity_on_open(true)
            .create(folder.join("spool.redb"));
        match opened {
            Ok(database) => return Ok(database),
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < limit => {
                thread::sleep(LOCK_LOOK_EVERY);
            }
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                return Err(SpoolError::Locked {
                    folder: folder.to_owned(),
                });
            }
            Err(error) => return Err(damaged(folder, &error.into())),
        }
    }
}

/// Makes the tables where they are not there, and reads them; `None` if they are of another version.
fn prepare(database: &Database) -> std::result::Result<Option<Index>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut index = Index::default();
    {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(FORMAT) => {}
            Some(_) => return Ok(None),
            None => drop(meta.insert("format", FORMAT)?),
        }
        let tables = Tables::of(&transaction)?;
        for row in tables.entries.iter()? {
            let (key, value) = row?;
            let (queue, number) = key.value();
            if let Ok(queue) = QueueName::parse(queue) {
                let entry = Entry::decode(value.value()).ok();
                index.add(&queue, number, value.value().len(), entry.as_ref());
            }
        }
        for row in tables.aside.iter()? {
            let (key, value) = row?;
            index.aside += 1;
            index.aside_bytes += value.value().1.len() as u64;
            index.next = index.next.max(key.value().1 + 1);
        }
    }
    transaction.commit()?;
    Ok(Some(index))
}

fn damaged(folder: &Path, error: &redb::Error) -> SpoolError {
    let is_damage = match error {
        redb::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        redb::Error::Backend(_) | redb::Error::PreviousIo => false,
        _ => true,
    };
    if is_damage {
        return SpoolError::Damaged {
            folder: folder.to_owned(),
            reason: error.to_string(),
        };
    }
    SpoolError::Io(TransportError::new(error.to_string()))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> SpoolError {
    SpoolError::Io(TransportError::new(error))
}
