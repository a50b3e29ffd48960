//! One queue, or partition, from its keys to its sums.

use std::collections::{BTreeSet, HashMap, HashSet};

use lovage_core::{
    BrokerError, CHECKED_MAX, Census, Checkup, Diagnosis, FindingKind, QueueName, SOUGHT_MAX,
    Shelf, TaskId, WorkerId,
};

use super::round::Round;
use crate::any_broker::AnyBroker;

/// So often a task is looked at again that moved while it was being repaired.
const TRIES_MAX: usize = 4;

/// What is known of a queue while it is looked at.
struct Known<'a> {
    queue: &'a QueueName,
    /// Who holds something and is not registered.
    unlisted: Vec<WorkerId>,
    /// How many entries each id had in ready lists when those were read.
    ready: HashMap<TaskId, u32>,
    seen: HashSet<TaskId>,
    /// What did not look right when it was not looked at in one step.
    suspects: BTreeSet<TaskId>,
}

impl Round<'_> {
    /// Looks at all of a queue; `None` if there were too many calls before.
    pub(super) async fn examine(
        &mut self,
        queue: &QueueName,
        workers: &BTreeSet<WorkerId>,
    ) -> Result<Option<()>, BrokerError> {
        let call = async |broker: &AnyBroker| broker.wrong_types(queue).await;
        let Some(wrong) = self.call(call).await? else {
            return Ok(None);
        };
        if !wrong.is_empty() {
            for what in wrong {
                self.note(FindingKind::WrongType, queue.as_str(), what, false);
            }
            let what = format!("{queue}: nothing else was looked at, for its keys of a wrong type");
            self.report.doubt(what);
            return Ok(Some(()));
        }
        let workers: Vec<WorkerId> = workers.iter().copied().collect();
        let Some(unlisted) = self.find_orphans(queue, &workers).await? else {
            return Ok(None);
        };
        let mut known = Known {
            queue,
            unlisted,
            ready: HashMap::new(),
            seen: HashSet::new(),
            suspects: BTreeSet::new(),
        };
        let mut shelves: Vec<Shelf> = (0..10).map(Shelf::Ready).collect();
        shelves.extend([
            Shelf::Tasks,
            Shelf::Scheduled,
            Shelf::Dead,
            Shelf::Facts,
            Shelf::Reasons,
            Shelf::Waiting,
            Shelf::Cancels,
            Shelf::Ghosts,
            Shelf::Locks,
            Shelf::Callbacks,
        ]);
        shelves.extend(workers.iter().copied().map(Shelf::Active));
        for shelf in shelves {
            if self.read(&mut known, shelf).await?.is_none() {
                return Ok(None);
            }
        }
        let of_ready_alone: Vec<TaskId> = known.ready.keys().copied().collect();
        if self.ask(&mut known, &of_ready_alone).await?.is_none()
            || self.settle_doubts(&mut known).await?.is_none()
        {
            return Ok(None);
        }
        self.check_books(&known).await
    }

    async fn find_orphans(
        &mut self,
        queue: &QueueName,
        workers: &[WorkerId],
    ) -> Result<Option<Vec<WorkerId>>, BrokerError> {
        let (mode, repaired) = (self.mode, self.repairs());
        let mut unlisted = Vec::new();
        for workers in workers.chunks(CHECKED_MAX) {
            let call = async |broker: &AnyBroker| broker.orphans(queue, workers, mode).await;
            let Some(orphans) = self.call(call).await? else {
                return Ok(None);
            };
            for worker in &orphans {
                let what = format!("worker {worker}");
                self.note(FindingKind::OrphanList, queue.as_str(), what, repaired);
            }
            unlisted.extend(orphans);
        }
        // So many at most, that a census is one step. Beyond them nobody knows who holds what.
        if CHECKED_MAX < unlisted.len() {
            unlisted.truncate(CHECKED_MAX);
            self.all_lists = false;
        }
        Ok(Some(unlisted))
    }

    /// Goes through one shelf. The entries of ready lists are counted first and looked at last.
    async fn read(
        &mut self,
        known: &mut Known<'_>,
        part: Shelf,
    ) -> Result<Option<()>, BrokerError> {
        let (queue, mut from) = (known.queue, 0);
        loop {
            let call = async |broker: &AnyBroker| broker.shelf(queue, part, from).await;
            let Some(page) = self.call(call).await? else {
                return Ok(None);
            };
            if 0 < page.rubbish {
                let what = format!("{} in {part:?}", page.rubbish);
                self.note(FindingKind::Rubbish, queue.as_str(), what, false);
            }
            if let Shelf::Ready(_) = part {
                for id in page.found {
                    if known.ready.len() < self.doctor.ids_max {
                        *known.ready.entry(id).or_default() += 1;
                    }
                }
            } else if part == Shelf::Ghosts {
                // Whether they stand for entries is seen in the ready lists alone.
                known.suspects.extend(page.found);
            } else if self.ask(known, &page.found).await?.is_none()
                || (part == Shelf::Locks
                    && self.check_locks(queue, &[], &page.found).await?.is_none())
            {
                return Ok(None);
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(Some(())),
            }
        }
    }

    /// Looks at those of `ids` that were not looked at yet, without their entries in ready lists.
    async fn ask(
        &mut self,
        known: &mut Known<'_>,
        ids: &[TaskId],
    ) -> Result<Option<()>, BrokerError> {
        let mut fresh = Vec::new();
        for id in ids {
            if self.doctor.ids_max <= known.seen.len() {
                let (queue, max) = (known.queue, self.doctor.ids_max);
                let what = format!("{queue}: only {max} ids were looked at");
                if self.report.unsure.last() != Some(&what) {
                    self.report.doubt(what);
                }
                break;
            }
            if known.seen.insert(*id) {
                fresh.push(*id);
            }
        }
        self.report.looked_at += fresh.len() as u64;
        let Some(censuses) = self.census(known, &fresh, false).await? else {
            return Ok(None);
        };
        for census in censuses {
            let ready = known.ready.get(&census.id).copied().unwrap_or_default();
            if !census.would_be_sound(u64::from(ready)) {
                known.suspects.insert(census.id);
            }
        }
        Ok(Some(()))
    }

    async fn census(
        &mut self,
        known: &Known<'_>,
        ids: &[TaskId],
        seek: bool,
    ) -> Result<Option<Vec<Census>>, BrokerError> {
        let mut all = Vec::with_capacity(ids.len());
        let max = if seek { SOUGHT_MAX } else { CHECKED_MAX };
        while all.len() < ids.len() {
            let some = &ids[all.len()..ids.len().min(all.len() + max)];
            let (queue, unlisted) = (known.queue, &known.unlisted);
            let call = async |broker: &AnyBroker| broker.census(queue, some, unlisted, seek).await;
            match self.call(call).await? {
                Some(censuses) => all.extend(censuses),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// Looks at each suspect in one step, and repairs it if that is wanted.
    async fn settle_doubts(&mut self, known: &mut Known<'_>) -> Result<Option<()>, BrokerError> {
        let suspects = std::mem::take(&mut known.suspects);
        let mut suspects: Vec<TaskId> = suspects.into_iter().collect();
        let mut undecided = 0;
        for _ in 0..TRIES_MAX {
            let Some(censuses) = self.census(known, &suspects, true).await? else {
                return Ok(None);
            };
            suspects.clear();
            for census in censuses {
                match census.diagnose() {
                    Diagnosis::Sound => {}
                    Diagnosis::Unsure => undecided += 1,
                    Diagnosis::Faulty(wrong) => {
                        match self.conclude(known, &census, &wrong).await? {
                            None => return Ok(None),
                            Some(true) => {}
                            Some(false) => suspects.push(census.id),
                        }
                    }
                }
            }
            if suspects.is_empty() {
                break;
            }
        }
        undecided += suspects.len();
        if 0 < undecided {
            let queue = known.queue;
            self.report.doubt(format!(
                "{queue}: {undecided} tasks could not be decided on: they move, or its ready lists are too long, or not \
                 all processing lists are known"
            ));
        }
        Ok(Some(()))
    }

    /// Notes what is wrong with a task, and repairs it; `Some(false)` if it has changed meanwhile, or may be elsewhere.
    async fn conclude(
        &mut self,
        known: &Known<'_>,
        census: &Census,
        wrong: &[(FindingKind, lovage_core::Repair)],
    ) -> Result<Option<bool>, BrokerError> {
        if !self.all_lists {
            return Ok(Some(false));
        }
        if self.repairs() {
            let repairs: Vec<_> = wrong.iter().map(|(_, repair)| *repair).collect();
            let (queue, unlisted) = (known.queue, &known.unlisted);
            let call =
                async |broker: &AnyBroker| broker.repair(queue, census, unlisted, &repairs).await;
            match self.call(call).await? {
                Some(true) => {}
                changed => return Ok(changed),
            }
        }
        let mut kinds: Vec<FindingKind> = wrong.iter().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let repairs = wrong.iter().filter(|(of, _)| *of == kind);
            let repairs: Vec<String> = repairs.map(|(_, repair)| format!("{repair:?}")).collect();
            let what = format!("{}: {}", census.id, repairs.join(", "));
            self.note(kind, known.queue.as_str(), what, self.repairs());
        }
        Ok(Some(true))
    }

    async fn check_books(&mut self, known: &Known<'_>) -> Result<Option<()>, BrokerError> {
        let (queue, unlisted, mode) = (known.queue, &known.unlisted, self.mode);
        let call = async |broker: &AnyBroker| broker.books(queue, unlisted, mode).await;
        let Some(books) = self.call(call).await? else {
            return Ok(None);
        };
        let (place, repaired) = (queue.as_str(), self.repairs());
        match books.dead_bytes {
            Some(bytes) if bytes != books.dead_bytes_said => {
                let what = format!(
                    "{} bytes by the account, {bytes} are there",
                    books.dead_bytes_said
                );
                self.note(FindingKind::DeadBytes, place, what, repaired);
            }
            // Of more letters than one step goes through the account is taken at its word (docs/doctor.md).
            _ => {}
        }
        if !books.unused.is_empty() {
            let what = format!("{:?} of its account", books.unused);
            self.note(FindingKind::UnusedPlace, place, what, repaired);
        }
        for (kind, workers) in [
            (FindingKind::StrayLease, &books.stray_leases),
            (FindingKind::StrayWorker, &books.stray_workers),
        ] {
            for worker in workers.iter().flatten() {
                self.note(kind, place, format!("worker {worker}"), repaired);
            }
            if workers.is_none() {
                let what = format!("{place}: too many workers to look for {kind}");
                self.report.doubt(what);
            }
        }
        for (kind, count, noun) in [
            (
                FindingKind::Overlong,
                books.losses_beyond,
                "the oldest losses",
            ),
            (
                FindingKind::LateCallback,
                books.callbacks_put_off,
                "callbacks",
            ),
        ] {
            if 0 < count {
                self.note(kind, place, format!("{count} of {noun}"), repaired);
            }
        }
        match books.placed {
            Some(placed) if placed == books.stored => {}
            Some(placed) if self.all_lists => {
                let what = format!("{} envelopes, {placed} tasks in places", books.stored);
                self.note(FindingKind::Sums, place, what, false);
            }
            _ => self
                .report
                .doubt(format!("{place}: the sums could not be compared")),
        }
        Ok(Some(()))
    }
}
