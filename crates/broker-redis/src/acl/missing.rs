//! What a user may not do, and must.

use std::collections::BTreeSet;
use std::{fmt, iter};

use redis::{Cmd, Value};

use super::{Access, Acl, SCRIPTS};
use crate::reply::{list, number};
use crate::transitions;

/// What a user may not do that a program must be allowed, all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub(crate) user: String,
    pub(crate) server: String,
    does: String,
    rules: Vec<String>,
}

impl Missing {
    /// The rules to add by `ACL SETUSER`, a word each.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user, server, does, ..
        } = self;
        let rules = self.rules.join(" ");
        write!(
            f,
            "user {user:?} of Redis at {server} may not do all that a {does} does; allow it by: ACL SETUSER {user} {rules}"
        )
    }
}

/// A rule, and commands of which the user may run at least one where it has what the rule gives.
pub(crate) struct Probe {
    rule: String,
    commands: Vec<Vec<String>>,
}

impl Probe {
    fn new(rule: String, commands: impl IntoIterator<Item = Vec<String>>) -> Self {
        let commands = commands.into_iter().collect();
        Self { rule, commands }
    }
}

/// With how many keys it is tried whether a command is allowed. Where none of them is, Redis 8.6 leaves open whether the
/// command is, and it is named too.
const KEYS_TRIED: usize = 4;

/// What a command takes at least, so that a server that counts the words, as Redis 8.6 does, says whether it is allowed.
enum Takes {
    /// A key, and so many numbers.
    Key(usize),
    /// A channel, and so many numbers.
    Channel(usize),
    Numbers(usize),
}

fn takes(command: &str) -> Takes {
    match command {
        "cluster|slots" | "info" | "ping" | "role" | "time" | "unwatch" => Takes::Numbers(0),
        "config|get" | "scan" | "select" => Takes::Numbers(1),
        "wait" => Takes::Numbers(2),
        "waitaof" => Takes::Numbers(3),
        "subscribe" => Takes::Channel(0),
        "publish" => Takes::Channel(1),
        "del" | "exists" | "get" | "hkeys" | "hlen" | "hrandfield" | "hvals" | "llen" | "lpop"
        | "pttl" | "srandmember" | "type" | "zcard" => Takes::Key(0),
        "hset" | "hsetnx" | "lrange" | "lrem" | "ltrim" | "zadd" | "zcount" | "zrange"
        | "zrangebylex" | "zrangebyscore" => Takes::Key(2),
        _ => Takes::Key(1),
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

impl Acl {
    pub(crate) fn probes(&self) -> Vec<Probe> {
        // A pattern matches itself, so that a key of its text is allowed to whoever may use all that it matches.
        let scripts = self.script_keys().flat_map(|key| {
            SCRIPTS.map(|command| Probe::new(self.selector(), [words([command, "", "1", &key])]))
        });
        let keys = self.keys();
        let channels: Vec<String> = self.channels().collect();
        let both = keys.iter().filter(|(access, _)| *access == Access::Both);
        let tried: Vec<&String> = both.map(|(_, key)| key).take(KEYS_TRIED).collect();
        let commands = self.commands().map(|command| {
            let (about, numbers): (Vec<_>, _) = match takes(command) {
                Takes::Key(numbers) => (tried.iter().copied().map(Some).collect(), numbers),
                Takes::Channel(numbers) => (channels.iter().map(Some).collect(), numbers),
                Takes::Numbers(numbers) => (vec![None], numbers),
            };
            let name = || command.split('|').map(str::to_owned);
            let whole = |about: Option<&String>| {
                let numbers = iter::repeat_n("0".to_owned(), numbers);
                name().chain(about.cloned()).chain(numbers).collect()
            };
            // A name alone asks for nothing else, where the server takes it; but for SET, whose key it reads unseen.
            let alone = (command != "set").then(|| name().collect());
            let asked = about.into_iter().map(whole).chain(alone);
            Probe::new(format!("+{command}"), asked)
        });
        // Two commands that each role has: one of them may be among what is missing.
        let of_keys = keys.iter().flat_map(|(access, key)| {
            let rule = format!("{access}~{key}");
            let read = [words(["hget", key, "1"]), words(["zrange", key, "0", "0"])];
            let write = [
                words(["hset", key, "1", "1"]),
                words(["zadd", key, "1", "1"]),
            ];
            let read = (*access != Access::Write).then(|| Probe::new(rule.clone(), read));
            let write = (*access != Access::Read).then(|| Probe::new(rule, write));
            read.into_iter().chain(write)
        });
        let channels = channels.iter().map(|channel| {
            let publish = [
                words(["publish", channel, ""]),
                words(["subscribe", channel]),
            ];
            Probe::new(format!("&{channel}"), publish)
        });
        scripts
            .chain(commands)
            .chain(of_keys)
            .chain(channels)
            .collect()
    }

    /// What is missing where none of these is allowed to `user`.
    pub(crate) fn missing(&self, user: &str, server: String, rules: Vec<String>) -> Missing {
        let does: Vec<String> = self.roles.iter().map(ToString::to_string).collect();
        Missing {
            user: user.to_owned(),
            server,
            does: does.join(" and "),
            rules,
        }
    }
}

/// Asks of all of them whether the user may run them.
pub(crate) fn ask(probes: &[Probe]) -> Cmd {
    let commands = probes.iter().flat_map(|probe| &probe.commands);
    transitions::permissions(&commands.map(Vec::as_slice))
}

/// The rules that are missing by the answer, each once.
pub(crate) fn lacking(probes: Vec<Probe>, answer: Value) -> Vec<String> {
    let refused = list(answer).unwrap_or_default();
    let refused: BTreeSet<u64> = refused.iter().filter_map(number).collect();
    let (mut rules, mut first) = (Vec::new(), 0);
    for probe in probes {
        let mut places = first..first + probe.commands.len() as u64;
        first = places.end;
        if places.all(|place| refused.contains(&place)) && !rules.contains(&probe.rule) {
            rules.push(probe.rule);
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use lovage_test_redis::RedisServer;

    use crate::acl::Role;

    use super::*;

    /// Redis 8.6 says nothing of a command with too few or too many.
    #[tokio::test]
    async fn each_command_is_asked_about_with_as_many_words_as_it_takes() {
        let server = RedisServer::start().await;
        for probe in Acl::of(Role::ALL).fsync().probes() {
            let words = probe.commands.first().unwrap();
            let name = probe.rule.strip_prefix('+').unwrap_or(&words[0]);
            let told: Vec<Value> = server.cli(&["COMMAND", "INFO", name]).await.unwrap();
            // Nothing, where the server does not know it.
            let Some(Value::Array(told)) = told.first() else {
                continue;
            };
            let Some(Value::Int(arity)) = told.get(1) else {
                panic!("{told:?} has no arity");
            };
            let count = i64::try_from(words.len()).unwrap();
            let enough = count == *arity || (*arity < 0 && -arity <= count);
            assert!(enough, "{words:?} for an arity of {arity}");
        }
    }
}
