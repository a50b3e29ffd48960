use lovage::{mib, task};

#[task(cpu, memory = mib(512))]
fn resize(width: u32) -> u32 {
    width / 2
}

fn main() {}
