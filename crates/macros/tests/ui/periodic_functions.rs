use lovage::{periodic, secs, task};

#[periodic(every = secs(30))]
async fn no_task() {}

#[periodic(every = secs(30))]
struct NoFunction;

#[periodic(every = secs(30))]
#[task]
async fn arguments_above(region: String) {}

#[task]
#[periodic(every = secs(30))]
async fn arguments_below(_: &lovage::TaskContext, region: String) {}

fn main() {}
