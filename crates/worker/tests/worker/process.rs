//! A worker as a process of its own: signals, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use clap::Parser;
use lovage_core::{States, ms, secs};
use lovage_worker::cli::{Args, run};

use crate::support::{Act, Stand, registry, until};

/// What the child is told to do: a body that waits for its token, or one that blocks its thread while the broker hangs.
const CHILD: &str = "LOVAGE_WORKER_TEST_CHILD";

/// Not a test but the process that the tests below start; by itself it has nothing to do.
#[test]
fn the_child() {
    let Ok(mode) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stand = Stand::new();
        let blocks = mode == "blocks";
        stand
            .broker
            .set(|faults| &faults.claims_panic, mode == "crashes");
        stand
            .send(if blocks {
                Act::Block
            } else {
                Act::WaitPolitely
            })
            .await;
        let (probe, broker) = (Arc::clone(&stand.probe), stand.broker.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(until("the body runs", || probe.started() == 1));
            broker.set(|faults| &faults.hangs, blocks);
            println!("\nbody runs");
        });
        let args = Args::parse_from(["worker", "--queues", "default", "--shutdown-grace", "100ms"]);
        let states = States::new().with(Arc::clone(&stand.probe));
        run(args, stand.broker.clone(), registry(), states)
            .await
            .unwrap();
        let counts = stand.counts().await;
        println!(
            "\nended with {} ready, {} active",
            counts.ready, counts.active
        );
    });
}

struct Started {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Started {
    fn new(mode: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::the_child", "--nocapture"])
            .env(CHILD, mode)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = std::sync::mpsc::channel();
        thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Self { child, lines }
    }

    fn until_line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(secs(30)).unwrap();
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn ends_well(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(start.elapsed() < secs(30), "the process does not end");
            thread::sleep(ms(10));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn sigterm_drains_gives_back_the_rest_and_exits_with_0() {
    let mut worker = Started::new("polite");
    worker.until_line("body runs");
    worker.signal("-TERM");
    assert!(
        worker
            .until_line("ended")
            .contains("ended with 1 ready, 0 active")
    );
    worker.ends_well();
}

#[test]
fn a_worker_whose_main_loop_panics_does_not_exit_with_0() {
    let mut worker = Started::new("crashes");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = worker.child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < secs(30), "the process does not end");
        thread::sleep(ms(10));
    };
    assert!(!status.success(), "{status}");
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_process_although_nothing_else_does() {
    let mut worker = Started::new("blocks");
    worker.until_line("body runs");
    worker.signal("-TERM");
    // Signals of one kind that arrive together are one: the second is sent until it is heard.
    let start = Instant::now();
    while worker.child.try_wait().unwrap().is_none() {
        worker.signal("-INT");
        assert!(start.elapsed() < secs(30), "the process does not end");
        thread::sleep(ms(50));
    }
    worker.ends_well();
}
