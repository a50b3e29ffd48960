//! A task's error as one process tells it to another.

use serde::{Deserialize, Serialize};

use super::{Panicked, TaskError};
use crate::advice::Advice;
use crate::failure::{FailedRun, Failure};

/// A [`TaskError`] that can be sent: its kind, its texts, and what it asks for. The types of its causes stay behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedError {
    failure: Failure,
    advice: Advice,
    /// Where it was, which a failure does not tell by itself.
    #[serde(default)]
    run: Option<Box<FailedRun>>,
}

impl From<&TaskError> for CarriedError {
    fn from(error: &TaskError) -> Self {
        let mut failure = error.to_failure();
        Self {
            run: failure.run.take(),
            failure,
            advice: error.advice,
        }
    }
}

impl From<CarriedError> for TaskError {
    fn from(carried: CarriedError) -> Self {
        let Failure {
            kind,
            message,
            causes,
            ..
        } = carried.failure;
        let panicked = carried.run.map(|run| {
            let FailedRun {
                location,
                backtrace,
                ..
            } = *run;
            Box::new(Panicked {
                location,
                backtrace,
            })
        });
        // Innermost first: each text becomes the context of what is below it.
        let mut texts = std::iter::once(message).chain(causes).rev();
        let innermost = anyhow::Error::msg(texts.next().unwrap_or_default());
        Self {
            kind,
            source: texts.fold(innermost, anyhow::Error::context),
            advice: carried.advice,
            panicked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::secs;

    #[test]
    fn an_error_that_was_carried_is_kept_and_retried_as_it_was() {
        let chain = anyhow::Error::new(std::io::Error::other("disk full"))
            .context("cannot write the page")
            .context("cannot write the report");
        for error in [
            TaskError::from(chain),
            TaskError::panicked("boom"),
            TaskError::panicked_at("boom", "src/mail.rs:7:5".to_owned(), None),
            TaskError::permanent(std::io::Error::other("no such user")),
            TaskError::new("busy").retry_after(secs(42)),
            TaskError::new("not yet").snooze(secs(7)),
            TaskError::crashed("killed by a signal", "its last words"),
        ] {
            let bytes = rmp_serde::to_vec_named(&CarriedError::from(&error)).unwrap();
            let again = TaskError::from(rmp_serde::from_slice::<CarriedError>(&bytes).unwrap());
            assert_eq!(again.to_failure(), error.to_failure());
            assert_eq!(again.is_permanent(), error.is_permanent());
            assert_eq!(again.delay(), error.delay());
            assert_eq!(again.snoozes_for(), error.snoozes_for());
        }
    }
}
