//! A redis-server of one's own for a test, a proxy in front of it that breaks in chosen ways, several servers with
//! sentinels, and a cluster.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use lovage_test_redis::{Fault, FaultProxy, RedisServer};
//!
//! let server = RedisServer::builder().appendonly("everysec").start().await;
//! let proxy = FaultProxy::start(&server).await;
//! // … connect to proxy.url() …
//! proxy.set(Fault::Swallow);
//! server.kill9();
//! server.restart().await;
//! # }
//! ```
//!
//! All of them run the program that `LOVAGE_REDIS_SERVER` names, if it is set, else `redis-server` or `valkey-server` on `PATH`.
//! Nothing here is skipped where there is no redis-server: a test that needs one fails and says how to get it.

mod cluster;
mod info;
mod launch;
mod proxy;
mod replica;
mod sentinels;
mod server;
mod tls;

pub use cluster::{Cluster, SlotMove};
pub use launch::{SERVER_NAMES, SERVER_VARIABLE, find_server, signal};
pub use proxy::{Fault, FaultProxy};
pub use sentinels::Sentinels;
pub use server::{Builder, RedisServer};
pub use tls::{Authority, Certificate};
