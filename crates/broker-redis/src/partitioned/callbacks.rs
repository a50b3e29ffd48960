//! Callbacks that are owed: each is owed in the partition of its task.

use std::num::NonZeroU16;
use std::time::Duration;

use lovage_core::{BrokerError, Millis, Owed, QueueName, TaskId};

use crate::broker::Shared;
use crate::divisions::part_of;
use crate::transitions;

/// One partition after another, another one first each time, until there are as many as asked for.
pub(crate) async fn callbacks(
    shared: &Shared,
    queue: &QueueName,
    max: NonZeroU16,
    patience: Duration,
) -> Result<Vec<Owed>, BrokerError> {
    let parts = shared.parts(queue).await?;
    let (mut owed, first) = (Vec::new(), fastrand::usize(..parts.len()));
    for turn in 0..parts.len() {
        let part = &parts[(first + turn) % parts.len()];
        let room = usize::from(max.get()).saturating_sub(owed.len());
        let Some(room) = u16::try_from(room).ok().and_then(NonZeroU16::new) else {
            break;
        };
        owed.extend(transitions::callbacks(shared, &part.name, room, patience).await?);
    }
    Ok(owed)
}

/// The first partition is told last, and of all: a task that was sent while the queue had lost its division is there,
/// wherever its id belongs.
pub(crate) async fn called_back(
    shared: &Shared,
    queue: &QueueName,
    deaths: &[(TaskId, Millis)],
) -> Result<(), BrokerError> {
    let parts = shared.parts(queue).await?;
    for (number, part) in parts.iter().enumerate().rev() {
        let own = deaths
            .iter()
            .filter(|(id, _)| number == 0 || part_of(&parts, *id) == number);
        let own: Vec<_> = own.copied().collect();
        if !own.is_empty() {
            transitions::called_back(shared, &part.name, &own).await?;
        }
    }
    Ok(())
}
