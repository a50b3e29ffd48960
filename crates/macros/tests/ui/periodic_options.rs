use lovage::{SolarEvent, periodic, secs, task};

#[periodic]
#[task]
async fn no_time() {}

#[periodic(cron = "0 9 * * *", every = secs(30))]
#[task]
async fn two_times() {}

#[periodic(crontab = "0 9 * * *")]
#[task]
async fn unknown() {}

#[periodic(solar = SolarEvent::Sunset, latitude = 38.72)]
#[task]
async fn half_a_place() {}

#[periodic("0 9 * * *")]
#[task]
async fn no_name() {}

#[periodic(every = secs(30), name = "half past")]
#[task]
async fn blank_in_name() {}

#[periodic(every = secs(30), max_runs)]
#[task]
async fn value_left_out() {}

#[task]
#[periodic = "0 9 * * *"]
async fn not_in_parentheses() {}

fn main() {}
