use lovage::{secs, task};

#[task(timeout = 30)]
async fn number_for_span() {}

#[task(max_retries = "5")]
async fn text_for_number() {}

#[task(backoff = secs(1))]
async fn span_for_backoff() {}

fn main() {}
