use lovage::task;

#[task(ignore_result = true)]
async fn bare_with_value() {}

#[task(queue)]
async fn value_left_out() {}

#[task(queue("mail"))]
async fn in_parentheses() {}

fn main() {}
