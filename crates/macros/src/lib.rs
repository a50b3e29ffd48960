//! The `#[task]` and `#[periodic]` attributes of Lovage; use them through the `lovage` crate.

mod attributes;
mod expand;
mod names;
mod options;
mod owned;
mod parameter;
mod periodic;
mod problems;
mod signature;
mod vocabulary;

use proc_macro::TokenStream;

use crate::options::Options;
use crate::problems::Problems;
use crate::signature::TaskFn;

/// Makes a task of a function: a message that can be sent, and a body that a worker runs.
///
/// ```
/// use lovage::{Backoff, State, TaskContext, mins, secs, task};
///
/// # struct Mailer;
/// # impl Mailer { async fn post(&self, _: &str, _: u64) -> anyhow::Result<u64> { Ok(1) } }
/// /// Mails the receipt of an order.
/// #[task(queue = "mail", max_retries = 5, backoff = Backoff::exponential(secs(1)).cap(mins(10)), timeout = secs(30))]
/// async fn send_receipt(ctx: &TaskContext, mailer: State<Mailer>, order: u64, to: String) -> anyhow::Result<u64> {
///     if ctx.is_cancelled() {
///         anyhow::bail!("no time left");
///     }
///     mailer.post(&to, order).await
/// }
///
/// let message = send_receipt(7, "ada@example.org"); // to be sent: client.send(message).await
/// assert_eq!((message.order, message.to.as_str()), (7, "ada@example.org"));
///
/// # async fn in_a_unit_test() {
/// let ctx = TaskContext::for_test();
/// let answer = send_receipt::call(&ctx, State::new(Mailer), 7, "ada@example.org".to_owned()).await;
/// assert_eq!(answer.unwrap(), 1);
/// # }
/// ```
///
/// The name stands for two things, which Rust keeps apart: the type of the message and the function that makes one.
/// `use shop::send_receipt` brings both. For the same reason no module beside the task can have its name.
///
/// # Parameters
/// In any order, with any pattern where they are not arguments:
/// - `&TaskContext`, at most once: this run;
/// - `State<T>`: a value that the worker holds for all tasks. A worker without one does not start;
/// - all others are arguments: owned types that serde can write and read, with a plain name. They are the named fields
///   of the message. Whatever becomes a `String` can be given to the builder for one.
///
/// `#[default]`, `#[default = 20]` or `#[default(Vec::new())]` before an argument says what a message means that was
/// sent before the argument existed; without it such messages go to the dead letters. `#[serde(…)]` before an argument
/// goes to the field, and so does its doc comment.
///
/// # Return type
/// A type whose name is `Result` (of `std`, of `anyhow`, of `std::io`, an alias of one's own) is a value or an error, which
/// is retried. Any other type is a value. An error can say that it is permanent, when to try again, or that the task shall
/// run again later without an attempt being counted: see `TaskResultExt`, `TaskContext::retry` and `TaskContext::snooze`.
///
/// # Where it runs
/// An `async fn` runs on the worker's async runtime. A plain `fn` says which threads it needs:
/// - `#[task(cpu)]` computes: it runs on a bounded pool of about one thread a core;
/// - `#[task(blocking)]` waits for files, networks or locks: it runs on a thread of its own, up to the worker's concurrency;
/// - `#[task(process)]` may crash, leak, hang or overflow its stack (a C library, untrusted input): it runs in a child
///   process of the same program, about one a core. Whatever it does there harms that run alone, which fails as
///   `crashed` and is retried by its policy; time limits and cancellation kill the process with all it has started.
///   `memory = mib(512)` limits what the process may allocate. `lovage::process` says what a program of one's own has
///   to call for it.
///
/// # Options
/// Each is an expression of Rust, with what is in scope there; a send can override all but the first and the last four.
///
/// | option | means | unless set |
/// |---|---|---|
/// | `name = "…"` | the name by which workers find the body; a literal | the function's name |
/// | `queue = "…"` | the queue it is sent to | `"default"` |
/// | `max_retries = u32` | attempts after the first | 3 |
/// | `backoff = Backoff` | the spans between attempts | exponential from 1 s to 10 min, with jitter |
/// | `timeout = Duration` | when its token is cancelled | no limit |
/// | `hard_timeout = Duration` | when an async body is aborted, or a child process killed | no limit |
/// | `priority = u8` | the order within the queue: 0 to 9, higher first | 5 |
/// | `expires = Duration` | the span from the send after which it must not start | never |
/// | `result_ttl = Duration` | how long the result is kept | 24 h |
/// | `on_failure = my_callback` | the task that is sent when this one has failed for good; it takes one argument, a `FailedTask` | nobody is told |
/// | `ignore_result` | the result is not kept | |
/// | `unique = Unique` | which messages are the same task, until when, and what becomes of the second: see below | none are |
/// | `ack_early` | at most once: it never starts twice, and is not retried unless `max_retries` says so | at least once |
/// | `memory = u64` | the most bytes that a child process may have, a constant | the worker's setting |
/// | `cpu`, `blocking`, `process` | the lane of a plain `fn` | |
///
/// # Unique tasks
/// ```
/// use lovage::{Unique, secs, task};
///
/// /// One of the same arguments at a time: another send is answered with the one that is there.
/// #[task(unique = Unique::args())]
/// async fn refresh(shop: u64) {
/// #   let _ = shop;
/// }
///
/// /// Runs ten seconds after the last send for an account, with the newest text.
/// #[task(unique = Unique::by(|message: &index| message.account).debounce(secs(10)))]
/// async fn index(account: u64, text: String) {
/// #   let _ = (account, text);
/// }
/// ```
///
/// In the closure the bare name is the message; the compiler checks its fields. It becomes
/// `fn unique() -> Option<Unique<Self>> { Some(…) }` in `impl Task`.
///
/// # What it writes
/// Nothing that a person could not write. Of the task above, with the paths shortened:
///
/// ```
/// use lovage::{Backoff, State, TaskContext, TaskError, TaskOptions, mins, secs};
/// use lovage::macro_support::{AsyncBody, IntoTaskResult, StateNeed, Task, TaskDef, inventory, serde};
///
/// # pub struct Mailer;
/// # impl Mailer { async fn post(&self, _: &str, _: u64) -> anyhow::Result<u64> { Ok(1) } }
/// /// Mails the receipt of an order.
/// #[allow(non_camel_case_types)]
/// #[derive(serde::Serialize, serde::Deserialize)]
/// #[serde(crate = "lovage::macro_support::serde")]
/// struct send_receipt { order: u64, to: String }
///
/// fn send_receipt(order: u64, to: impl Into<String>) -> send_receipt {
///     send_receipt { order, to: to.into() }
/// }
///
/// impl Task for send_receipt {
///     const NAME: &'static str = "send_receipt";
///     type Output = u64;
///     fn options() -> TaskOptions {
///         TaskOptions::new()
///             .queue("mail")
///             .max_retries(5)
///             .backoff(Backoff::exponential(secs(1)).cap(mins(10)))
///             .timeout(secs(30))
///     }
/// }
///
/// impl send_receipt {
///     const DEF: TaskDef = TaskDef::asynchronous::<send_receipt>();
///
///     async fn call(ctx: &TaskContext, mailer: State<Mailer>, order: u64, to: String) -> anyhow::Result<u64> {
///         // the body
/// #       let _ = ctx;
/// #       mailer.post(&to, order).await
///     }
/// }
///
/// impl AsyncBody for send_receipt {
///     const NEEDS: &'static [StateNeed] = &[StateNeed::of::<Mailer>()];
///     async fn run(self, context: TaskContext) -> Result<Self::Output, TaskError> {
///         let result = Self::call(&context, context.state::<Mailer>()?, self.order, self.to).await;
///         result.into_task_result()
///     }
/// }
///
/// inventory::submit! { send_receipt::DEF }
/// ```
///
/// Of other attributes below `#[task]`, lint levels and `cfg` go to each of these items, `#[derive(…)]` and `#[serde(…)]` to
/// the message, the rest (`#[tracing::instrument]`) to `call`.
///
/// A crate of tasks that nothing names is not linked, and registers nothing: write `use my_tasks as _;` in the
/// worker's `main.rs`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    write_task(options.into(), function.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

fn write_task(
    options: proc_macro2::TokenStream,
    function: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let (mut in_options, mut in_function) = (Problems::default(), Problems::default());
    let options = Options::parse(options, &mut in_options)?;
    let mut task = TaskFn::parse(function, &options, &mut in_function)?;
    let periodic = periodic::take(&mut task.function);
    // A wrong option leaves the task in place: otherwise each use of its name would be an error as well.
    let refused = in_options
        .finish()
        .err()
        .map(syn::Error::into_compile_error);
    let written = match in_function.finish() {
        Ok(()) => {
            let mut written = expand::expand(&task, &options);
            let schedules = periodic.iter();
            written.extend(schedules.map(|attribute| periodic::below(attribute, &task.function)));
            written
        }
        Err(error) => error.into_compile_error(),
    };
    Ok(quote::quote!(#refused #written))
}

/// Sends a task again and again, when a schedule says: beside [`#[task]`](macro@task), on the same function.
///
/// ```
/// use lovage::{Misfire, Overlap, SolarEvent, mins, periodic, secs, task};
///
/// #[periodic(every = secs(30), overlap = Overlap::Skip)]
/// #[task]
/// async fn poll_gateway() {}
///
/// /// Two schedules of one task, each with arguments of its own.
/// #[periodic(name = "report/eu", cron = "0 9 * * MON-FRI", tz = "Europe/Lisbon", args = report("eu"))]
/// #[periodic(name = "report/us", cron = "0 9 * * MON-FRI", tz = "America/New_York", args = report("us"))]
/// #[task(queue = "reports", max_retries = 5)]
/// async fn report(region: String) {
/// #   drop(region);
/// }
///
/// #[periodic(solar = SolarEvent::Sunset, latitude = 38.72, longitude = -9.14, misfire = Misfire::Within(mins(30)))]
/// #[task(blocking)]
/// fn light_the_lamps() {}
/// ```
///
/// A beat of the program fires them: `client.beat()` inside it, or `lovage::beat::run_cli()` as a program of its own.
/// Any number of beats of the same code may run; each occurrence becomes one task. What the code no longer says is
/// removed by the next beat of that name.
///
/// The schedule is named as its task unless `name` is given. The task is sent with its own options. It may stand
/// above `#[task]` or below it, as often as there are schedules, each of a name of its own.
///
/// # Options
/// Each is an expression of Rust, with what is in scope there. One of the first four says when.
///
/// | option | means | unless set |
/// |---|---|---|
/// | `cron = "…"` | at the local times of a crontab expression, of 5 to 7 fields, or `"@hourly"` and its like | |
/// | `every = Duration` | once each period, of 100 ms or longer, without drift | |
/// | `solar = SolarEvent`, `latitude = f64`, `longitude = f64` | with the sun, at a place in degrees | |
/// | `schedule = Schedule` | any other; `?` may be used | |
/// | `tz = "…"` | the IANA zone that local times and dates are read in | UTC |
/// | `name = "…"` | the schedule's name; a literal | the task's name |
/// | `args = my_task(…)` | the message that is sent; needed where the task takes arguments | |
/// | `jitter = Duration` | fires each occurrence later, by a part of this that follows from the occurrence | none |
/// | `misfire = Misfire` | what becomes of occurrences while no beat runs | `Misfire::Once` |
/// | `overlap = Overlap` | what becomes of one while the previous run goes on | `Overlap::Allow` |
/// | `gap = Gap`, `fold = Fold` | what becomes of local times that a change of clocks removes or doubles | by the expression |
/// | `except = ["2026-12-25"]` | the dates on which nothing occurs: anything to iterate over | none |
/// | `starting = …`, `ending = …` | bounds, inclusive: a text as `"2026-09-01T00:00:00Z"`, or `Millis` | none |
/// | `max_runs = u64` | how many occurrences are fired at most | no limit |
///
/// An expression or a zone that makes no sense is an error when the program starts. It names the place of the function,
/// the expression and the column.
///
/// # What it writes
/// Nothing that a person could not write. Of the second schedule above, with the paths shortened:
///
/// ```
/// # use lovage::task;
/// # #[task] async fn report(region: String) { drop(region); }
/// use lovage::macro_support::{Periodic, PeriodicDef, Schedule, inventory};
///
/// inventory::submit! {
///     PeriodicDef::new("report/us", || {
///         let schedule = Schedule::cron("0 9 * * MON-FRI")?;
///         let schedule = schedule.tz("America/New_York")?;
///         let message: report = report("us");
///         Periodic::new(schedule, &message)
///     })
/// }
/// ```
#[proc_macro_attribute]
pub fn periodic(options: TokenStream, item: TokenStream) -> TokenStream {
    periodic::above(options.into(), &item.into()).into()
}
