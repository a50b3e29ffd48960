use lovage::{mib, secs, task};

#[task(process, memory = "512MiB")]
fn text_for_bytes() {}

#[task(process, memory = secs(512))]
fn span_for_bytes() {}

#[task(process, memory = limit())]
fn known_at_run_time() {}

#[task(process, memory = 512)]
fn too_little() {}

fn limit() -> u64 {
    mib(512)
}

fn main() {}
