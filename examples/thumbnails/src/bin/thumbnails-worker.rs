//! A worker that makes thumbnails; run as many as you like, on every machine that sees the folders.

// Names the crate of the task, so that it is linked and its task is known.
use thumbnails as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    lovage::worker::run_cli().await
}
