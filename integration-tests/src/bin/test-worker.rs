//! A worker as a user writes one, with the tasks of these tests.

use lovage_integration_tests::acks;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    acks::install();
    lovage::worker::run_cli().await
}
