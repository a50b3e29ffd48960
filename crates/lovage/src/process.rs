//! Child processes for `#[task(process)]`: what a program with a worker inside calls first.
//!
//! Such tasks run in children of the worker, which are the same program, started once more. A program whose `main` is
//! [`run_cli`](crate::worker::run_cli) has nothing to do: its children find their way there. One that starts a worker
//! by itself calls [`init`] or [`init_with`] first, so that its children do not do what only the program itself shall:
//!
//! ```no_run
//! use lovage::prelude::*;
//!
//! /// Whatever the library does to its process, the worker goes on.
//! #[task(process, memory = mib(512), hard_timeout = secs(30))]
//! fn render(page: Vec<u8>) -> Vec<u8> {
//!     page
//! }
//!
//! fn main() -> anyhow::Result<()> {
//!     lovage::process::init();
//!     serve()
//! }
//!
//! #[tokio::main]
//! async fn serve() -> anyhow::Result<()> {
//!     let client = Client::connect("redis://localhost").await?;
//!     let worker = client.worker().start().await?;
//!     // …
//! #   worker.ended().await;
//!     Ok(())
//! }
//! ```
//!
//! In tests `main` is not yours: let such tasks run on threads there, by
//! [`process_lane(ProcessLane::Threads)`](crate::worker::WorkerBuilder::process_lane). The test kit does so by itself.

use std::future::ready;
use std::io::Write as _;
use std::process::exit;
use std::thread;

use lovage_core::{Registry, States};
use lovage_worker::Entry;

/// Runs tasks and ends the process where it is a child of the process lane; else returns at once.
///
/// To be called early in `main`: after logging is set up, before anything that only one process can do. A child knows the
/// tasks of `#[task]` that are linked into the program, and no others. They find no states; see [`init_with`].
pub fn init() {
    init_with(|| ready(Ok(States::new())));
}

/// [`init`] with the states that the bodies take. They are made in the child alone, each child its own: pools are to be
/// small there. A body that sends takes `State<Client>`, which is made here as well.
///
/// ```no_run
/// # use lovage::{Client, States};
/// # struct Fonts;
/// # fn main() {
/// lovage::process::init_with(async || {
///     let client = Client::connect("redis://localhost").await?;
///     Ok(States::new().with(client).with(Fonts))
/// });
/// // the program itself
/// # }
/// ```
pub fn init_with<F>(states: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = anyhow::Result<States>>,
{
    let entry = match lovage_worker::entry() {
        Ok(None) => return,
        Ok(Some(entry)) => Ok(entry),
        Err(error) => Err(error.into()),
    };
    // A thread of its own: whoever calls may be on a runtime already, and that must not be blocked on.
    let child = thread::spawn(move || entry.and_then(|entry| serve(entry, states)));
    exit(match child.join() {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            // The worker keeps it as the last words of this process.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            1
        }
        // The panic has told itself.
        Err(_) => 101,
    });
}

fn serve<F>(entry: Entry, states: impl FnOnce() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<States>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let states = states().await?;
        entry.serve(Registry::linked().build()?, states).await
    })
}
