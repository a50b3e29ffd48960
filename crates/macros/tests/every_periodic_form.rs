//! Each form that a schedule in the code can have, in a crate with strict lints.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]

use lovage::{Misfire, Schedule, SolarEvent, State, mins, periodic, secs, task};

/// The least.
#[periodic(every = secs(30))]
#[task]
pub async fn least() {}

/// Several, above and below, by any path, and with a comma at the end.
#[lovage::periodic(cron = "0 9 * * MON-FRI", tz = "Europe/Lisbon", args = several("eu"),)]
#[task(queue = "mail")]
#[periodic(name = "several/us", cron = NINE, tz = "America/New_York", misfire = Misfire::All, args = several("us"))]
pub async fn several(region: String, state: State<u8>) {
    drop((region, state));
}

const NINE: &str = "0 9 * * MON-FRI";

/// Any schedule.
#[task(cpu)]
#[periodic(name = "summer", schedule = Schedule::cron("@hourly")?.jitter(secs(5)), starting = "2027-06-21T00:00:00Z")]
#[periodic(solar = SolarEvent::Sunset, latitude = 38.72, longitude = -9.14, except = ["2026-12-25", "2027-01-01"])]
pub fn any() {}

/// What is sent for another reason as well.
#[periodic(every = mins(1))]
#[task]
#[deprecated = "for a test"]
pub async fn deprecated() {}

#[periodic(every = mins(1))]
#[task]
async fn private() {}

/// Attributes go where they belong.
#[periodic(every = mins(1))]
#[task]
#[cfg(any())]
pub async fn not_there(missing: NoSuchType) {}

fn main() {}
