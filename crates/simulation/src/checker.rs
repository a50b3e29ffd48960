//! What must be true of every history, whatever went wrong in it.
//!
//! The books are kept a second time here, from what the broker did in its order and by the table of
//! `lovage_core::Place::on`, so that a broker, a worker or a beat that breaks a promise of `docs/guarantees.md` is
//! caught at the event that does it.

mod books;
mod keys;

use std::collections::BTreeMap;
use std::fmt;

use lovage_core::{Place, TaskId};

use crate::client::is_sent;
use crate::history::{Event, What};
use crate::work::Job;

use books::Books;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub text: String,
    /// The event that shows it; the number of events where it is the end.
    pub event: usize,
    /// The task.
    pub id: Option<TaskId>,
}

impl Violation {
    /// One that shows when all is over.
    pub fn at_the_end(text: String, events: usize) -> Self {
        Self {
            text,
            event: events,
            id: None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}: {}", crate::history::short(id), self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// How many deaths nobody was called back for so far, in a history of `jobs`.
pub fn owing(events: &[Event], jobs: &BTreeMap<TaskId, Job>) -> usize {
    let mut books = Books::new(jobs);
    // What breaks a promise is found in the end.
    let _ = events.iter().try_for_each(|event| books.take(event));
    books.owing().count()
}

/// Checks a history of `jobs` in which each of `occurrences` is to become one task.
///
/// # Errors
/// The first promise that was broken.
pub fn check(
    events: &[Event],
    jobs: &BTreeMap<TaskId, Job>,
    occurrences: &[TaskId],
) -> Result<(), Violation> {
    let mut books = Books::new(jobs);
    for (n, event) in events.iter().enumerate() {
        books.take(event).map_err(|text| Violation {
            text,
            event: n,
            id: event.what.id(),
        })?;
    }
    let at_the_end = |id: TaskId, text: String| Violation {
        text,
        event: events.len(),
        id: Some(id),
    };
    for (id, place) in books.places() {
        if !matches!(place, Place::Gone | Place::Dead) {
            return Err(at_the_end(
                id,
                format!("it was accepted and has not ended: {place:?}"),
            ));
        }
    }
    if let Some(id) = books.owing().next() {
        return Err(at_the_end(
            id,
            "it is dead, and nobody was called back".into(),
        ));
    }
    for event in events {
        match event.what {
            What::Accepted(id) if !books.knows(id) => {
                return Err(at_the_end(
                    id,
                    "its sender was told that it is stored, and it never was".into(),
                ));
            }
            What::Stored(_, id)
                if !is_sent(id) && !occurrences.contains(&id) && !books.is_call(id) =>
            {
                return Err(at_the_end(
                    id,
                    "it is of no occurrence, and was sent".into(),
                ));
            }
            _ => {}
        }
    }
    for id in occurrences {
        let fired = events.iter().filter(|e| e.what == What::Fired(*id)).count();
        let stored = |e: &&Event| matches!(e.what, What::Stored(_, stored) if stored == *id);
        let stored = events.iter().filter(stored).count();
        if (fired, stored) != (1, 1) {
            let text = format!("its occurrence fired {fired} times and was stored {stored} times");
            return Err(at_the_end(*id, text));
        }
    }
    Ok(())
}
