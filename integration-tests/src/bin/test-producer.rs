//! A producer with a spool, which sends until it is killed: `test-producer URL FOLDER NOTES FIRST`. With `drain` in the
//! place of the number it ends once nothing waits in the spool.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;

use anyhow::{Context as _, ensure};
use lovage::{Client, SpoolConfig, TaskId, mins, ms, secs};
use lovage_integration_tests::tasks::quick;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [url, folder, notes, first] = words.as_slice() else {
        anyhow::bail!("give a URL, a folder, a file for notes and a number");
    };
    let builder = Client::builder(url).deadline(secs(1));
    let client = builder.spool(SpoolConfig::at(folder)).connect().await?;
    let spool = client.spool().context("it was asked for")?.clone();
    if first == "drain" {
        ensure!(spool.emptied(mins(1)).await, "{:?} stay", spool.stats());
        return Ok(());
    }
    let mut notes = OpenOptions::new().append(true).create(true).open(notes)?;
    for number in first.parse::<u128>()?.. {
        let id = TaskId::from_bytes(number.to_be_bytes());
        let kept = match client.send(quick(0)).id(id).await {
            Ok(handle) if handle.is_spooled() => "spooled",
            Ok(_) => "sent",
            // What was not answered Ok was not promised.
            Err(_) => "refused",
        };
        writeln!(notes, "{number} {kept}")?;
        tokio::time::sleep(ms(1)).await;
    }
    Ok(())
}
