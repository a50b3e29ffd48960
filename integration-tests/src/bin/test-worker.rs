//! A worker as a user writes one, with the tasks of these tests.

use lovage_integration_tests::{acks, risky};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    risky::begin();
    acks::install();
    lovage::worker::run_cli().await
}
