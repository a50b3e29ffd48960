//! A beat as a user writes one, for the schedules that the tests write into files and make at run time.

use lovage_integration_tests as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    lovage::beat::run_cli().await
}
