//! Claims: a share from each partition, another one first each time; what one has too little of comes from the others.
//!
//! All are asked at once, those that have no share whether they have something. So a claim takes one trip where no
//! partition lacks its share or all are empty, and it brings less than was asked for only where none has more.

use std::cmp::Reverse;
use std::num::NonZeroU16;
use std::time::Duration;

use futures_util::future::join_all;
use lovage_core::envelope::edit;
use lovage_core::{
    BATCH_MAX, Batch, BrokerError, Claim, Delivery, Millis, QueueName, TransportError, WorkerId,
};

use super::ANEW_MAX;
use crate::broker::Shared;
use crate::divisions::{Division, Part};
use crate::transitions::{self, Answer};

pub(crate) async fn claim(
    shared: &Shared,
    queue: &QueueName,
    worker: WorkerId,
    max: NonZeroU16,
) -> Result<Claim, BrokerError> {
    for _ in 0..ANEW_MAX {
        let (claim, moved) = match shared.divisions.several(queue) {
            None => match transitions::claim(shared, &Part::whole(queue), worker, max).await? {
                Answer::Here(claim) => (Some(claim), None),
                Answer::Moved(division) => (None, Some(division)),
            },
            Some(parts) => {
                let claiming = Claiming::new(shared, &parts, worker, max);
                claiming.run(shared.divisions.turn(queue)).await?
            }
        };
        let told = match moved {
            Some(division) => shared.told(queue, division).await.map(drop),
            None => Ok(()),
        };
        match (claim, told) {
            // What was brought must be told whatever else there is to say. The next claim says it.
            (Some(claim), _) => return Ok(claim),
            (None, told) => told?,
        }
    }
    Err(BrokerError::Refused(TransportError::new(format!(
        "queue {queue} is divided in another way each time that it is asked"
    ))))
}

/// One claim over several partitions.
struct Claiming<'a> {
    shared: &'a Shared,
    parts: &'a [Part],
    worker: WorkerId,
    /// How many are still to be brought.
    wanted: usize,
    deliveries: Vec<Delivery>,
    /// What each partition has said.
    held: Vec<usize>,
    next_due: Vec<Option<Duration>>,
    now: Millis,
    moved: Option<Division>,
    no_lease: bool,
    error: Option<BrokerError>,
}

/// What a partition was asked, and what it said.
enum Said {
    Claimed(usize, Result<Answer<Claim>, BrokerError>),
    Looked(Result<Answer<Option<transitions::Looked>>, BrokerError>),
}

impl<'a> Claiming<'a> {
    fn new(shared: &'a Shared, parts: &'a [Part], worker: WorkerId, max: NonZeroU16) -> Self {
        Self {
            shared,
            parts,
            worker,
            wanted: usize::from(max.get()).min(BATCH_MAX),
            deliveries: Vec::new(),
            held: vec![0; parts.len()],
            next_due: vec![None; parts.len()],
            now: Millis::default(),
            moved: None,
            no_lease: false,
            error: None,
        }
    }

    /// What it has brought, and the division of the queue if that is another.
    async fn run(mut self, turn: usize) -> Result<(Option<Claim>, Option<Division>), BrokerError> {
        let count = self.parts.len();
        let mut rich: Vec<usize> = (0..count).map(|place| (turn + place) % count).collect();
        let mut first = true;
        // Each round brings all that is wanted, or leaves fewer partitions that may have more.
        while 0 < self.wanted && !rich.is_empty() {
            rich = self.round(rich, first).await;
            first = false;
        }
        self.end()
    }

    /// Asks these partitions for equal shares, the first ones for one more where it does not come out even. Answers
    /// which may have more. In the first round those without a share are looked at.
    async fn round(&mut self, asked: Vec<usize>, first: bool) -> Vec<usize> {
        let (each, more) = (self.wanted / asked.len(), self.wanted % asked.len());
        let calls = asked.iter().enumerate().map(|(place, &index)| {
            let share = each + usize::from(place < more);
            let share = u16::try_from(share).ok().and_then(NonZeroU16::new);
            self.ask(index, share, first)
        });
        let said = join_all(calls).await;
        let mut rich = Vec::new();
        for (index, said) in asked.into_iter().zip(said) {
            match said {
                // Without a share, it was not asked: its turn comes.
                None => rich.push(index),
                Some(said) => {
                    if self.take(index, said) {
                        rich.push(index);
                    }
                }
            }
        }
        rich
    }

    async fn ask(&self, index: usize, share: Option<NonZeroU16>, first: bool) -> Option<Said> {
        let part = &self.parts[index];
        match share {
            Some(share) => {
                let claim = transitions::claim(self.shared, part, self.worker, share).await;
                Some(Said::Claimed(usize::from(share.get()), claim))
            }
            None if first => {
                let looked = transitions::look(self.shared, part, self.worker).await;
                Some(Said::Looked(looked))
            }
            None => None,
        }
    }

    /// Whether it may have more.
    fn take(&mut self, index: usize, said: Said) -> bool {
        match said {
            Said::Claimed(share, Ok(Answer::Here(Claim::Granted(batch)))) => {
                let brought = batch.deliveries.len();
                self.wanted -= brought;
                self.deliveries.extend(batch.deliveries);
                self.heard(index, batch.now, batch.held, batch.next_due);
                share <= brought
            }
            Said::Looked(Ok(Answer::Here(Some(looked)))) => {
                self.heard(index, looked.now, looked.held, looked.next_due);
                looked.left
            }
            Said::Claimed(_, Ok(Answer::Here(Claim::NoLease)))
            | Said::Looked(Ok(Answer::Here(None))) => {
                self.no_lease = true;
                false
            }
            Said::Claimed(_, Ok(Answer::Moved(division)))
            | Said::Looked(Ok(Answer::Moved(division))) => {
                self.moved = Some(division);
                false
            }
            Said::Claimed(_, Err(error)) | Said::Looked(Err(error)) => {
                self.error = Some(error);
                false
            }
        }
    }

    fn heard(&mut self, index: usize, now: Millis, held: usize, next_due: Option<Duration>) {
        self.now = self.now.max(now);
        self.held[index] = held;
        self.next_due[index] = next_due;
    }

    /// What was brought must be told, whatever else there is to say: nobody but the caller has seen it, and the rest is
    /// said again by the next renewal or claim.
    fn end(mut self) -> Result<(Option<Claim>, Option<Division>), BrokerError> {
        if self.deliveries.is_empty() {
            if self.moved.is_some() {
                return Ok((None, self.moved));
            }
            if let Some(error) = self.error {
                return Err(error);
            }
            if self.no_lease {
                return Ok((Some(Claim::NoLease), None));
            }
        }
        self.deliveries
            .sort_by_key(|delivery| Reverse(edit::priority(&delivery.bytes)));
        let claim = Claim::Granted(Batch {
            deliveries: self.deliveries,
            held: self.held.iter().sum(),
            now: self.now,
            next_due: self.next_due.into_iter().flatten().min(),
        });
        Ok((Some(claim), self.moved))
    }
}
