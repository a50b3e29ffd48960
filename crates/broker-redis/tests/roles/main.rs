//! Users that may do what their role does, and nothing else (docs/security.md).

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as the tests themselves do"
)]

mod by_role;
mod observer;
mod preflight;
mod rare;
mod refused;
mod sites;

use std::collections::BTreeSet;
use std::sync::Arc;

use by_role::ByRole;
use lovage_broker_redis::acl::{Acl, Role, sentinel_rules};
use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_conformance::Harness;
use lovage_core::Clock;
use lovage_test_redis::RedisServer;
use observer::Observer;
use tokio::sync::Mutex;

/// Needed where this server is not: behind sentinels, in a cluster, in another database; or not told by MONITOR.
/// `HELLO` is open to everybody.
const ELSEWHERE: [&str; 4] = ["+cluster|slots", "+config|get", "+role", "+select"];

/// Makes the user of each role, called as it is.
pub(crate) async fn make_users(server: &RedisServer, namespace: &str) {
    for role in Role::ALL {
        make_user(
            server,
            &role.to_string(),
            &Acl::of([role]).namespace(namespace),
        )
        .await;
    }
}

pub(crate) async fn make_user(server: &RedisServer, user: &str, acl: &Acl) {
    set_user(server, user, acl.rules()).await;
}

pub(crate) async fn set_user(server: &RedisServer, user: &str, rules: Vec<String>) {
    let mut words: Vec<String> = ["ACL", "SETUSER", user, "on", ">pw"]
        .map(str::to_owned)
        .into();
    words.extend(rules);
    server.cli::<()>(&words).await.unwrap();
}

pub(crate) fn config(server: &RedisServer, user: &str) -> RedisConfig {
    RedisConfig::new(
        server
            .url()
            .replace("redis://", &format!("redis://{user}:pw@")),
    )
}

async fn connect(server: &RedisServer, namespace: &str, clock: &Clock) -> ByRole {
    let of = async |role: Role| {
        let config = config(server, &role.to_string())
            .namespace(namespace)
            .clock(clock.clone());
        RedisBroker::connect(&config).await.unwrap()
    };
    ByRole {
        producer: of(Role::Producer).await,
        worker: of(Role::Worker).await,
        beat: of(Role::Beat).await,
        operator: of(Role::Operator).await,
    }
}

/// One server for all laws, and a namespace for each, whose users are watched.
#[derive(Clone)]
struct Watched(Arc<Mutex<Watch>>);

struct Watch {
    server: RedisServer,
    observer: Observer,
    laws: u32,
    /// Keeps the connections of the last law.
    last: Option<ByRole>,
}

impl Watch {
    async fn next(&mut self, clock: Clock) -> ByRole {
        self.observer.attribute(&self.server).await;
        self.laws += 1;
        let namespace = format!("law-{}", self.laws);
        make_users(&self.server, &namespace).await;
        let broker = connect(&self.server, &namespace, &clock).await;
        self.last = Some(broker.clone());
        broker
    }
}

impl Harness for Watched {
    type Broker = ByRole;

    async fn start(&mut self, clock: Clock) -> ByRole {
        self.0.lock().await.next(clock).await
    }
}

/// Whether a role may do all that it is for is held by the laws; whether it may do no more, by what they were seen to use.
#[tokio::test]
async fn each_role_may_do_what_it_does_and_nothing_else() {
    let server = RedisServer::start().await;
    let observer = Observer::of(&server).await;
    let watched = Watched(Arc::new(Mutex::new(Watch {
        server,
        observer,
        laws: 0,
        last: None,
    })));
    lovage_conformance::suite!(all: watched.clone()).await;
    let mut watch = watched.0.lock().await;
    let broker = watch.next(Clock::System).await;
    let namespace = format!("law-{}", watch.laws);
    rare::all(&watch.server, &broker, &namespace).await;
    let Watch {
        server, observer, ..
    } = &mut *watch;
    observer.attribute(server).await;
    let mut differences = Vec::new();
    for role in Role::ALL {
        let granted = granted(&Acl::of([role]));
        let mut used = observer.used(&role.to_string());
        used.remove("+hello");
        let unused = granted
            .difference(&used)
            .map(|rule| format!("{role} need not {rule}"));
        let lacking = used
            .difference(&granted)
            .map(|rule| format!("{role} lacks {rule}"));
        differences.extend(unused.chain(lacking));
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_documented_rules_are_those_of_the_code() {
    let documented = include_str!("../../../../docs/security.md");
    let rules = Role::ALL.map(|role| {
        format!(
            "ACL SETUSER shop-{role} on >PASSWORD {}",
            Acl::of([role]).namespace("shop")
        )
    });
    let sentinel = format!(
        "ACL SETUSER shop-sentinel on >PASSWORD {}",
        sentinel_rules().join(" ")
    );
    for line in rules.into_iter().chain([sentinel]) {
        assert!(
            documented.lines().any(|documented| documented == line),
            "{line}"
        );
    }
}

/// Redis 6.2 knows neither selectors nor keys that are only read.
#[tokio::test]
async fn rules_for_servers_before_7_are_enough() {
    let server = RedisServer::start().await;
    for role in Role::ALL {
        set_user(&server, &role.to_string(), Acl::of([role]).rules_before_7()).await;
    }
    let broker = connect(&server, "lovage", &Clock::System).await;
    rare::all(&server, &broker, "lovage").await;
}

/// The rules of the main part, key by key and access by access.
fn granted(acl: &Acl) -> BTreeSet<String> {
    let mut granted = BTreeSet::new();
    for rule in acl.rules() {
        if rule.starts_with('+') && !ELSEWHERE.contains(&rule.as_str()) {
            granted.insert(rule);
        } else if let Some((access, key)) = rule.split_once('~').filter(|_| !rule.starts_with('('))
        {
            let sort = observer::sort(key).unwrap();
            let each = if access.is_empty() {
                vec!["%R", "%W"]
            } else {
                vec![access]
            };
            for one in each {
                granted.insert(format!("{one}~{sort}"));
            }
        }
    }
    granted.extend(["+eval", "+evalsha"].map(str::to_owned));
    granted
}
