//! Each form that a task can have, in a crate with strict lints.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]

use lovage::{Backoff, State, TaskContext, secs, task};

/// The least.
#[task]
pub async fn least() {}

/// An option in each form: expression, path of one's own, bare word; and a comma at the end.
#[task(queue = QUEUE, backoff = Backoff::custom(|n| secs(u64::from(n))), ignore_result,)]
pub async fn options(text: String) {
    drop(text);
}

const QUEUE: &str = "mail";

/// Unique, by each kind of key.
#[task(unique = lovage::Unique::args().until(lovage::Until::Start))]
pub async fn unique_by_args(text: String) {
    drop(text);
}

/// By some of its fields.
#[task(unique = lovage::Unique::by(|message: &unique_by_fields| (message.a, message.b)).throttle(secs(1)))]
pub async fn unique_by_fields(a: u8, b: u8, c: u8) {
    let _ = (a, b, c);
}

/// Context and state by any path, pattern and place.
#[task]
pub async fn places(
    a: u8,
    State(_b): lovage::State<u8>,
    _: &lovage::TaskContext,
    mut c: u8,
    _d: State<u16>,
) -> u8 {
    c += a;
    c
}

/// A fallible body of each kind.
#[task]
pub async fn io(path: String) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

/// With the error of the task model.
#[task(blocking, name = "another/name:1")]
pub fn task_error(ctx: &TaskContext) -> Result<(), lovage::TaskError> {
    Err(lovage::TaskError::new(ctx.id()))
}

mod alias {
    use lovage::task;

    type Result = std::result::Result<u8, std::num::ParseIntError>;

    #[task]
    async fn without_parameters(digits: String) -> Result {
        digits.parse()
    }
}

#[task(cpu)]
fn private_and_never_sent(#[allow(unused)] x: u8) {}

/// Attributes go where they belong.
#[task]
#[cfg(any())]
pub async fn not_there(missing: NoSuchType) {}

/// Calls itself by sending: here, the bare name is the message.
#[task]
#[deprecated = "for a test"]
pub async fn pages(page: u32) -> u32 {
    #[expect(deprecated)]
    let next = pages(page + 1);
    next.page
}

mod inner {
    use lovage::task;

    #[task]
    pub(crate) async fn restricted(amount: u64) -> u64 {
        amount
    }
}

fn main() {
    let _ = inner::restricted(1).amount;
    let _ = options("literal");
    let _ = options(String::from("owned"));
}
