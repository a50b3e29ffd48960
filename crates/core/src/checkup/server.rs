//! What a server says of itself, and what is to be made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Finding, FindingKind};
use crate::time::{Millis, secs};

/// So much may the clocks of a server and of a host differ before people are confused by it.
const CLOCKS_APART_MAX: Duration = secs(5);

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServerLook {
    /// Where it is.
    pub address: String,
    /// What it says of its state, by the names of Redis.
    pub info: BTreeMap<String, String>,
    /// How it is configured, likewise.
    pub config: BTreeMap<String, String>,
    /// What it did not answer, with the reason.
    pub untold: Vec<String>,
    /// By how much its clock differs from this host's, when it was asked.
    pub clock_apart: Option<Duration>,
}

impl ServerLook {
    /// What is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut say = |kind, what: String| {
            found.push(Finding {
                kind,
                place: self.address.clone(),
                what,
                repaired: false,
            });
        };
        let maxmemory = number(self.config("maxmemory").or_else(|| self.info("maxmemory")));
        let policy = self
            .config("maxmemory-policy")
            .or_else(|| self.info("maxmemory_policy"));
        if let (Some(policy), Some(1..)) = (policy, maxmemory)
            && policy != "noeviction"
        {
            say(
                FindingKind::Eviction,
                format!("maxmemory-policy is {policy}: any task may be deleted; set noeviction"),
            );
        }
        if let (Some(used), Some(max @ 1..)) = (number(self.info("used_memory")), maxmemory)
            && max / 10 * 9 < used
        {
            say(
                FindingKind::Memory,
                format!("{used} bytes of {max} are used: sends are refused when all are"),
            );
        }
        if self.config("appendonly") == Some("no") && self.config("save") == Some("") {
            let what =
                "neither appendonly nor save is set: a server that ends takes all tasks with it";
            say(FindingKind::Persistence, what.to_owned());
        }
        for (name, what) in [
            (
                "rdb_last_bgsave_status",
                "the last snapshot could not be written",
            ),
            (
                "aof_last_write_status",
                "the append-only file cannot be written",
            ),
        ] {
            if self.info(name) == Some("err") {
                say(FindingKind::Persistence, what.to_owned());
            }
        }
        if self.info("role").is_some_and(|role| role != "master") {
            let what = "it is a replica, and takes nothing".to_owned();
            say(FindingKind::Role, what);
        }
        let wanted = number(self.config("min-replicas-to-write"));
        let replicas = self.good_replicas();
        if let (Some(wanted), Some(replicas)) = (wanted, replicas)
            && replicas < wanted
        {
            say(
                FindingKind::Replication,
                format!("{replicas} replicas of {wanted} that it must have: it refuses all writes"),
            );
        }
        if let Some(version) = self.info("redis_version")
            && !is_new_enough(version)
        {
            say(
                FindingKind::Version,
                format!("{version} is too old: 6.2 is the oldest that is supported"),
            );
        }
        if let Some(apart) = self.clock_apart
            && CLOCKS_APART_MAX < apart
        {
            say(
                FindingKind::Clock,
                format!(
                    "its clock and this host's differ by {apart:?}: no task is affected, who reads logs may be"
                ),
            );
        }
        found
    }

    /// Why it refuses all writes, if it says so.
    pub fn refuses_writes(&self) -> Option<&'static str> {
        let wanted = number(self.config("min-replicas-to-write")).unwrap_or_default();
        if self.good_replicas().is_some_and(|good| good < wanted) {
            return Some("it has fewer replicas than min-replicas-to-write");
        }
        if self.info("aof_last_write_status") == Some("err") {
            return Some("its append-only file cannot be written");
        }
        None
    }

    /// What its end may take, as far as it says (docs/guarantees.md, 14).
    pub fn keeps(&self) -> Option<&'static str> {
        Some(
            match (self.config("appendonly")?, self.config("appendfsync")) {
                ("yes", Some("always")) => "a kill or a power loss takes nothing",
                ("yes", Some("everysec")) => "a kill takes nothing, a power loss up to two seconds",
                ("yes", _) => "a kill takes nothing, a power loss what the system had not written",
                _ if self.config("save") == Some("") => "a kill or a power loss takes all",
                _ => "a kill or a power loss takes what came after the last snapshot",
            },
        )
    }

    /// Notes what its clock showed between two looks at this host's.
    pub fn compare_clocks(&mut self, before: Millis, theirs: Millis, after: Millis) {
        self.clock_apart = Some(theirs.since(after).max(before.since(theirs)));
    }

    /// How many replicas answer in time, where that counts; else how many are connected.
    fn good_replicas(&self) -> Option<u64> {
        let good = self.info("min_slaves_good_slaves");
        number(good.or_else(|| self.info("connected_slaves")))
    }

    fn info(&self, name: &str) -> Option<&str> {
        self.info.get(name).map(String::as_str)
    }

    fn config(&self, name: &str) -> Option<&str> {
        self.config.get(name).map(String::as_str)
    }
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (6, 2) <= found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(config: &[(&str, &str)], info: &[(&str, &str)]) -> ServerLook {
        let map = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            owned.collect()
        };
        ServerLook {
            config: map(config),
            info: map(info),
            ..ServerLook::default()
        }
    }

    fn kinds(look: &ServerLook) -> Vec<FindingKind> {
        look.findings().iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn each_finding_of_a_server_is_named() {
        for (config, info, expected) in [
            (
                &[("maxmemory", "9"), ("maxmemory-policy", "allkeys-lru")][..],
                &[][..],
                Some(FindingKind::Eviction),
            ),
            (
                &[("maxmemory", "0"), ("maxmemory-policy", "allkeys-lru")],
                &[],
                None,
            ),
            (
                &[("maxmemory", "1000")],
                &[("used_memory", "950")],
                Some(FindingKind::Memory),
            ),
            (&[("maxmemory", "1000")], &[("used_memory", "500")], None),
            (
                &[("appendonly", "no"), ("save", "")],
                &[],
                Some(FindingKind::Persistence),
            ),
            (&[("appendonly", "yes"), ("save", "")], &[], None),
            (
                &[],
                &[("aof_last_write_status", "err")],
                Some(FindingKind::Persistence),
            ),
            (&[], &[("role", "slave")], Some(FindingKind::Role)),
            (
                &[("min-replicas-to-write", "2")],
                &[("connected_slaves", "1")],
                Some(FindingKind::Replication),
            ),
            // One that is connected and lags behind counts for nothing.
            (
                &[("min-replicas-to-write", "1")],
                &[("connected_slaves", "1"), ("min_slaves_good_slaves", "0")],
                Some(FindingKind::Replication),
            ),
            (
                &[],
                &[("redis_version", "6.0.16")],
                Some(FindingKind::Version),
            ),
            (&[], &[("redis_version", "7.0.15")], None),
        ] {
            let found = kinds(&server(config, info));
            assert_eq!(
                found,
                expected.into_iter().collect::<Vec<_>>(),
                "{config:?} {info:?}"
            );
        }
    }

    #[test]
    fn clocks_that_differ_are_named_by_how_much() {
        let mut look = ServerLook::default();
        let [early, late] = [100_000, 100_200].map(Millis::new);
        look.compare_clocks(early, Millis::new(105_000), late);
        assert_eq!(kinds(&look), []);
        look.compare_clocks(early, Millis::new(94_000), late);
        assert_eq!(look.clock_apart, Some(secs(6)));
        assert_eq!(kinds(&look), [FindingKind::Clock]);
    }
}
