use lovage::task;

#[task(queue = "images", cpu)]
async fn resize(width: u32) -> u32 {
    width / 2
}

fn main() {}
