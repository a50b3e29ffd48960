//! A mail server that keeps every mail as a file and sends none on: `mail-sink [ADDRESS [FOLDER]]`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use anyhow::Context as _;
use webshop::{Sink, stopped};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let address = words.next().unwrap_or_else(|| "127.0.0.1:2525".to_owned());
    let folder = words
        .next()
        .unwrap_or_else(|| "webshop-data/mails".to_owned());
    let sink = Sink::bind(&address, &folder)
        .await
        .with_context(|| format!("cannot take mails on {address} into {folder}"))?;
    println!("mails for {} are kept in {folder}", sink.address()?);
    tokio::select! {
        () = sink.run() => {}
        () = stopped() => {}
    }
    Ok(())
}
