use lovage::task;

#[task]
fn resize(width: u32) -> u32 {
    width / 2
}

fn main() {}
