//! The Redis broker of Lovage: Redis 6.2 or later, or Valkey; one server, a primary that sentinels name, or a cluster.
//!
//! Every transition of a task is one Lua script in `scripts/`, called by the function of the same name in
//! `src/transitions/`. The keys are listed in `docs/protocol.md` and spelled in `keys.rs` alone.

mod access;
pub mod acl;
mod bell;
mod broker;
mod checkup;
mod cluster;
mod config;
mod confirm;
mod connection;
mod dead_letters;
mod divisions;
mod error;
mod keys;
mod partitioned;
mod reply;
mod reports;
mod routes;
mod schedules;
mod script;
mod sentinel;
mod site;
mod subscription;
mod tls;
mod transitions;
mod version;

pub use access::Credentials;
pub use broker::RedisBroker;
pub use config::{ConnectError, RedisConfig};
