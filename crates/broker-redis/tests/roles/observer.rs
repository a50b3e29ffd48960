//! What users do, as Redis's MONITOR tells it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use lovage_test_redis::RedisServer;
use redis::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is said of a command: who sent it, its name, and what sort of key it names.
type Seen = (String, String, Option<String>);

pub(crate) struct Observer {
    seen: Arc<Mutex<HashSet<Seen>>>,
    marks: watch::Receiver<u64>,
    marked: u64,
    /// What each user does, in the words of rules.
    used: HashMap<String, BTreeSet<String>>,
    flags: HashMap<String, Vec<String>>,
    listener: JoinHandle<()>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Observer {
    pub(crate) async fn of(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        let monitor = client.get_async_monitor().await.unwrap();
        let seen: Arc<Mutex<HashSet<Seen>>> = Arc::default();
        let (mark, marks) = watch::channel(0);
        let listener = tokio::spawn({
            let seen = seen.clone();
            async move {
                let mut lines = std::pin::pin!(monitor.into_on_message::<Value>());
                let mut caller = String::new();
                while let Some(line) = lines.next().await {
                    let line = match &line {
                        Value::SimpleString(line) => line.clone(),
                        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        other => panic!("{other:?} is no line of a monitor"),
                    };
                    let Some((source, words)) = read(&line) else {
                        continue;
                    };
                    // The commands of a script follow its call.
                    if source != "lua" {
                        caller = source;
                    }
                    if let [name, text] = words.as_slice()
                        && name == "ECHO"
                    {
                        mark.send_replace(text.parse().unwrap());
                        continue;
                    }
                    let mut seen = seen.lock().unwrap();
                    let name = command(&words);
                    let keys = if name == "exists" {
                        &words[1..]
                    } else {
                        &words[1..words.len().min(2)]
                    };
                    seen.insert((caller.clone(), name.clone(), None));
                    for sort in keys.iter().filter_map(|key| sort(key)) {
                        seen.insert((caller.clone(), name.clone(), Some(sort)));
                    }
                }
            }
        });
        Self {
            seen,
            marks,
            marked: 0,
            used: HashMap::new(),
            flags: HashMap::new(),
            listener,
        }
    }

    /// Asks who they are that did something since. Whoever has left is nobody: so it is asked before.
    pub(crate) async fn attribute(&mut self, server: &RedisServer) {
        self.marked += 1;
        let mark = self.marked;
        server
            .cli::<String>(&["ECHO", &mark.to_string()])
            .await
            .unwrap();
        self.marks.wait_for(|seen| mark <= *seen).await.unwrap();
        let clients: String = server.cli(&["CLIENT", "LIST"]).await.unwrap();
        let clients: HashMap<&str, &str> = clients
            .lines()
            .filter_map(|line| {
                let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
                Some((field("addr=")?, field("user=")?))
            })
            .collect();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        for (address, name, sort) in seen {
            let Some(whose) = clients.get(address.as_str()) else {
                continue;
            };
            let used = self.used.entry((*whose).to_owned()).or_default();
            used.insert(format!("+{name}"));
            let Some(sort) = sort else { continue };
            if !self.flags.contains_key(&name) {
                let flags = flags(server, &name).await;
                self.flags.insert(name.clone(), flags);
            }
            let flags = &self.flags[&name];
            let has = |some: &[&str]| flags.iter().any(|flag| some.contains(&flag.as_str()));
            if has(&["access"]) {
                used.insert(format!("%R~{sort}"));
            }
            if has(&["insert", "delete", "update"]) {
                used.insert(format!("%W~{sort}"));
            }
            // Only its type or its length.
            used.insert(format!("?~{sort}"));
        }
    }

    pub(crate) fn used(&self, whose: &str) -> BTreeSet<String> {
        let used = self.used.get(whose).cloned().unwrap_or_default();
        let asked = used.iter().filter_map(|rule| rule.strip_prefix("?~"));
        let mut needed: BTreeSet<String> = used
            .iter()
            .filter(|rule| !rule.starts_with('?'))
            .cloned()
            .collect();
        for sort in asked {
            let (read, write) = (format!("%R~{sort}"), format!("%W~{sort}"));
            if !used.contains(&read) && !used.contains(&write) {
                needed.insert(read);
            }
        }
        needed
    }
}

/// `1700000000.000000 [0 127.0.0.1:50000] "HGET" "key" "field"`.
fn read(line: &str) -> Option<(String, Vec<String>)> {
    let (_, rest) = line.split_once(" [")?;
    let (source, rest) = rest.split_once("] ")?;
    let (_, source) = source.split_once(' ')?;
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, rest.chars());
    while let Some(next) = chars.next() {
        match (next, &mut word) {
            ('"', None) => word = Some(String::new()),
            ('"', Some(_)) => words.extend(word.take()),
            ('\\', Some(word)) => word.extend(chars.next()),
            (next, Some(word)) => word.push(next),
            (_, None) => {}
        }
    }
    Some((source.to_owned(), words))
}

fn command(words: &[String]) -> String {
    let name = words[0].to_lowercase();
    match (name.as_str(), words.get(1)) {
        ("cluster" | "config" | "client", Some(sub)) => format!("{name}|{}", sub.to_lowercase()),
        _ => name,
    }
}

/// `Q:tasks` or `B:history:*`, as rules of some namespace have it.
pub(crate) fn sort(key: &str) -> Option<String> {
    let (tag, name) = key.strip_prefix('{')?.split_once("}:")?;
    let begins = [
        "active", "ready", "result", "unique", "once", "history", "outbox",
    ];
    let name = match name.split_once(':') {
        Some((begin, _)) if begins.contains(&begin) => format!("{begin}:*"),
        _ => name.to_owned(),
    };
    Some(format!(
        "{}:{name}",
        if tag.contains(':') { 'Q' } else { 'B' }
    ))
}

/// What a command does with the first key that it names.
async fn flags(server: &RedisServer, name: &str) -> Vec<String> {
    for arguments in 1..6 {
        let mut words = vec!["COMMAND", "GETKEYSANDFLAGS", name];
        words.extend(["1"; 5].iter().take(arguments));
        if let Ok(keys) = server.cli::<Vec<(String, Vec<String>)>>(&words).await {
            let flags = keys
                .into_iter()
                .next()
                .map(|(_, flags)| flags)
                .unwrap_or_default();
            return flags.iter().map(|flag| flag.to_lowercase()).collect();
        }
    }
    panic!("{name} names no key");
}
