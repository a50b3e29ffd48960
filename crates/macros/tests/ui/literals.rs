use lovage::task;

#[task(queue = "mail {eu}")]
async fn queue_with_braces() {}

#[task(name = "")]
async fn empty_name() {}

#[task(priority = 10)]
async fn too_high() {}

#[task(priority = -1)]
async fn too_low() {}

const NAME: &str = "named";

#[task(name = NAME)]
async fn name_elsewhere() {}

#[task]
async fn größe() {}

fn main() {}
