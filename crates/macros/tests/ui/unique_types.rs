use lovage::{Unique, secs, task};

#[task(unique = true)]
async fn bool_for_unique() {}

#[task(unique = secs(10))]
async fn span_for_unique() {}

#[task(unique = Unique::by(|refresh: &refresh_with_key| refresh.store))]
async fn refresh_with_key(shop: u64) {
    let _ = shop;
}

#[task(unique = Unique::by(|other: &bool_for_unique| 1))]
async fn of_another_task() {}

struct Plain;

#[task(unique = Unique::by(|_: &no_key| Plain))]
async fn no_key() {}

#[task(unique = Unique::args().throttle(10))]
async fn number_for_span() {}

fn main() {}
