//! A worker of the shop: brings orders on their way and sends mails. Run as many as you like where the journal is.

use webshop::Settings;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (orders, mailer, pace) = Settings::from_env()?.open()?;
    let worker = lovage::worker::Cli::new().state(orders).state(mailer);
    worker.state(pace).run().await
}
