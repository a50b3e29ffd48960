use lovage::task;

#[task(queue = "mail", queue = "post")]
async fn twice() {}

#[task(ignore_result, result_ttl = lovage::hours(1))]
async fn contradicting() {}

#[task(cpu, blocking)]
fn in_two_lanes() {}

#[task(process, cpu)]
fn in_a_process_and_on_a_thread() {}

fn main() {}
