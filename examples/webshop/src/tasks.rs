//! What workers do for the shop. Every task may run twice, and each leaves the same behind as when it runs once.

use anyhow::Context as _;
use jiff::Timestamp;
use lovage::prelude::*;
use lovage::{Clock, Millis, Misfire, Overlap, TaskId};

use crate::journal::{JournalError, Orders};
use crate::mail::{self, Mailer};
use crate::order::Step;
use crate::report::{Sales, ZONE};
use crate::settings::Pace;
use crate::shop;

/// The queue of what brings orders on their way.
pub const ORDERS_QUEUE: &str = "orders";
/// The queue of mails: a mail server that is away holds up no order.
pub const MAIL_QUEUE: &str = "mail";

/// An order is left alone for so long before somebody asks whether its tasks were ever sent.
const STUCK_AFTER: std::time::Duration = mins(1);
/// After so long somebody has to look at it: its mail is refused, most likely, and stands among the dead letters.
const GIVEN_UP_AFTER: std::time::Duration = hours(24);
/// So many orders are picked up at once.
const PICKED_UP_MAX: usize = 1000;

/// The id of the task that brings `order` to `step`.
pub(crate) fn step_id(order: &str, step: Step) -> TaskId {
    TaskId::derived(format!("webshop {step} {order}").as_bytes())
}

/// The id of the task that mails the receipt of `order`.
pub(crate) fn receipt_id(order: &str) -> TaskId {
    TaskId::derived(format!("webshop receipt {order}").as_bytes())
}

/// Brings an order to `to`, and sends the task for the step that follows. A shop that did more than to say so would
/// charge the card or print the label here.
#[lovage::task(
    queue = ORDERS_QUEUE,
    max_retries = 20,
    backoff = Backoff::exponential(ms(500)).cap(mins(1)),
    timeout = secs(30),
    ignore_result
)]
pub async fn fulfil(
    context: &TaskContext,
    orders: State<Orders>,
    client: State<Client>,
    pace: State<Pace>,
    order: String,
    to: Step,
) -> Result<(), TaskError> {
    orders.advance(order.clone(), to).await.map_err(explained)?;
    // Killed here, it runs again: the step is known to be taken, and the next task is sent.
    if let Some(next) = to.next() {
        let id = step_id(&order, next);
        let sending = client.send(fulfil(order, next)).id(id);
        sending
            .countdown(pace.between_steps)
            .child_of(context)
            .await?;
    }
    Ok(())
}

/// Mails the receipt of an order.
///
/// A worker that is killed between the server's "250" and the note in the journal mails it again, with the same
/// Message-ID, by which mail servers know it.
#[lovage::task(
    queue = MAIL_QUEUE,
    max_retries = 30,
    backoff = Backoff::exponential(ms(500)).cap(mins(10)),
    timeout = mins(2),
    ignore_result
)]
pub async fn send_receipt(
    orders: State<Orders>,
    mailer: State<Mailer>,
    order: String,
) -> Result<(), TaskError> {
    let order = orders.get(&order).await.map_err(explained)?;
    if order.receipt_sent {
        return Ok(());
    }
    mailer.send(mail::receipt(&order)?).await?;
    orders.receipt_sent(order.id).await.map_err(explained)
}

/// Mails the owner what was sold on the day before, by the calendar of [`ZONE`].
///
/// The day follows from the occurrence that it was sent for, not from the clock: a report that runs late, or again,
/// is of the same day.
#[lovage::periodic(cron = "0 7 * * *", tz = ZONE)]
#[lovage::task(queue = MAIL_QUEUE, max_retries = 30, timeout = mins(2), ignore_result)]
pub async fn daily_sales_report(
    context: &TaskContext,
    orders: State<Orders>,
    mailer: State<Mailer>,
) -> Result<(), TaskError> {
    let at = match context.headers().get("lovage-occurrence") {
        Some(occurrence) => occurrence
            .parse::<Timestamp>()
            .with_context(|| format!("the occurrence is {occurrence:?}, which is no instant"))
            .map_err(TaskError::permanent)?,
        // Sent by hand.
        None => timestamp(Clock::System.now())?,
    };
    let sales = Sales::of_the_day_before(at, &orders).await?;
    mailer.send(mail::report(&sales)?).await
}

/// Sends the tasks of orders that were kept while the queue did not answer, or whose web server was killed before it
/// could send them. What is on its way already, or dead, is not sent twice.
#[lovage::periodic(every = mins(1), misfire = Misfire::Skip, overlap = Overlap::Skip)]
#[lovage::task(queue = ORDERS_QUEUE, ignore_result)]
pub async fn pick_up_orders(
    orders: State<Orders>,
    client: State<Client>,
) -> Result<u64, TaskError> {
    let now = Clock::System.now();
    let is_stuck = move |order: &crate::Order| {
        let is_done = order.step.next().is_none() && order.receipt_sent;
        let age = now.since(order.placed_at);
        !is_done && STUCK_AFTER < age && age < GIVEN_UP_AFTER
    };
    let stuck = orders.select(is_stuck).await?;
    let mut picked_up = 0;
    for order in stuck.iter().take(PICKED_UP_MAX) {
        shop::start(&client, order).await?;
        picked_up += 1;
    }
    Ok(picked_up)
}

/// No further attempt finds an order that is not there.
fn explained(error: JournalError) -> TaskError {
    match error {
        JournalError::NoSuchOrder(_) | JournalError::OutOfTurn { .. } => {
            TaskError::permanent(error)
        }
        other => other.into(),
    }
}

fn timestamp(instant: Millis) -> anyhow::Result<Timestamp> {
    let ms = i64::try_from(instant.get())?;
    Ok(Timestamp::from_millisecond(ms)?)
}
