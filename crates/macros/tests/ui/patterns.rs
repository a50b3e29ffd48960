use lovage::task;

#[task]
async fn taken_apart((a, b): (u8, u8)) {}

#[task]
async fn unnamed(_: u8) {}

fn main() {}
