//! Dead letters: dead -> gone, by hand or by the queue's retention.

use std::time::Duration;

use lovage_core::{
    CUT_SHOWN_MAX, Cut, DeadLetter, DeadLettersSummary, Millis, Purged, TaskId, span_ms,
};

use crate::queue::{Queue, Spot};

/// The most that one call cuts or purges, as in Redis, where a call must stay short.
const CUT_MAX: usize = 1000;

impl Queue {
    /// Removes a dead letter for good; `false` if `id` is none.
    pub(crate) fn purge(&mut self, id: TaskId) -> bool {
        let is_dead = self
            .tasks
            .get(&id)
            .is_some_and(|task| matches!(task.spot, Spot::Dead(..)));
        if is_dead {
            self.drop_dead(id);
        }
        is_dead
    }

    /// Removes the dead letters of this age, oldest first.
    pub(crate) fn purge_older(&mut self, age: Duration, now: Millis) -> Purged {
        let mut purged = Purged::default();
        while let Some((died, id)) = self.dead.first().copied()
            && is_old(died, age, now)
        {
            if purged.count == CUT_MAX as u64 {
                purged.more = true;
                break;
            }
            self.drop_dead(id);
            purged.count += 1;
        }
        purged
    }

    /// Cuts what is beyond the retention, oldest first. Answers as well whether there is more to cut. One whose callback
    /// is owed is kept until it was sent, and with it those that died later.
    pub(crate) fn cut_dead(&mut self, now: Millis) -> (Cut, bool) {
        let mut cut = Cut::default();
        if self.retention.is_unlimited() {
            return (cut, false);
        }
        let mut bytes = self.dead_bytes();
        let mut more = false;
        while let Some((died, id)) = self.dead.first().copied()
            && let Some(limit) = self.limit_passed(died, bytes, now)
            && !self.owed.contains_key(&id)
        {
            if cut.total() == CUT_MAX as u64 {
                more = true;
                break;
            }
            match limit {
                Limit::Age => cut.by_age += 1,
                Limit::Count => cut.by_count += 1,
                Limit::Bytes => cut.by_bytes += 1,
            }
            if cut.oldest.len() < CUT_SHOWN_MAX {
                cut.oldest.push(id);
            }
            bytes -= self.dead_letter(id).map_or(0, |letter| letter.size);
            self.drop_dead(id);
        }
        self.cut += cut.total();
        (cut, more)
    }

    /// The limit that the oldest dead letter is beyond, if there is one.
    fn limit_passed(&self, died: Millis, bytes: u64, now: Millis) -> Option<Limit> {
        let kept = self.retention;
        if kept.age.is_some_and(|age| is_old(died, age, now)) {
            Some(Limit::Age)
        } else if kept.count.is_some_and(|max| max < self.dead.len() as u64) {
            Some(Limit::Count)
        } else if kept.bytes.is_some_and(|max| max < bytes) {
            Some(Limit::Bytes)
        } else {
            None
        }
    }

    /// Counted anew each time: this is what the account that Redis keeps is compared with.
    fn dead_bytes(&self) -> u64 {
        let letters = self.dead.iter().filter_map(|(_, id)| self.dead_letter(*id));
        letters.map(|letter| letter.size).sum()
    }

    /// The dead letters in numbers.
    pub(crate) fn dead_letters_summary(&self, now: Millis) -> DeadLettersSummary {
        DeadLettersSummary {
            now,
            count: self.dead.len() as u64,
            bytes: self.dead_bytes(),
            retention: self.retention,
            cut: self.cut,
        }
    }

    /// One dead letter.
    pub(crate) fn dead_letter(&self, id: TaskId) -> Option<DeadLetter> {
        let task = self.tasks.get(&id)?;
        let Spot::Dead(died_at, failure) = &task.spot else {
            return None;
        };
        Some(DeadLetter {
            id,
            died_at: *died_at,
            failure: failure.clone(),
            bytes: task.bytes.clone(),
            size: (task.bytes.len() + failure.encode().len()) as u64,
        })
    }
}

/// What retention may take a dead letter for.
enum Limit {
    Age,
    Count,
    Bytes,
}

fn is_old(died: Millis, age: Duration, now: Millis) -> bool {
    span_ms(age) <= now.get().saturating_sub(died.get())
}
