//! All keys of one queue at one instant: is every task in exactly one place, and what is left when all is done?
//!
//! It spells the keys itself, from `docs/protocol.md`: it looks at what is stored, not at what the code calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lovage_core::TaskId;
use lovage_test_redis::RedisServer;

/// One script: the answer is one instant.
const SCRIPT: &str = r"
local q, found = KEYS[1], {}
local function add(place, ids)
  for _, id in ipairs(ids) do
    found[#found + 1] = place
    found[#found + 1] = id
  end
end
for level = 0, 9 do add('ready', redis.call('LRANGE', q .. ':ready:' .. level, 0, -1)) end
add('scheduled', redis.call('ZRANGE', q .. ':scheduled', 0, -1))
for _, key in ipairs(redis.call('KEYS', q .. ':active:*')) do add('active', redis.call('HKEYS', key)) end
add('dead', redis.call('ZRANGE', q .. ':dead', 0, -1))
add('stored', redis.call('HKEYS', q .. ':tasks'))
add('reason', redis.call('HKEYS', q .. ':reasons'))
add('facts', redis.call('HKEYS', q .. ':facts'))
add('cancelled', redis.call('SMEMBERS', q .. ':cancels'))
add('awaited', redis.call('HKEYS', q .. ':waiting'))
add('suspect', redis.call('HKEYS', q .. ':suspects'))
add('locked', redis.call('HKEYS', q .. ':locks'))
for _, key in ipairs(redis.call('KEYS', q .. ':unique:*')) do
  -- Others run out by themselves.
  if redis.call('PTTL', key) < 0 then add('key', { string.sub(redis.call('GET', key), 1, 16) }) end
end
add('owing', redis.call('ZRANGE', q .. ':callbacks', 0, -1))
add('identity', redis.call('ZRANGE', q .. ':identities', 0, -1))
local ghosts = redis.call('HGETALL', q .. ':ghosts')
for i = 1, #ghosts, 2 do
  -- Behind the id stands the digit of the priority.
  for _ = 1, tonumber(ghosts[i + 1]) do add('ghost', { string.sub(ghosts[i], 1, -2) }) end
end
return found
";

/// Where an id was found. The first four are the places of a task, the others what is noted beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a list of ready tasks.
    Ready,
    /// In the set of scheduled tasks.
    Scheduled,
    /// Held by a worker.
    Active,
    /// Among the dead letters.
    Dead,
    /// Its bytes are stored.
    Stored,
    /// The reason of its death is stored.
    Reason,
    /// Losses or puttings-off are noted.
    Facts,
    /// A cancellation is noted.
    Cancelled,
    /// Somebody waits for its outcome.
    Awaited,
    /// An entry in a list of ready tasks stands for nothing.
    Ghost,
    /// It holds the key of a unique task, or did and may hold it again.
    Locked,
    /// The key of a unique task is held for it, without an end.
    Key,
    /// Its callback is owed.
    Owing,
    /// Not a task: a worker that recovery watches.
    Suspect,
    /// Not a task: a registered worker.
    Identity,
}

/// What the keys of a queue held at one instant.
#[derive(Clone, Debug, Default)]
pub struct Audit(BTreeMap<Vec<u8>, Vec<Place>>);

impl Audit {
    pub(crate) async fn of(redis: &RedisServer, queue: &str) -> Self {
        let key = format!("{{lovage:{queue}}}");
        let found: Vec<(String, Vec<u8>)> = redis
            .cli(&["EVAL", SCRIPT, "1", &key])
            .await
            .expect("the server answers an audit");
        let mut audit = Self::default();
        for (place, id) in found {
            audit.0.entry(id).or_default().push(read_place(&place));
        }
        audit
    }

    /// The ids that are in `place`.
    pub fn ids(&self, place: Place) -> BTreeSet<TaskId> {
        self.with(place)
            .filter_map(|id| TaskId::try_from(id).ok())
            .collect()
    }

    /// The worker identities that are registered.
    pub fn identities(&self) -> Vec<&[u8]> {
        self.with(Place::Identity).collect()
    }

    /// Whether this task is in `place`.
    pub fn has(&self, id: TaskId, place: Place) -> bool {
        self.0
            .get(id.as_bytes().as_slice())
            .is_some_and(|places| places.contains(&place))
    }

    /// Holds that every task is in exactly one place, and that all notes belong to a task.
    ///
    /// # Panics
    /// With all violations.
    pub fn check(&self) {
        let wrong = self.complaints(|places| {
            let count = |place| places.iter().filter(|found| **found == place).count();
            let ready = count(Place::Ready).checked_sub(count(Place::Ghost));
            let in_places = ready.map(|ready| {
                ready + count(Place::Scheduled) + count(Place::Active) + count(Place::Dead)
            });
            let stored = count(Place::Stored);
            in_places == Some(stored)
                && count(Place::Reason) == count(Place::Dead)
                && count(Place::Cancelled) <= count(Place::Active)
                && count(Place::Facts) <= stored
                && count(Place::Awaited) <= stored
                && count(Place::Owing) <= count(Place::Dead)
        });
        assert!(wrong.is_empty(), "not in exactly one place:\n{wrong}");
    }

    /// Whether nothing is left but dead letters and the workers; otherwise what is left.
    pub fn at_rest(&self) -> Result<(), String> {
        self.check();
        let left = self.complaints(|places| {
            let is_dead = places.contains(&Place::Dead);
            places.iter().all(|place| match place {
                Place::Identity => true,
                Place::Dead | Place::Reason | Place::Stored | Place::Facts | Place::Locked => {
                    is_dead
                }
                _ => false,
            })
        });
        if left.is_empty() { Ok(()) } else { Err(left) }
    }

    fn with(&self, place: Place) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(_, places)| places.contains(&place))
            .map(|(id, _)| id.as_slice())
    }

    /// A line for each id whose places are not as they should be; at most ten.
    fn complaints(&self, good: impl Fn(&[Place]) -> bool) -> String {
        let mut text = String::new();
        let bad = self.0.iter().filter(|(_, places)| !good(places));
        for (id, places) in bad.take(10) {
            let shown = TaskId::try_from(id.as_slice())
                .map_or_else(|_| format!("{id:?}"), |id| id.to_string());
            writeln!(text, "{shown}: {places:?}").expect("a String takes all");
        }
        text
    }
}

fn read_place(word: &str) -> Place {
    match word {
        "ready" => Place::Ready,
        "scheduled" => Place::Scheduled,
        "active" => Place::Active,
        "dead" => Place::Dead,
        "stored" => Place::Stored,
        "reason" => Place::Reason,
        "facts" => Place::Facts,
        "cancelled" => Place::Cancelled,
        "awaited" => Place::Awaited,
        "ghost" => Place::Ghost,
        "locked" => Place::Locked,
        "key" => Place::Key,
        "owing" => Place::Owing,
        "suspect" => Place::Suspect,
        "identity" => Place::Identity,
        other => panic!("not a place: {other:?}"),
    }
}
