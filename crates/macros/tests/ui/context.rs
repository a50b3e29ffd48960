use lovage::task;

#[task]
async fn two(first: &lovage::TaskContext, second: &lovage::TaskContext) {}

#[task]
async fn owned(ctx: lovage::TaskContext) {}

#[task]
async fn exclusive(ctx: &mut lovage::TaskContext) {}

fn main() {}
