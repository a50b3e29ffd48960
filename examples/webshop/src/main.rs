//! The web server of the shop; with `memory://` all of the shop in one process.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use lovage::CancellationToken;
use lovage::prelude::*;
use tokio::net::TcpListener;
use webshop::{Settings, Shop, Sink, closed, router, stopped};

/// Takes orders over HTTP.
///
/// `WEBSHOP_ORDERS` is the file with the orders (webshop-data/orders.jsonl), `WEBSHOP_SMTP` the mail server
/// (`smtp://127.0.0.1:2525`), `WEBSHOP_PACE_MS` the pause between two steps of an order (1500): workers read them too.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the workers are: `redis://…`, with any number of `webshop-worker` and `webshop-beat` running; `memory://`
    /// does everything in this process, mails included
    #[arg(
        long,
        env = "LOVAGE_BROKER",
        default_value = "memory://",
        hide_env_values = true
    )]
    broker: String,
    /// The prefix of all keys at the broker
    #[arg(long, env = "LOVAGE_NAMESPACE", default_value = "lovage")]
    namespace: String,
    /// Where to serve the page
    #[arg(long, env = "WEBSHOP_LISTEN", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Starts a mail server here that sends nothing on, and shows its mails [default with `memory://`: 127.0.0.1:2525]
    #[arg(long, value_name = "ADDRESS")]
    mail_sink: Option<SocketAddr>,
    /// The folder with the mails of a sink: they are shown at /mails
    #[arg(long, env = "WEBSHOP_MAILS", value_name = "FOLDER")]
    mails: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let mut settings = Settings::from_env()?;
    let alone = arguments.broker.starts_with("memory:");

    let mut mails = arguments.mails;
    let sink = arguments.mail_sink.or_else(|| {
        let is_wanted = alone && std::env::var_os("WEBSHOP_SMTP").is_none();
        is_wanted.then(|| SocketAddr::from(([127, 0, 0, 1], 2525)))
    });
    if let Some(address) = sink {
        let folder = mails.get_or_insert_with(|| settings.orders.with_file_name("mails"));
        let sink = Sink::bind(address, folder.clone())
            .await
            .with_context(|| format!("cannot take mails on {address}"))?;
        settings.smtp = format!("smtp://{}", sink.address()?);
        println!("mails are kept in {}", folder.display());
        tokio::spawn(sink.run());
    }

    let (orders, mailer, pace) = settings.open()?;
    let client = Client::builder(&arguments.broker)
        .namespace(&arguments.namespace)
        .connect()
        .await?;
    let inside = if alone {
        let worker = client.worker().state(orders.clone()).state(mailer);
        let worker = worker.state(pace).start().await?;
        Some((worker, client.beat().start().await?))
    } else {
        None
    };

    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    println!("the shop is open at http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let following = tokio::spawn({
        let (orders, stop) = (orders.clone(), stop.clone());
        async move { orders.follow(&stop).await }
    });
    let routes = router(Shop { client, orders }, mails, stop.clone());
    // The streams of open pages end with this as well.
    let serving =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        served = serving.into_future() => served?,
        () = closed(&stop) => {}
    }
    following.await?;
    if let Some((worker, beat)) = inside {
        let ended = async {
            beat.shutdown().await;
            worker.shutdown().await;
        };
        tokio::select! {
            () = ended => {}
            () = stopped() => {}
        }
    }
    Ok(())
}
