//! A worker as a user writes one, with the tasks of these tests.

use lovage_integration_tests as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    lovage::worker::run_cli().await
}
