//! What only the Redis broker can meet: keys, scripts and connections that are not as they should be.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as the tests themselves do"
)]

mod beats;
mod common;
mod connections;
mod divisions;
mod locks;
mod outboxes;
mod partitions;
mod permissions;
mod races;
mod scripts;
mod secrets;
mod sizes;
mod tls;
