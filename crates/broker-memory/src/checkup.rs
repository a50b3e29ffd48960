//! Looking whether all is in order. It is by construction: a task has one spot, and what is noted of it is part of it.

use bytes::Bytes;
use lovage_core::{
    Agenda, AgendaShelf, Books, BrokerError, Census, CheckMode, Checkup, Finding, Holder, LockKey,
    Passing, QueueName, ReadyEntries, ReadyLevel, Repair, ServerLook, Shelf, ShelfPage, StoredFrom,
    StoredPage, TaskId, WorkerId,
};

use crate::broker::MemoryBroker;
use crate::queue::{Queue, Spot};

impl Checkup for MemoryBroker {
    async fn stored(&self, _: StoredFrom) -> Result<StoredPage, BrokerError> {
        let queues = self.queues();
        Ok(StoredPage {
            looked_at: queues.len() as u64,
            queues,
            ..StoredPage::default()
        })
    }

    /// All in one page: nothing is copied but ids, and nobody else waits for a server meanwhile.
    async fn shelf(
        &self,
        queue: &QueueName,
        of: Shelf,
        _: u64,
    ) -> Result<ShelfPage<TaskId>, BrokerError> {
        Ok(ShelfPage {
            found: self.with(queue, |data, _| data.shelf(of)),
            ..ShelfPage::default()
        })
    }

    async fn census(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        _: &[WorkerId],
        _: bool,
    ) -> Result<Vec<Census>, BrokerError> {
        Ok(self.with(queue, |data, _| {
            ids.iter().map(|id| data.census(*id)).collect()
        }))
    }

    async fn repair(
        &self,
        _: &QueueName,
        _: &Census,
        _: &[WorkerId],
        _: &[Repair],
    ) -> Result<bool, BrokerError> {
        Ok(false)
    }

    async fn wrong_types(&self, _: &QueueName) -> Result<Vec<String>, BrokerError> {
        Ok(Vec::new())
    }

    async fn books(
        &self,
        queue: &QueueName,
        _: &[WorkerId],
        _: CheckMode,
    ) -> Result<Books, BrokerError> {
        Ok(self.with(queue, |data, now| {
            let counts = data.counts();
            let dead_bytes = data.dead_letters_summary(now).bytes;
            Books {
                stored: data.tasks.len() as u64,
                placed: Some(counts.ready + counts.scheduled + counts.active + counts.dead),
                dead_bytes_said: dead_bytes,
                dead_bytes: Some(dead_bytes),
                unused: String::new(),
                stray_leases: Some(Vec::new()),
                stray_workers: Some(Vec::new()),
                losses_beyond: 0,
                callbacks_put_off: 0,
            }
        }))
    }

    async fn orphans(
        &self,
        _: &QueueName,
        _: &[WorkerId],
        _: CheckMode,
    ) -> Result<Vec<WorkerId>, BrokerError> {
        Ok(Vec::new())
    }

    async fn lasting(
        &self,
        _: &QueueName,
        _: Passing,
        _: &[TaskId],
        _: CheckMode,
    ) -> Result<Vec<TaskId>, BrokerError> {
        Ok(Vec::new())
    }

    async fn locks(
        &self,
        _: &QueueName,
        _: &[LockKey],
        _: &[TaskId],
        _: CheckMode,
    ) -> Result<Vec<Finding>, BrokerError> {
        Ok(Vec::new())
    }

    async fn agenda_shelf(&self, _: AgendaShelf, _: u64) -> Result<ShelfPage<Bytes>, BrokerError> {
        Ok(ShelfPage::default())
    }

    async fn agenda(
        &self,
        _: Agenda,
        _: &[Bytes],
        _: CheckMode,
    ) -> Result<Vec<Finding>, BrokerError> {
        Ok(Vec::new())
    }

    async fn servers(&self) -> Result<Vec<ServerLook>, BrokerError> {
        Ok(Vec::new())
    }
}

impl Queue {
    fn shelf(&self, part: Shelf) -> Vec<TaskId> {
        let of = |wanted: &dyn Fn(&Spot) -> bool| {
            let tasks = self.tasks.iter();
            let wanted = tasks.filter(|(_, task)| wanted(&task.spot));
            wanted.map(|(id, _)| *id).collect()
        };
        match part {
            Shelf::Tasks => of(&|_| true),
            Shelf::Ready(level) => {
                let of_level = |position: &crate::queue::Position| position.0.0.get() == level;
                of(&|spot| matches!(spot, Spot::Ready(position) if of_level(position)))
            }
            Shelf::Scheduled => of(&|spot| matches!(spot, Spot::Scheduled(_))),
            Shelf::Dead => of(&|spot| matches!(spot, Spot::Dead(..))),
            Shelf::Active(worker) => {
                of(&|spot| matches!(spot, Spot::Active(by, _) if *by == worker))
            }
            Shelf::Facts
            | Shelf::Reasons
            | Shelf::Waiting
            | Shelf::Cancels
            | Shelf::Ghosts
            | Shelf::Locks
            | Shelf::Callbacks => Vec::new(),
        }
    }

    fn census(&self, id: TaskId) -> Census {
        let task = self.tasks.get(&id);
        let mut census = Census {
            id,
            stored: task.is_some(),
            scheduled: false,
            dead: false,
            holders: Vec::new(),
            ready: ReadyEntries::Found(Vec::new()),
            facts: task
                .is_some_and(|task| 0 < task.losses || 0 < task.snoozes || task.parked.is_some()),
            reason: false,
            waiting: false,
            cancelled: task.is_some_and(|task| task.cancelled),
            lock: false,
            owed: false,
        };
        match task.map(|task| &task.spot) {
            None => {}
            Some(Spot::Ready((level, _))) => {
                census.ready = ReadyEntries::Found(vec![ReadyLevel {
                    level: level.0.get(),
                    entries: 1,
                    ghosts: 0,
                }]);
            }
            Some(Spot::Scheduled(_)) => census.scheduled = true,
            Some(Spot::Active(worker, fence)) => census.holders.push(Holder {
                worker: *worker,
                claim: fence.number,
            }),
            Some(Spot::Dead(..)) => (census.dead, census.reason) = (true, true),
        }
        census
    }
}
