use lovage::task;

#[task(queue = )]
async fn no_value() {}

#[task("mail")]
async fn no_name() {}

#[task(queue "mail")]
async fn no_sign() {}

#[task(priority = 3 blocking)]
fn no_comma() {}

fn main() {}
