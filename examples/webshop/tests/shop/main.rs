//! The shop by its edges: HTTP comes in, mails and pages go out.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod clicks;
mod deploy;
mod http;
mod mails;
mod pages;
mod processes;
mod stage;
