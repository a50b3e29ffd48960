use lovage::task;

#[task]
async fn of_context(#[default] ctx: &lovage::TaskContext, #[default] pool: lovage::State<String>) {}

#[task]
async fn wrong_type(#[default = "ten"] _limit: u32) {}

#[task]
async fn twice(#[default] #[default = 3] limit: u32) {}

fn main() {}
