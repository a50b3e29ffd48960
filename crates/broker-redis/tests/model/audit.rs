//! Reads every key of a namespace, and holds what is there to what each key is for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use lovage_conformance::model::Look;
use lovage_core::{Place, TaskId};
use redis::aio::MultiplexedConnection;

type Id = Vec<u8>;

/// All keys of one queue, as `docs/protocol.md` names them.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    tasks: HashMap<Id, Vec<u8>>,
    ready: BTreeMap<u8, Vec<Id>>,
    scheduled: HashMap<Id, f64>,
    dead: HashMap<Id, f64>,
    active: BTreeMap<String, HashMap<Id, String>>,
    identities: BTreeSet<String>,
    suspects: BTreeSet<String>,
    reports: BTreeSet<String>,
    leases: BTreeSet<String>,
    reasons: HashMap<Id, Vec<u8>>,
    dead_bytes: usize,
    facts: BTreeSet<Id>,
    cancels: BTreeSet<Id>,
    waiting: BTreeSet<Id>,
    ghosts: HashMap<Id, u64>,
    /// Until when, the key, its span and who took the task last, by the task.
    locks: HashMap<Id, String>,
    /// The task that holds a key, and what else stands there.
    unique: HashMap<String, Vec<u8>>,
    others: Vec<String>,
}

impl Audit {
    /// Reads them all. Nobody else may be writing.
    pub(crate) async fn read(connection: &mut MultiplexedConnection) -> Self {
        let keys = all_keys(connection).await;
        let mut commands = redis::pipe();
        for key in &keys {
            let (command, arguments): (_, &[&str]) = match kind(key) {
                "tasks" | "active" | "suspects" | "reports" | "reasons" | "facts" | "waiting"
                | "ghosts" | "meta" | "locks" => ("HGETALL", &[]),
                "unique" => ("GET", &[]),
                "ready" => ("LRANGE", &["0", "-1"]),
                "scheduled" | "dead" | "identities" | "bell" => {
                    ("ZRANGE", &["0", "-1", "WITHSCORES"])
                }
                "cancels" => ("SMEMBERS", &[]),
                _ => ("TYPE", &[]),
            };
            commands.cmd(command).arg(key).arg(arguments);
        }
        let mut audit = Self::default();
        if keys.is_empty() {
            return audit;
        }
        let values: Vec<redis::Value> = commands
            .query_async(connection)
            .await
            .expect("the server answers");
        for (key, value) in keys.iter().zip(values) {
            audit.take(key, value);
        }
        audit
    }

    fn take(&mut self, key: &str, value: redis::Value) {
        let rest = key.rsplit(':').next().unwrap_or_default().to_owned();
        match kind(key) {
            "tasks" => self.tasks = from(value),
            "ready" => {
                self.ready
                    .insert(rest.parse().expect("a level is a digit"), from(value));
            }
            "scheduled" => self.scheduled = from(value),
            "dead" => self.dead = from(value),
            "active" => {
                self.active.insert(rest, from(value));
            }
            "identities" => {
                let scores: HashMap<String, f64> = from(value);
                self.identities = scores.into_keys().collect();
            }
            "suspects" => self.suspects = names(value),
            "reports" => self.reports = names(value),
            "meta" => {
                let fields: HashMap<String, Vec<u8>> = from(value);
                let bytes = fields.get("dead_bytes").cloned().unwrap_or_default();
                self.dead_bytes = String::from_utf8_lossy(&bytes).parse().unwrap_or(0);
                let leases = fields.keys().filter_map(|name| name.strip_prefix("lease:"));
                self.leases = leases.map(str::to_owned).collect();
            }
            "reasons" => self.reasons = from(value),
            "facts" => self.facts = ids(value),
            "waiting" => self.waiting = ids(value),
            "cancels" => self.cancels = from(value),
            "ghosts" => self.ghosts = from(value),
            "locks" => self.locks = from(value),
            "unique" => {
                self.unique.insert(rest, from(value));
            }
            "bell" | "result" | "losses" | "once" => {}
            _ => self.others.push(key.to_owned()),
        }
    }

    /// Whether each task is where the model has it and nowhere else, and nothing is left of those that are gone.
    pub(crate) fn compare(&self, model: &Look) -> Result<(), String> {
        let places = self.places()?;
        for (id, place) in &model.places {
            let found = places.get(id).copied().unwrap_or(Place::Gone);
            check(found == *place, || {
                format!("{id} is {place:?} by the model and {found:?} in Redis")
            })?;
        }
        for (id, (worker, fence)) in &model.holdings {
            let held = self.active.get(&worker.to_string());
            let mark = held.and_then(|held| held.get(id.as_bytes().as_slice()));
            let expected = format!("{}:{}", fence.number, fence.claimed_at.get());
            check(mark == Some(&expected), || {
                format!("{worker} holds {id} by {expected}, in Redis by {mark:?}")
            })?;
        }
        self.check_rest()
    }

    /// Where each id is. An id in two places, in none, or without its bytes is an error.
    fn places(&self) -> Result<BTreeMap<TaskId, Place>, String> {
        let mut found: Vec<(&Id, Place)> = Vec::new();
        for (level, list) in &self.ready {
            found.extend(self.without_ghosts(*level, list)?);
        }
        found.extend(self.scheduled.keys().map(|id| (id, Place::Scheduled)));
        found.extend(self.dead.keys().map(|id| (id, Place::Dead)));
        let held = self.active.values().flat_map(HashMap::keys);
        found.extend(held.map(|id| (id, Place::Active)));

        let mut places = BTreeMap::new();
        for (id, place) in found {
            check(self.tasks.contains_key(id), || {
                format!("{} is {place:?} without its bytes", hex(id))
            })?;
            let id = TaskId::try_from(id.as_slice()).map_err(|error| error.to_string())?;
            if let Some(other) = places.insert(id, place) {
                return Err(format!("{id} is {other:?} and {place:?}"));
            }
        }
        check(places.len() == self.tasks.len(), || {
            format!("{} tasks are in {} places", self.tasks.len(), places.len())
        })?;
        Ok(places)
    }

    /// The ids of a ready list that stand for a task. Those that stand for nothing come before the one that does.
    fn without_ghosts<'a>(
        &'a self,
        level: u8,
        list: &'a [Id],
    ) -> Result<Vec<(&'a Id, Place)>, String> {
        let mut ghosts = self.ghosts.clone();
        let mut real = Vec::new();
        for id in list {
            match ghosts.get_mut(&ghost_of(id, level)) {
                Some(left) if 0 < *left => *left -= 1,
                _ => {
                    let stored = self.tasks.get(id).and_then(|bytes| bytes.get(2));
                    check(stored == Some(&level), || {
                        format!("{} of level {stored:?} is ready at {level}", hex(id))
                    })?;
                    real.push((id, Place::Ready));
                }
            }
        }
        Ok(real)
    }

    /// Whether each key that is held until a start or an end is that of a live task, and each task that must hold its key
    /// does.
    fn check_locks(&self, dead: &BTreeSet<Id>) -> Result<(), String> {
        for (id, entry) in &self.locks {
            check(self.tasks.contains_key(id), || {
                format!("locks has {} left", hex(id))
            })?;
            let (mode, key) = (&entry[..1], &entry[1..33]);
            let holder = self.unique.get(key).map(|value| &value[..16]);
            let must_hold = mode == "d" && entry[33..].starts_with("::") && !dead.contains(id);
            check(!must_hold || holder == Some(id), || {
                format!("{} does not hold its key {key}", hex(id))
            })?;
        }
        for (key, value) in &self.unique {
            let (id, mode) = (value[..16].to_vec(), value[16]);
            let entry = self.locks.get(&id);
            let lives = entry.is_some_and(|entry| &entry[1..33] == key) && !dead.contains(&id);
            check(mode == b't' || lives, || {
                format!("{key} is held by {}, which does not live", hex(&id))
            })?;
        }
        Ok(())
    }

    fn check_rest(&self) -> Result<(), String> {
        let entries = |ghost: &Id| {
            let (id, level) = ghost.split_at(ghost.len() - 1);
            let list = self.ready.get(&(level[0] - b'0'));
            list.map_or(0, |list| list.iter().filter(|entry| *entry == id).count())
        };
        for (ghost, count) in &self.ghosts {
            check(0 < *count && *count <= entries(ghost) as u64, || {
                format!("{} ghosts of {} have no entries", count, hex(ghost))
            })?;
        }
        let dead: BTreeSet<Id> = self.dead.keys().cloned().collect();
        check(
            self.reasons.keys().cloned().collect::<BTreeSet<_>>() == dead,
            || "reasons are not those of the dead".to_owned(),
        )?;
        let envelopes = dead.iter().map(|id| self.tasks[id].len());
        let bytes: usize = envelopes.chain(self.reasons.values().map(Vec::len)).sum();
        check(self.dead_bytes == bytes, || {
            format!(
                "the dead take {bytes} bytes, by the account {}",
                self.dead_bytes
            )
        })?;
        let held = |id: &Id| self.active.values().any(|held| held.contains_key(id));
        for (what, orphan) in [
            (
                "facts",
                self.facts.iter().find(|id| !self.tasks.contains_key(*id)),
            ),
            ("cancels", self.cancels.iter().find(|id| !held(id))),
            (
                "waiting",
                self.waiting
                    .iter()
                    .find(|id| !self.tasks.contains_key(*id) || dead.contains(*id)),
            ),
        ] {
            if let Some(orphan) = orphan {
                return Err(format!("{what} has {} left", hex(orphan)));
            }
        }
        self.check_locks(&dead)?;
        let watched = |worker: &&String| !self.identities.contains(*worker);
        for (what, orphan) in [
            ("active", self.active.keys().find(watched)),
            ("suspects", self.suspects.iter().find(watched)),
            ("reports", self.reports.iter().find(watched)),
            ("leases", self.leases.iter().find(watched)),
        ] {
            if let Some(orphan) = orphan {
                return Err(format!("{what} has the unknown identity {orphan}"));
            }
        }
        check(self.others.is_empty(), || {
            format!("keys that nobody knows: {:?}", self.others)
        })
    }
}

async fn all_keys(connection: &mut MultiplexedConnection) -> Vec<String> {
    let mut keys = BTreeSet::new();
    let mut cursor = 0u64;
    loop {
        let (next, part): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("COUNT")
            .arg(1000)
            .query_async(connection)
            .await
            .expect("the server answers");
        keys.extend(part);
        if next == 0 {
            return keys.into_iter().collect();
        }
        cursor = next;
    }
}

/// The part of a key behind the hash tag that says what it is.
fn kind(key: &str) -> &str {
    let (_, rest) = key.split_once("}:").unwrap_or_default();
    rest.split(':').next().unwrap_or_default()
}

fn from<T: redis::FromRedisValue>(value: redis::Value) -> T {
    redis::from_redis_value(value).expect("each key is of its type")
}

fn ids(value: redis::Value) -> BTreeSet<Id> {
    let fields: HashMap<Id, Vec<u8>> = from(value);
    fields.into_keys().collect()
}

fn names(value: redis::Value) -> BTreeSet<String> {
    let fields: HashMap<String, Vec<u8>> = from(value);
    fields.into_keys().collect()
}

fn ghost_of(id: &Id, level: u8) -> Id {
    let mut ghost = id.clone();
    ghost.push(b'0' + level);
    ghost
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}
