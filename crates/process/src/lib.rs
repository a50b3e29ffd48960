//! What the programs of Lovage share: where their logs go, how they are asked after, how they are configured, and how
//! they wait for their broker and look at it.
//!
//! No broker is spoken to here, and no signal is heard: what a signal means is each program's own affair.

mod broker;
pub mod config;
mod connect;
pub mod health;
mod home;
mod logs;
mod servers;

pub use broker::{BrokerArgs, BrokerArgsError};
pub use connect::{ConnectFailure, connected};
pub use home::{Home, Host, Monotonic};
pub use logs::{LogFormat, install_logs};
pub use servers::looked_at;
