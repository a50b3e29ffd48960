use lovage::{periodic, secs, task};

#[periodic(every = 30)]
#[task]
async fn number_for_span() {}

#[periodic(cron = 9)]
#[task]
async fn number_for_expression() {}

#[periodic(every = secs(30), misfire = "all")]
#[task]
async fn text_for_policy() {}

#[periodic(every = secs(30), args = other())]
#[task]
async fn of_another_task() {}

#[task]
async fn other() {}

fn main() {}
