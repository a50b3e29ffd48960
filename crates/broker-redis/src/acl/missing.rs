//! What a user may not do, and must.

use std::collections::BTreeSet;
use std::fmt;

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
        // A command without arguments asks for itself alone; but for SET, whose key Redis reads unseen.
        let commands = self.commands().map(|command| {
            let words_of = |command: &str| command.split('|').map(str::to_owned).collect();
            let asked: Vec<Vec<String>> = match command {
                "set" => keys
                    .iter()
                    .filter(|(access, _)| *access != Access::Read)
                    .map(|(_, key)| words(["set", key, ""]))
                    .collect(),
                command => vec![words_of(command)],
            };
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
        let channels = self.channels().map(|channel| {
            let publish = [
                words(["publish", &channel, ""]),
                words(["subscribe", &channel]),
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
