//! Sends tasks and runs them, all in one process: nothing has to be installed.
//!
//! `cargo run -p quickstart`, or `cargo run -p quickstart -- redis://localhost` with a Redis.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use lovage::prelude::*;

#[task]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(cpu)]
fn factorial(n: u64) -> u64 {
    (1..=n).product()
}

#[task(max_retries = 5, backoff = Backoff::constant(ms(100)))]
async fn fetch(context: &TaskContext, page: String) -> anyhow::Result<String> {
    let attempt = context.attempt();
    anyhow::ensure!(attempt == 3, "{page} does not answer attempt {attempt}");
    Ok(format!("{page} answered attempt {attempt}"))
}

/// Sent once a second, for as long as a beat runs.
#[periodic(every = secs(1))]
#[task]
async fn tick() {
    println!("tick");
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.as_deref().unwrap_or("memory://")).await?;
    let worker = client.worker().start().await?;

    // One task, and another with what the first answered.
    let sum = client.send(add(2, 3)).await?.wait(secs(10)).await?;
    let product = client.send(factorial(sum)).await?.wait(secs(10)).await?;
    println!("2 + 3 = {sum}, and {sum}! = {product}");

    // Many at once.
    let sums = client.send_all((1..=1000).map(|n| add(n, n))).await?;
    let mut total = 0;
    for handle in sums {
        total += handle.wait(secs(10)).await?;
    }
    println!("1000 sums add up to {total}");

    // A task that fails is run again.
    let page = client.send(fetch("example.org")).await?;
    println!("{}", page.wait(secs(10)).await?);

    // A task for later.
    let later = client.send(add(40, 2)).countdown(secs(1)).await?;
    println!("one second later: {}", later.wait(secs(10)).await?);

    // Tasks that a schedule sends, for a while.
    let beat = client.beat().start().await?;
    tokio::time::sleep(secs(3)).await;
    beat.shutdown().await;

    worker.shutdown().await;
    Ok(())
}
