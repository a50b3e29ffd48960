//! A beat of the shop: has the daily report sent, and orders picked up. Run two, so that one can fail.

// Names the crate of the schedules, so that it is linked and they are known.
use webshop as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    lovage::beat::run_cli().await
}
