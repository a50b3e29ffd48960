//! What `#[task]` writes, used as a user's crate uses it.

#![expect(clippy::unwrap_used, reason = "the helpers of the tests fail the test")]

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use lovage::{
    Ack, Backoff, State, States, TaskContext, TaskError, TaskOptions, mib, mins, secs, task,
};
use lovage_core::{
    Envelope, Fence, Handler, Lane, Millis, Priority, QueueName, Registry, ResultPolicy, Task,
    TaskDef, TaskId, TaskName, decode_args, encode_args,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct OrderId(u64);

#[derive(Debug)]
struct Mailer {
    from: String,
}

/// Adds two numbers.
#[task]
pub async fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Mails a receipt.
#[task(
    name = "shop.send_receipt",
    queue = "mail",
    max_retries = 5,
    backoff = Backoff::exponential(secs(1)).cap(mins(10)),
    timeout = secs(30),
    hard_timeout = secs(60),
    priority = 7,
    expires = mins(5),
    result_ttl = mins(1),
    ack_early
)]
async fn send_receipt(
    order: OrderId,
    mailer: State<Mailer>,
    ctx: &TaskContext,
    mut to: String,
) -> anyhow::Result<String> {
    to.push('.');
    Ok(format!(
        "{} sends {} to {to} ({})",
        mailer.from,
        order.0,
        ctx.attempt()
    ))
}

/// Squares a number.
#[task(cpu, ignore_result)]
fn square(number: i64) -> Result<i64, Overflow> {
    number.checked_mul(number).ok_or(Overflow)
}

#[derive(Debug)]
struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too large to square")
    }
}

impl std::error::Error for Overflow {}

#[task(blocking, queue = format!("disk-{}", 1))]
fn tidy(State(words): State<Vec<String>>, _: &TaskContext) {
    assert_eq!(*words, ["left", "over"]);
}

#[task(process, memory = mib(64))]
fn render(page: String) -> String {
    page
}

#[task]
async fn nothing() {}

/// As `search` was before it had any but its first argument.
#[task(name = "search_of_old")]
async fn search_of_old(text: String) {
    drop(text);
}

#[task]
async fn search(
    text: String,
    #[default] tags: Vec<String>,
    /// How many hits at most.
    #[default = 10 * 2]
    limit: u32,
    #[default(HashMap::from([("kind".to_owned(), 1)]))] weights: HashMap<String, u8>,
    #[serde(rename = "lang")]
    #[default(String::from("en"))]
    language: String,
) -> String {
    format!("{text} {tags:?} {limit} {weights:?} {language}")
}

#[task]
async fn r#match(r#type: String) -> String {
    r#type
}

#[task]
#[derive(Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
async fn compared(first_word: u8) {
    let _ = first_word;
}

mod shop {
    use lovage::task;

    #[task]
    pub(super) async fn restock(article: String, count: u32) -> String {
        format!("{count} {article}")
    }
}

macro_rules! constant_task {
    ($name:ident, $type:ty, $value:expr) => {
        #[task]
        async fn $name(_ignored: $type) -> $type {
            $value
        }
    };
}

constant_task!(seven, u8, 7);

fn context(task: &'static str, states: States) -> TaskContext {
    let mut envelope = Envelope::new(
        TaskId::random(),
        TaskName::parse(task).unwrap(),
        QueueName::parse("test").unwrap(),
        encode_args(&nothing()).unwrap(),
    );
    envelope.result_ttl = Some(secs(60));
    let fence = Fence {
        number: 1,
        claimed_at: Millis::default(),
    };
    TaskContext::new(
        envelope,
        fence,
        0,
        0,
        lovage::CancellationToken::new(),
        Arc::new(states),
    )
}

/// Runs a message as a worker does: from its bytes, to the bytes of its result.
async fn run<T: Task>(def: TaskDef, message: &T, states: States) -> Result<T::Output, TaskError> {
    let context = context(def.name, states);
    let args = encode_args(message).unwrap();
    let output = match def.handler {
        Handler::Async(run) => run(context, args).await?,
        Handler::Sync(run) => run(context, args)?,
    };
    decode_args(&output)
}

#[tokio::test]
async fn a_message_is_built_by_the_bare_name_and_runs_from_its_bytes() {
    let message = add(2, 3);
    assert_eq!((message.a, message.b), (2, 3));
    assert_eq!(run(add::DEF, &message, States::new()).await.unwrap(), 5);
    run(nothing::DEF, &nothing(), States::new()).await.unwrap();
    assert_eq!(run(seven::DEF, &seven(1), States::new()).await.unwrap(), 7);
}

#[tokio::test]
async fn a_body_takes_its_states_and_context_wherever_they_stand() {
    let mailer = Mailer {
        from: "shop".to_owned(),
    };
    let message = send_receipt(OrderId(7), "ada@example.org");
    let answer = run(send_receipt::DEF, &message, States::new().with(mailer)).await;
    assert_eq!(answer.unwrap(), "shop sends 7 to ada@example.org. (1)");

    let words = vec!["left".to_owned(), "over".to_owned()];
    run(tidy::DEF, &tidy(), States::new().with(words))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_missing_state_is_found_by_the_registry_and_told_by_the_body() {
    let registry = Registry::new().with(send_receipt::DEF).build().unwrap();
    let error = registry.check_states(&States::new()).unwrap_err();
    assert!(error.to_string().contains("Mailer"), "{error}");

    let message = send_receipt(OrderId(7), "ada@example.org");
    let error = run(send_receipt::DEF, &message, States::new())
        .await
        .unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("Mailer"));
}

#[tokio::test]
async fn call_is_the_function_as_it_was_written() {
    let mailer = State::new(Mailer {
        from: "test".to_owned(),
    });
    let ctx = TaskContext::for_test();
    let answer = send_receipt::call(OrderId(1), mailer, &ctx, "bob".to_owned()).await;
    assert_eq!(answer.unwrap(), "test sends 1 to bob. (1)");
    assert!(square::call(i64::MAX).is_err());
    assert_eq!(add::call(1, 2).await, 3);
}

#[tokio::test]
async fn an_error_of_the_body_is_the_error_of_the_run() {
    assert_eq!(
        run(square::DEF, &square(12), States::new()).await.unwrap(),
        144
    );
    let error = run(square::DEF, &square(i64::MAX), States::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "too large to square");
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn a_message_that_was_queued_before_an_argument_was_added_gets_its_default() {
    let old = encode_args(&search_of_old("rust")).unwrap();
    let message: search = decode_args(&old).unwrap();
    assert_eq!(message.limit, 20);
    let answer = search::call(
        message.text,
        message.tags,
        message.limit,
        message.weights,
        message.language,
    );
    assert_eq!(answer.await, r#"rust [] 20 {"kind": 1} en"#);
}

#[test]
fn an_argument_that_was_dropped_is_skipped_in_queued_messages() {
    let new = encode_args(&search("rust", vec![], 1, HashMap::new(), "de")).unwrap();
    let message: search_of_old = decode_args(&new).unwrap();
    assert_eq!(message.text, "rust");
}

#[test]
fn a_missing_argument_without_a_default_is_a_permanent_failure_that_names_it() {
    let empty = encode_args(&nothing()).unwrap();
    let error = decode_args::<add>(&empty).err().unwrap();
    assert!(error.is_permanent());
    assert!(error.to_string().contains("missing field `a`"), "{error}");
}

#[test]
fn arguments_travel_by_name() {
    #[derive(Deserialize)]
    struct Wire {
        lang: String,
        r#type: Option<String>,
    }
    let bytes = encode_args(&search("x", vec![], 1, HashMap::new(), "de")).unwrap();
    let wire: Wire = decode_args(&bytes).unwrap();
    assert_eq!((wire.lang.as_str(), wire.r#type), ("de", None));

    let bytes = encode_args(&r#match("a")).unwrap();
    assert_eq!(&bytes[..], b"\x81\xa4type\xa1a");

    let bytes = encode_args(&compared(1)).unwrap();
    assert_eq!(&bytes[..], b"\x81\xa9firstWord\x01");
    assert_eq!(
        decode_args::<compared>(&bytes).unwrap(),
        compared(1).clone()
    );
}

#[test]
fn the_name_is_the_functions_unless_another_is_given() {
    assert_eq!(add::NAME, "add");
    assert_eq!(<r#match as Task>::NAME, "match");
    assert_eq!(send_receipt::DEF.name, "shop.send_receipt");
    assert_eq!(shop::restock::DEF.name, "restock");
    assert_eq!(shop::restock("pens", 3).count, 3);
}

#[test]
fn the_lane_is_the_one_that_is_written() {
    for (def, lane) in [
        (add::DEF, Lane::Async),
        (square::DEF, Lane::Cpu),
        (tidy::DEF, Lane::Blocking),
        (render::DEF, Lane::Process),
    ] {
        assert_eq!(def.lane, lane, "{}", def.name);
    }
}

#[test]
fn options_are_those_that_are_written_and_no_others() {
    let options = (send_receipt::DEF.options)();
    assert_eq!(options.queue.as_deref(), Some("mail"));
    assert_eq!(options.max_retries, Some(5));
    assert_eq!(
        options.backoff,
        Some(Backoff::exponential(secs(1)).cap(mins(10)))
    );
    assert_eq!(options.timeout, Some(secs(30)));
    assert_eq!(options.hard_timeout, Some(secs(60)));
    assert_eq!(options.priority, Some(Priority::new(7)));
    assert_eq!(options.expires, Some(mins(5)));
    assert_eq!(options.result, Some(ResultPolicy::Keep(mins(1))));
    assert_eq!(options.ack, Some(Ack::Early));

    assert_eq!((square::DEF.options)().result, Some(ResultPolicy::Ignore));
    assert_eq!((tidy::DEF.options)().queue.as_deref(), Some("disk-1"));
    let (plain, none) = ((add::DEF.options)(), TaskOptions::new());
    assert_eq!(format!("{plain:?}"), format!("{none:?}"));
}

#[test]
fn every_linked_task_is_gathered_with_its_place() {
    #[task]
    async fn inside_a_function() {}

    let registry = Registry::linked().build().unwrap();
    for name in [
        "add",
        "shop.send_receipt",
        "restock",
        "match",
        "inside_a_function",
    ] {
        assert!(registry.get(name).is_some(), "{name}");
    }
    let place = registry.get("add").unwrap().location;
    assert!(place.file().ends_with("expansion.rs"), "{place}");
    let source = include_str!("expansion.rs");
    let line = source.lines().nth(place.line() as usize - 1).unwrap();
    assert!(line.contains("fn add("), "{place}: {line}");
    assert_eq!(inside_a_function::DEF.lane, Lane::Async);
}
