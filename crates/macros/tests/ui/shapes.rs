use lovage::task;

#[task]
async fn generic<T: Send>(value: T) {}

#[task]
async fn lifetime<'a>(text: &'a str) {}

#[task]
async unsafe fn dangerous() {}

#[task(blocking)]
extern "C" fn foreign() {}

#[task(cpu)]
const fn known_early() {}

#[task]
struct NoFunction;

fn main() {}
