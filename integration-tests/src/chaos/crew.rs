//! The workers of a run: killed, frozen, stopped and replaced.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lovage_core::{Clock, ms, secs};

use super::Options;
use super::grounds::Grounds;
use super::windows::{What, Windows};
use crate::acks::ACKS_VARIABLE;
use crate::journal::{JOURNAL_VARIABLE, Journal};
use crate::process::{Process, ProcessBuilder};
use crate::risky::is_running;

/// Bodies side by side in one worker.
const CONCURRENCY: usize = 16;
/// Child processes of one worker.
const CHILDREN: &str = "2";
/// How long a worker that is told to stop lets bodies run; then it cancels them, and a second later aborts them.
pub(super) const GRACE: Duration = ms(300);
const SIGTERM: i32 = 15;
/// How long a child may take to notice that its worker is gone.
const LEAVING_MAX: Duration = secs(10);
const LOOK_EVERY: Duration = ms(50);

/// The workers, each in a slot with a way of its own to what stores the tasks.
#[derive(Debug)]
pub(crate) struct Crew {
    slots: Vec<(ProcessBuilder, Process)>,
}

impl Crew {
    pub(crate) fn hire(
        options: &Options,
        grounds: &Grounds,
        journal: &Journal,
        folder: &Path,
    ) -> Self {
        let slots = (0..options.workers).map(|slot| {
            let log = folder.join(format!("worker-{slot}.log"));
            let url = grounds.worker_url(slot);
            let builder = ProcessBuilder::new(&options.worker, journal.path(), log, &url)
                .concurrency(CONCURRENCY)
                .lease(options.lease)
                .grace(GRACE)
                .flag("process-concurrency", CHILDREN)
                .variable(ACKS_VARIABLE, "1")
                .variable("RUST_LOG", "warn");
            let process = builder.spawn();
            (builder, process)
        });
        Self {
            slots: slots.collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn pid(&self, slot: usize) -> u32 {
        self.slots[slot].1.pid()
    }

    pub(crate) fn process(&self, slot: usize) -> &Process {
        &self.slots[slot].1
    }

    /// Kills a worker and starts another in its place.
    pub(crate) fn kill(&mut self, slot: usize, windows: &Windows) {
        let (builder, process) = &mut self.slots[slot];
        let (pid, from) = (process.pid(), Clock::System.now());
        process.kill9();
        windows.note(What::Kill, from, secs(0), Some(vec![pid]));
        *process = builder.spawn();
    }

    /// Stops a worker as an orchestrator does, and starts another in its place.
    pub(crate) async fn stop(&mut self, slot: usize, windows: &Windows) -> Result<()> {
        let (builder, process) = &mut self.slots[slot];
        let (pid, from) = (process.pid(), Clock::System.now());
        process.terminate();
        let status = process.end().await;
        windows.note(What::Stop, from, secs(0), Some(vec![pid]));
        // One that has only just been started knows no signals yet, and holds nothing.
        let too_young = status.signal() == Some(SIGTERM);
        ensure!(
            status.success() || too_young,
            "a worker that was told to stop ended with {status}; its log:\n{}",
            process.log_tail()
        );
        *process = builder.spawn();
        Ok(())
    }

    /// Starts those again that have ended, which none does by itself.
    pub(crate) fn all_alive(&mut self) -> Result<()> {
        for (_, process) in &mut self.slots {
            let ended = process.ended();
            ensure!(
                ended.is_none(),
                "a worker ended by itself with {ended:?}; its log:\n{}",
                process.log_tail()
            );
        }
        Ok(())
    }

    /// Stops all; a worker that was frozen or cut off must end in order as well.
    pub(crate) async fn dismiss(mut self) -> Result<()> {
        self.all_alive()?;
        for (_, process) in &mut self.slots {
            process.terminate();
        }
        for (_, process) in &mut self.slots {
            let status = process.end().await;
            ensure!(status.success(), "a worker ended with {status}");
        }
        Ok(())
    }
}

/// Waits until no worker and no child of one is left that writes into this journal, whoever its parent is by now.
pub(crate) async fn until_no_process_is_left(journal: &Journal) -> Result<()> {
    let variable = format!("{JOURNAL_VARIABLE}={}", journal.path().display());
    let until = Instant::now() + LEAVING_MAX;
    loop {
        let left = processes_with(&variable)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "processes outlive their workers: {left:?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The processes that have this variable in their environment, but for those that are over.
fn processes_with(variable: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that ends meanwhile, or is somebody else's, cannot be read.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        if variables.any(|own| own == variable.as_bytes()) && is_running(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}
