//! Taking an order: it is kept first, then its tasks are sent. The same key is the same order, for ever.

use lovage::{Client, SendError, TaskId};

use crate::form::Draft;
use crate::journal::{JournalError, Orders, Placing};
use crate::order::Order;
use crate::tasks::{self, fulfil, send_receipt};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 200;

/// What the web server needs to take orders.
#[derive(Clone, Debug)]
pub struct Shop {
    /// Where tasks are sent.
    pub client: Client,
    /// Where orders are kept.
    pub orders: Orders,
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// There is no key, or it is none.
    #[error(
        "the key of the order must be 1 to {KEY_BYTES_MAX} visible ASCII characters: \
         send a new one for each order in the header Idempotency-Key, and the same one when you repeat it"
    )]
    BadKey,
    /// The key belongs to an order for something else.
    #[error("this key was used for another order, number {}: use a new key", .0.number)]
    KeyUsed(Box<Order>),
    /// The order cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The order is kept, but its tasks may not be on their way.
    #[error("the order is noted, and the queue does not answer: repeat it with the same key")]
    Send(#[from] SendError),
}

impl Shop {
    /// Takes an order, or finds the one that this key stands for.
    ///
    /// # Errors
    /// Repeating it with the same key is safe after each.
    pub async fn place(&self, key: &str, draft: Draft) -> Result<Placing, PlaceError> {
        if key.is_empty()
            || KEY_BYTES_MAX < key.len()
            || !key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(PlaceError::BadKey);
        }
        // Two sends of one id are one task only while it lives; afterwards its id is free. It is the journal that
        // remembers the order, created once under an id that is derived from the key, and so knows a click that comes
        // late. Task ids are derived from it, so that a repeat which meets a live task adds none.
        let id = TaskId::derived(format!("webshop order {key}").as_bytes()).to_string();
        let placing = self.orders.place(id, draft.clone()).await?;
        let order = placing.order();
        let is_the_same = order.name == draft.name
            && draft.email == order.email.parse().map_err(|_| PlaceError::BadKey)?
            && order.product == draft.product.code
            && order.quantity == draft.quantity;
        if !is_the_same {
            return Err(PlaceError::KeyUsed(Box::new(order.clone())));
        }
        start(&self.client, order).await?;
        Ok(placing)
    }

    /// A key for a form that is about to be shown.
    pub fn new_key() -> String {
        TaskId::random().to_string()
    }
}

/// Sends the tasks of an order that have not done their work. Those that are on their way already stay as they are;
/// the work of one that ends just now is in the journal, and done again it is nothing.
pub(crate) async fn start(client: &Client, order: &Order) -> Result<(), SendError> {
    if let Some(next) = order.step.next() {
        let step = client.send(fulfil(&order.id, next));
        step.id(tasks::step_id(&order.id, next)).await?;
    }
    if !order.receipt_sent {
        let receipt = client.send(send_receipt(&order.id));
        receipt.id(tasks::receipt_id(&order.id)).await?;
    }
    Ok(())
}
