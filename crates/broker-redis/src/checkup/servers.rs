//! What servers say of themselves.

use std::collections::BTreeMap;

use lovage_core::{BrokerError, Clock, Millis, ServerLook};
use redis::{Value, cmd};

use crate::broker::Shared;
use crate::reply::{list, number, text};

/// What of a server's configuration says what it keeps and takes.
const SETTINGS: [&str; 6] = [
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "min-replicas-to-write",
];

/// What the server of this number says of itself, if there is one.
pub(super) async fn server(shared: &Shared, at: usize) -> Option<ServerLook> {
    let mut look = ServerLook {
        address: format!("server {at}"),
        ..ServerLook::default()
    };
    let untold = |command: &str, error: BrokerError| format!("{command}: {error}");
    match shared.connection.at(at, &cmd("INFO")).await {
        Ok(told) => {
            let (address, reply) = told?;
            look.address = address;
            let lines = string(&reply);
            let fields = lines.lines().filter_map(|line| line.split_once(':'));
            look.info = fields.map(owned).collect();
        }
        Err(error) => look.untold.push(untold("INFO", error)),
    }
    for setting in SETTINGS {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(setting);
        match shared.connection.at(at, &get).await {
            Ok(told) => {
                let (address, reply) = told?;
                look.address = address;
                look.config.extend(pairs(reply));
            }
            Err(error) => {
                look.untold.push(untold("CONFIG GET", error));
                break;
            }
        }
    }
    let before = Clock::System.now();
    match shared.connection.at(at, &cmd("TIME")).await {
        Ok(told) => {
            let (address, reply) = told?;
            look.address = address;
            if let Some(theirs) = instant(reply) {
                look.compare_clocks(before, theirs, Clock::System.now());
            }
        }
        Err(error) => look.untold.push(untold("TIME", error)),
    }
    Some(look)
}

fn pairs(reply: Value) -> BTreeMap<String, String> {
    match reply {
        Value::Map(pairs) => {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| (string(name), string(value)))
                .collect()
        }
        Value::Array(items) => {
            let pairs = items.chunks_exact(2);
            pairs
                .map(|pair| (string(&pair[0]), string(&pair[1])))
                .collect()
        }
        _ => BTreeMap::new(),
    }
}

fn string(value: &Value) -> String {
    match value {
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text.clone(),
        value => String::from_utf8_lossy(text(value)).into_owned(),
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.trim().to_owned())
}

fn instant(reply: Value) -> Option<Millis> {
    let parts = list(reply)?;
    let [seconds, micros] = parts.as_slice() else {
        return None;
    };
    Some(Millis::new(
        number(seconds)? * 1000 + number(micros)? / 1000,
    ))
}
