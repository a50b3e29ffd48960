//! The five places of a task and the only table of moves between them.

/// Where a task is. At any instant it is in exactly one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its time: a countdown, an ETA or a retry's backoff.
    Scheduled,
    /// Waits for a worker.
    Ready,
    /// Held by one worker, by a lease.
    Active,
    /// Kept with the reason why it will not run.
    Dead,
    /// Finished, cancelled or expired; only its result may remain.
    Gone,
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its time has come.
    Due,
    /// A worker took it.
    Claim,
    /// It ran to its end, or had expired.
    Done,
    /// It failed and shall run again later, was put off, or asked to sleep.
    RetryIn,
    /// Its worker gave it back unrun or unfinished.
    Release,
    /// Its worker's lease ended.
    Recover,
    /// It will not run any more, by its worker's verdict or after too many losses.
    Bury,
    /// A user took it back.
    Cancel,
    /// An operator sent it again.
    Revive,
}

impl State {
    /// All places, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Scheduled,
        Self::Ready,
        Self::Active,
        Self::Dead,
        Self::Gone,
    ];

    #[expect(
        clippy::match_same_arms,
        reason = "a line an event, as in the table of the docs"
    )]
    /// Where `event` takes a task that is here; `None` if it cannot happen here.
    pub const fn on(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Scheduled, Event::Due) => Self::Ready,
            (Self::Ready, Event::Claim) => Self::Active,
            (Self::Active, Event::Done) => Self::Gone,
            (Self::Active, Event::RetryIn) => Self::Scheduled,
            (Self::Active, Event::Release | Event::Recover) => Self::Ready,
            (Self::Active, Event::Bury) => Self::Dead,
            // A cancelled active task is only marked; its worker's next verdict, or recovery, makes it gone.
            (Self::Ready | Self::Scheduled | Self::Dead | Self::Active, Event::Cancel) => {
                Self::Gone
            }
            (Self::Dead, Event::Revive) => Self::Ready,
            _ => return None,
        })
    }
}

impl Event {
    /// All events, in the order of the table in `docs/architecture.md`.
    pub const ALL: [Self; 9] = [
        Self::Due,
        Self::Claim,
        Self::Done,
        Self::RetryIn,
        Self::Release,
        Self::Recover,
        Self::Bury,
        Self::Cancel,
        Self::Revive,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn the_table_in_the_docs_is_the_table_in_the_code() {
        let mut table = String::from("| from |");
        for event in Event::ALL {
            write!(table, " {event:?} |").unwrap();
        }
        table.push_str("\n|---|");
        table.push_str(&"---|".repeat(Event::ALL.len()));
        for state in State::ALL {
            write!(table, "\n| {state:?} |").unwrap();
            for event in Event::ALL {
                match state.on(event) {
                    Some(next) => write!(table, " {next:?} |").unwrap(),
                    None => table.push_str(" - |"),
                }
            }
        }
        let docs = include_str!("../../../docs/architecture.md");
        assert!(
            docs.contains(&table),
            "docs/architecture.md#lifecycle should hold:\n{table}"
        );
    }

    #[test]
    fn nothing_leaves_gone() {
        for event in Event::ALL {
            assert_eq!(State::Gone.on(event), None, "{event:?}");
        }
    }
}
