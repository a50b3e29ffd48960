//! What an error says shall become of its task, and how that comes through `anyhow` and `?`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::TaskError;

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Advice {
    /// Whatever the task's policy says.
    Policy,
    /// No further attempt.
    Permanent,
    /// Another attempt after this span.
    RetryAfter(Duration),
    /// Another run after this span, and that this one counts as none.
    Snooze(Duration),
}

/// An error with its advice, as a link in a chain of causes: it reads as the error alone.
#[derive(Debug)]
pub(crate) struct Advised(pub(crate) TaskError);

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.error())
    }
}

impl Error for Advised {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The first link is what `Display` shows.
        self.0.error().chain().nth(1)
    }
}

/// Says of an error, where it happens, what shall become of its task: `charge(card).permanent()?`.
///
/// What a body answers counts, so the last word is the outermost one. It comes through `?`, through
/// `anyhow`'s `context`, and through errors that name the marked one as their source.
///
/// ```
/// use lovage_core::{TaskError, TaskResultExt, secs};
/// use anyhow::Context as _;
///
/// fn charge(amount: &str) -> anyhow::Result<u32> {
///     let amount = amount.parse::<u32>().permanent().context("no amount")?;
///     post(amount).retry_after(secs(30))?;
///     Ok(amount)
/// }
/// # fn post(_: u32) -> std::io::Result<()> { Err(std::io::Error::other("the bank is busy")) }
///
/// assert!(TaskError::from(charge("two").unwrap_err()).is_permanent());
/// assert_eq!(TaskError::from(charge("2").unwrap_err()).delay(), Some(secs(30)));
/// ```
///
/// The answer is `anyhow`'s, so that `?` takes it in a body of `anyhow::Result` as well as in one of
/// `Result<T, TaskError>`.
pub trait TaskResultExt<T>: Sized {
    /// No further attempt can mend this error: the task goes to the dead letters at once.
    fn permanent(self) -> anyhow::Result<T>;

    /// The next attempt shall wait `span` instead of the policy's delay. The attempt counts.
    fn retry_after(self, span: Duration) -> anyhow::Result<T>;

    /// The task shall run again after `span`, and this run counts as none: see [`TaskContext::snooze`](crate::TaskContext::snooze).
    fn snooze(self, span: Duration) -> anyhow::Result<T>;
}

impl<T, E: Into<TaskError>> TaskResultExt<T> for Result<T, E> {
    fn permanent(self) -> anyhow::Result<T> {
        self.map_err(|error| TaskError::permanent(error).into_anyhow())
    }

    fn retry_after(self, span: Duration) -> anyhow::Result<T> {
        self.map_err(|error| error.into().retry_after(span).into_anyhow())
    }

    fn snooze(self, span: Duration) -> anyhow::Result<T> {
        self.map_err(|error| error.into().snooze(span).into_anyhow())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::failure::FailureKind;
    use crate::time::secs;

    fn busy() -> Result<(), std::io::Error> {
        Err(std::io::Error::other("busy"))
    }

    #[test]
    fn the_outermost_advice_counts() {
        let error = busy().permanent().snooze(secs(3)).unwrap_err();
        let error = TaskError::from(error);
        assert_eq!(
            (error.is_permanent(), error.snoozes_for()),
            (false, Some(secs(3)))
        );
        let error = TaskError::from(busy().snooze(secs(3)).permanent().unwrap_err());
        assert_eq!((error.is_permanent(), error.snoozes_for()), (true, None));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot charge")]
    struct Charge(#[source] anyhow::Error);

    #[test]
    fn advice_comes_through_context_and_through_other_errors() {
        let marked = busy().retry_after(secs(7)).context("no answer");
        let wrapped = marked.map_err(Charge).context("order 7").unwrap_err();
        let error = TaskError::from(wrapped);
        assert_eq!(error.delay(), Some(secs(7)));
        assert_eq!(
            error.to_failure().to_string(),
            "error: order 7: cannot charge: no answer: busy",
            "and does not show"
        );
    }

    #[test]
    fn a_task_error_comes_through_anyhow_as_it_was() {
        let error = TaskError::from(TaskError::malformed(anyhow::anyhow!("no")).into_anyhow());
        assert_eq!(
            (error.kind(), error.is_permanent()),
            (FailureKind::Malformed, true)
        );
        let plain = TaskError::new("no").into_anyhow();
        assert_eq!(plain.to_string(), "no");
        assert!(TaskError::from(plain).delay().is_none());
    }

    #[test]
    fn what_works_is_left_alone() {
        assert_eq!(Ok::<_, std::io::Error>(7).permanent().unwrap(), 7);
    }
}
