//! A program with a worker inside, as a user writes one: it counts its starts, and runs one task of the process lane.
//!
//! `test-embedded BROKER COUNT` appends a line to the file COUNT where its own work begins, and prints what the run
//! answered. With `LOVAGE_TEST_NO_ENTRY` set it has no entry for children.
#![expect(clippy::print_stdout, reason = "a program's answer")]

use std::fs::File;
use std::io::Write as _;

use anyhow::Context as _;
use lovage::prelude::*;
use lovage::{Registry, States};

#[derive(Clone, Copy)]
struct Greeting(&'static str);

#[task(process)]
fn greet(greeting: State<Greeting>, name: String) -> String {
    let Greeting(hello) = *greeting;
    format!("{hello}, {name}, from {}", std::process::id())
}

fn main() -> anyhow::Result<()> {
    if std::env::var_os("LOVAGE_TEST_NO_ENTRY").is_none() {
        lovage::process::init_with(states);
    }
    program()
}

/// Notes the child's id in COUNT.child, and waits while COUNT.wait is there.
async fn states() -> anyhow::Result<States> {
    let count = std::env::args()
        .next_back()
        .context("it is called as its program")?;
    let draft = format!("{count}.draft");
    std::fs::write(&draft, std::process::id().to_string())?;
    std::fs::rename(draft, format!("{count}.child"))?;
    while std::fs::exists(format!("{count}.wait"))? {
        tokio::time::sleep(ms(5)).await;
    }
    Ok(States::new().with(Greeting("Hello")))
}

#[tokio::main]
async fn program() -> anyhow::Result<()> {
    let [_, broker, count] = &std::env::args().collect::<Vec<_>>()[..] else {
        anyhow::bail!("usage: test-embedded BROKER COUNT");
    };
    let mut count = File::options().create(true).append(true).open(count)?;
    writeln!(count, "started")?;
    let client = Client::connect(broker).await?;
    let registry = Registry::new().with(greet::DEF).build()?;
    let worker = client.worker().registry(registry);
    let worker = worker.state(Greeting("Not this one")).start().await?;
    let handle = client.send(greet("Ada")).await?;
    println!("{}", handle.wait(secs(30)).await.context("the run")?);
    worker.shutdown().await;
    Ok(())
}
