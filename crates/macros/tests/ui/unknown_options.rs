use lovage::task;

#[task(retries = 3)]
async fn near() {}

#[task(qeue = "mail")]
async fn typo() {}

#[task(colour = "red")]
async fn far() {}

fn main() {
    // The task is there all the same: no second error.
    let _ = near();
}
