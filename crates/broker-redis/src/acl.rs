//! What a user of Redis must be allowed to do, by what it is for: the rules that `ACL SETUSER` takes.
//!
//! What is listed here is what the laws of a broker use, each verb under the user of its role, and nothing else: a test
//! compares (`tests/roles`). docs/security.md shows the rules and says what they cannot keep apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lovage_core::QueueName;

mod grants;
mod missing;

use crate::config::NAMESPACE_DEFAULT;
use crate::keys::{channels, pattern_of_beat, patterns_of_queue};

use grants::{BEAT, Grant, KeysOf, OPERATOR, PRODUCER, WORKER};
pub use missing::Missing;
pub(crate) use missing::{ask, lacking};

/// What a user is for. Programs that are several things at once have a user that may do what each of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Sends tasks; waits for them, looks where they are, cancels and reschedules them.
    Producer,
    /// Runs tasks. Bodies that send tasks need what a producer may do as well.
    Worker,
    /// Fires schedules.
    Beat,
    /// Looks at everything, and acts: dead letters, bounds, partitions, schedules, the doctor.
    Operator,
}

impl Role {
    /// Each there is.
    pub const ALL: [Self; 4] = [Self::Producer, Self::Worker, Self::Beat, Self::Operator];

    fn grant(self) -> &'static Grant {
        match self {
            Self::Producer => &PRODUCER,
            Self::Worker => &WORKER,
            Self::Beat => &BEAT,
            Self::Operator => &OPERATOR,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Beat => "beat",
            Self::Operator => "operator",
        })
    }
}

/// Makes connections, and finds the primary behind sentinels, or the nodes of a cluster.
const CONNECTING: &[&str] = &["cluster|slots", "info", "ping", "role", "select"];

/// Calls scripts. In a selector of their own, with all keys: Redis wants whoever names a key in a call to be allowed to
/// read and write it, also where the script only reads it. What the script does is looked at command by command.
const SCRIPTS: [&str; 2] = ["eval", "evalsha"];

/// What the user of a program must be allowed to do.
///
/// ```
/// use lovage_broker_redis::acl::{Acl, Role};
///
/// let acl = Acl::of([Role::Beat]).namespace("shop");
/// println!("ACL SETUSER shop-beat on >PASSWORD {acl}"); // for redis-cli, or after `user` for an ACL file
/// assert!(acl.rules().contains(&"+bzpopmin".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    roles: BTreeSet<Role>,
    namespace: String,
    queues: Vec<QueueName>,
    fsync: bool,
}

impl Acl {
    /// Of a program that is all of `roles`, under the default namespace, with all queues.
    pub fn of(roles: impl IntoIterator<Item = Role>) -> Self {
        Self {
            roles: roles.into_iter().collect(),
            namespace: NAMESPACE_DEFAULT.to_owned(),
            queues: Vec::new(),
            fsync: false,
        }
    }

    /// Sets the namespace, as [`RedisConfig::namespace`](crate::RedisConfig::namespace) does.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Only for these queues, with their partitions. A task that fails, or a schedule, may send to any other: name those
    /// as well.
    pub fn queues(mut self, queues: impl IntoIterator<Item = QueueName>) -> Self {
        self.queues = queues.into_iter().collect();
        self
    }

    /// Also for sends that are confirmed on disk. Servers before Redis 7.2 refuse a rule that names `WAITAOF`.
    pub fn fsync(mut self) -> Self {
        self.fsync = true;
        self
    }

    /// The rules for `ACL SETUSER`, a word each, for Redis 7 and later and for Valkey. They begin by taking away what the
    /// user was allowed before, and leave its passwords as they are.
    pub fn rules(&self) -> Vec<String> {
        let mut rules = words(&["resetkeys", "resetchannels", "clearselectors", "-@all"]);
        rules.extend(self.commands().map(|command| format!("+{command}")));
        for (access, pattern) in self.keys() {
            rules.push(format!("{access}~{pattern}"));
        }
        rules.extend(self.channels().map(|channel| format!("&{channel}")));
        rules.push(self.selector());
        rules
    }

    /// The same for Redis 6.2, which knows neither selectors nor keys that are only read: all keys of the namespace are for
    /// all commands.
    pub fn rules_before_7(&self) -> Vec<String> {
        let mut rules = words(&["resetkeys", "resetchannels", "-@all"]);
        let commands = self.commands().chain(SCRIPTS);
        rules.extend(commands.map(|command| format!("+{command}")));
        rules.extend(self.script_keys().map(|pattern| format!("~{pattern}")));
        rules.extend(self.channels().map(|channel| format!("&{channel}")));
        rules
    }

    /// In the order of the alphabet.
    fn commands(&self) -> impl Iterator<Item = &'static str> {
        let mut commands: BTreeSet<&str> = CONNECTING.iter().copied().collect();
        commands.extend(self.grants().flat_map(|grant| grant.commands.split(' ')));
        if self.fsync {
            commands.insert("waitaof");
        }
        commands.into_iter()
    }

    /// What may be done with them, and their patterns.
    fn keys(&self) -> Vec<(Access, String)> {
        let of_queue = self.spelled(
            |grant| &grant.queue,
            |name| patterns_of_queue(&self.namespace, &self.queues, name),
        );
        let of_beat = self.spelled(
            |grant| &grant.beat,
            |name| vec![pattern_of_beat(&self.namespace, name)],
        );
        of_queue.into_iter().chain(of_beat).collect()
    }

    fn spelled(
        &self,
        of: impl Fn(&Grant) -> &KeysOf,
        spell: impl Fn(&str) -> Vec<String>,
    ) -> Vec<(Access, String)> {
        let mut access: BTreeMap<&str, Access> = BTreeMap::new();
        for keys in self.grants().map(of) {
            for (names, of_names) in [
                (keys.read, Access::Read),
                (keys.write, Access::Write),
                (keys.both, Access::Both),
            ] {
                for name in names.split_whitespace() {
                    access
                        .entry(name)
                        .and_modify(|known| *known = known.with(of_names))
                        .or_insert(of_names);
                }
            }
        }
        let spelled = access
            .into_iter()
            .flat_map(|(name, access)| spell(name).into_iter().map(move |key| (access, key)));
        spelled.collect()
    }

    fn channels(&self) -> impl Iterator<Item = String> {
        let some = self.grants().any(|grant| grant.channels);
        some.then(|| format!("{}*", channels(&self.namespace)))
            .into_iter()
    }

    /// Patterns of all keys that calls of scripts name.
    fn script_keys(&self) -> impl Iterator<Item = String> {
        let of_queue = patterns_of_queue(&self.namespace, &self.queues, "*");
        let some_beat = self
            .roles
            .iter()
            .any(|role| matches!(role, Role::Beat | Role::Operator));
        let of_beat = some_beat.then(|| pattern_of_beat(&self.namespace, "*"));
        of_queue.into_iter().chain(of_beat)
    }

    fn selector(&self) -> String {
        let commands = SCRIPTS.iter().map(|command| format!("+{command}"));
        let keys = self.script_keys().map(|pattern| format!("~{pattern}"));
        format!("({})", commands.chain(keys).collect::<Vec<_>>().join(" "))
    }

    fn grants(&self) -> impl Iterator<Item = &'static Grant> {
        self.roles.iter().map(|role| role.grant())
    }
}

impl fmt::Display for Acl {
    /// The [`rules`](Self::rules), a space between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rules().join(" "))
    }
}

/// The rules of the user that asks sentinels for the primary: at these, not at Redis.
pub fn sentinel_rules() -> Vec<String> {
    words(&["-@all", "+sentinel|get-master-addr-by-name"])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What may be done with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Both,
}

impl Access {
    fn with(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

impl fmt::Display for Access {
    /// As rules have it before the `~`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "%R",
            Self::Write => "%W",
            Self::Both => "",
        })
    }
}
