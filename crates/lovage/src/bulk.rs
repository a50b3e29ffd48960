//! Many sends at once: gathered by queue into full calls, a few of which travel at a time.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::panic;

use lovage_core::{BATCH_MAX, Encoded, Enqueued, QueueName, TaskId};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::deliver::{Delivered, Manner};
use crate::error::{SendAllError, SendError};
use crate::gather::BATCH_BYTES_MAX;
use crate::handle::Handle;
use crate::send::{IntoSending, chooses_id, envelope};

/// Two keep a broker busy while the next batch is encoded; two more cover an uneven network.
const TRIPS_MAX: usize = 4;
/// The most bytes in all of them together, unless one call alone has more: what one full call may have, so that large
/// tasks go one call after another, and small calls of others behind them are not late.
const TRAVELLING_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// A bulk send under way.
struct Bulk {
    client: Client,
    task: &'static str,
    gathered: HashMap<(QueueName, Manner), Gathered>,
    trips: JoinSet<Trip>,
    /// How many bytes the calls that travel have.
    travelling: usize,
    accepted: Vec<TaskId>,
    unknown: Vec<TaskId>,
    unconfirmed: Vec<TaskId>,
    #[cfg(feature = "spool")]
    spooled: std::collections::HashSet<TaskId>,
    /// What the queues made of the sends that were not new, by their positions.
    known: Vec<(usize, Enqueued)>,
}

#[derive(Default)]
struct Gathered {
    tasks: Vec<Encoded>,
    /// The position of each in the whole.
    positions: Vec<usize>,
    bytes: usize,
}

struct Trip {
    positions: Vec<usize>,
    bytes: usize,
    sent: Delivered,
}

pub(crate) async fn send_all<I>(
    client: &Client,
    items: I,
) -> Result<Vec<Handle<<I::Item as IntoSending>::Task>>, SendAllError>
where
    I: IntoIterator,
    I::Item: IntoSending,
{
    let mut bulk = Bulk {
        client: client.clone(),
        task: <<I::Item as IntoSending>::Task as lovage_core::Task>::NAME,
        gathered: HashMap::new(),
        trips: JoinSet::new(),
        travelling: 0,
        accepted: Vec::new(),
        unknown: Vec::new(),
        unconfirmed: Vec::new(),
        #[cfg(feature = "spool")]
        spooled: std::collections::HashSet::new(),
        known: Vec::new(),
    };
    match bulk.send(items).await {
        Ok(handles) => Ok(handles),
        Err(source) => Err(bulk.give_up(source).await),
    }
}

impl Bulk {
    async fn send<I>(
        &mut self,
        items: I,
    ) -> Result<Vec<Handle<<I::Item as IntoSending>::Task>>, SendError>
    where
        I: IntoIterator,
        I::Item: IntoSending,
    {
        let items = items.into_iter();
        let mut handles = Vec::with_capacity(items.size_hint().0);
        let mut chosen = HashSet::new();
        #[cfg(feature = "spool")]
        let mut may_be_known = HashSet::new();
        for (position, item) in items.enumerate() {
            let (message, parts) = item.parts();
            if chooses_id(&parts.0) {
                chosen.insert(position);
            }
            let envelope = envelope(parts.0, &message, self.client.now())?;
            #[cfg(feature = "spool")]
            if chosen.contains(&position) || envelope.unique.is_some() {
                may_be_known.insert(position);
            }
            let task = envelope.encode()?;
            handles.push(Handle::sent(self.client.clone(), &envelope));
            self.add((envelope.queue, parts.1), task, position).await?;
        }
        for (way, rest) in mem::take(&mut self.gathered) {
            self.start(way, rest).await?;
        }
        while self.land().await? {}
        for (position, answer) in mem::take(&mut self.known) {
            let handle: &mut Handle<_> = &mut handles[position];
            *handle = handle.clone().answered(answer, chosen.contains(&position));
        }
        #[cfg(feature = "spool")]
        for (position, handle) in handles.iter_mut().enumerate() {
            if self.spooled.contains(&handle.id()) {
                handle.was_spooled(may_be_known.contains(&position));
            }
        }
        Ok(handles)
    }

    async fn add(
        &mut self,
        way: (QueueName, Manner),
        task: Encoded,
        position: usize,
    ) -> Result<(), SendError> {
        let size = task.bytes().len();
        let gathered = self.gathered.entry(way.clone()).or_default();
        let full = gathered.tasks.len() == BATCH_MAX || BATCH_BYTES_MAX < gathered.bytes + size;
        let batch = if full {
            mem::take(gathered)
        } else {
            Gathered::default()
        };
        gathered.bytes += size;
        gathered.tasks.push(task);
        gathered.positions.push(position);
        self.start(way, batch).await
    }

    async fn start(&mut self, way: (QueueName, Manner), batch: Gathered) -> Result<(), SendError> {
        let Gathered {
            tasks,
            positions,
            bytes,
        } = batch;
        if tasks.is_empty() {
            return Ok(());
        }
        while !may_start(self.trips.len(), self.travelling, bytes) {
            self.land().await?;
        }
        self.travelling += bytes;
        let (client, task) = (self.client.clone(), self.task);
        self.trips.spawn(async move {
            let (queue, manner) = way;
            let sent = client.deliver_batch(&queue, tasks, manner, task).await;
            Trip {
                positions,
                bytes,
                sent,
            }
        });
        Ok(())
    }

    /// Waits for one call to end; `false` if none travels.
    async fn land(&mut self) -> Result<bool, SendError> {
        let Some(trip) = self.trips.join_next().await else {
            return Ok(false);
        };
        // Nothing aborts a call, so it can only have panicked: that is the broker's bug, and the caller's to see.
        let trip = trip.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()));
        self.travelling -= trip.bytes;
        let sent = trip.sent;
        self.accepted.extend(sent.accepted);
        self.unconfirmed.extend(sent.unconfirmed);
        let known = sent.known.into_iter();
        self.known
            .extend(known.map(|(place, answer)| (trip.positions[place], answer)));
        #[cfg(feature = "spool")]
        self.spooled.extend(sent.spooled);
        if let Err(SendError::Unknown { .. }) = sent.end {
            self.unknown.extend(sent.left);
        }
        sent.end.map(|()| true)
    }

    /// Starts no more calls, and waits for those that travel: what they did belongs into the error.
    async fn give_up(mut self, source: SendError) -> SendAllError {
        while !matches!(self.land().await, Ok(false)) {}
        SendAllError {
            accepted: self.accepted,
            unknown: self.unknown,
            unconfirmed: self.unconfirmed,
            #[cfg(feature = "spool")]
            spooled: self.spooled.into_iter().collect(),
            source,
        }
    }
}

/// Whether a call of so many bytes may join those that travel.
fn may_start(trips: usize, travelling: usize, bytes: usize) -> bool {
    trips == 0 || (trips < TRIPS_MAX && travelling + bytes <= TRAVELLING_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_calls_travel_alone_and_small_ones_together() {
        const FULL: usize = TRAVELLING_BYTES_MAX;
        for (trips, travelling, bytes, expected) in [
            (0, 0, FULL + 1, true),
            (1, FULL + 1, 1, false),
            (1, FULL / 2, FULL / 2, true),
            (2, FULL, 1, false),
            (TRIPS_MAX - 1, 3, 1, true),
            (TRIPS_MAX, 4, 1, false),
        ] {
            let may = may_start(trips, travelling, bytes);
            assert_eq!(
                may, expected,
                "{trips} calls of {travelling} bytes, {bytes} more"
            );
        }
    }
}
