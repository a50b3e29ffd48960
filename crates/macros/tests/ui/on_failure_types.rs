use lovage::{FailedTask, task};

#[task]
async fn takes_nothing() {}

#[task]
async fn takes_a_number(id: u64) {
    let _ = id;
}

#[task]
async fn takes_more(failed: FailedTask, to: String) {
    let _ = (failed, to);
}

async fn no_task(failed: FailedTask) {
    let _ = failed;
}

#[task(on_failure = takes_nothing)]
async fn tells_nobody() {}

#[task(on_failure = takes_a_number)]
async fn tells_a_number() {}

#[task(on_failure = takes_more)]
async fn tells_more() {}

#[task(on_failure = no_task)]
async fn tells_no_task() {}

#[task(on_failure = "takes_nothing")]
async fn tells_a_text() {}

#[task(on_failure = takes_nothing())]
async fn tells_a_message() {}

fn main() {}
