//! From how a run ended to what becomes of the task: pure.

use std::time::Duration;

use bytes::Bytes;

use crate::error::TaskError;
use crate::failure::{Failure, FailureKind};
use crate::outcome::{Outcome, RESULT_BYTES_MAX};
use crate::retry::RetryPolicy;
use crate::time::ms;

/// The least span of a snooze: attempts bound a task that fails at once again and again, and nothing would bound this.
pub const SNOOZE_MIN: Duration = ms(10);

/// What a worker says of a task that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It has ended (ran, expired): gone. The outcome is stored for the span given, if one is.
    Done {
        /// How it ended.
        outcome: Outcome,
        /// How long the outcome is kept; `None` keeps none, but tells whoever waits now.
        keep: Option<Duration>,
    },
    /// It failed and shall run again after this span. Counts an attempt.
    RetryIn(Duration),
    /// This worker does not know the task: it is put off for this span. Counts no attempt; the broker notes when
    /// it was first put off, and how often.
    Park(Duration),
    /// Its body asks to run again after this span. Counts no attempt; the broker counts how often.
    Snooze(Duration),
    /// It was not run, or not to its end: back to the head of ready. Counts no attempt.
    Release,
    /// It shall not run again: kept as a dead letter with its reason, which is its outcome for as long as it is kept.
    Bury(Failure),
}

impl Verdict {
    /// Its name in events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::RetryIn(_) => "retry",
            Self::Park(_) => "park",
            Self::Snooze(_) => "snooze",
            Self::Release => "release",
            Self::Bury(_) => "bury",
        }
    }
}

/// Decides what becomes of a task whose run number `attempt` (1 for the first) has ended.
///
/// `random` in 0 to 1 decides the jitter of the backoff. `keep` is the span for which its result is kept.
pub fn verdict(
    end: Result<Bytes, TaskError>,
    attempt: u32,
    policy: &RetryPolicy,
    random: f64,
    keep: Option<Duration>,
) -> Verdict {
    let snooze = end.as_ref().err().and_then(TaskError::snoozes_for);
    if let Some(span) = snooze {
        return Verdict::Snooze(span.max(SNOOZE_MIN));
    }
    match end {
        Ok(value) if RESULT_BYTES_MAX < value.len() => {
            let message = format!(
                "ran, but its result of {} bytes exceeds {RESULT_BYTES_MAX} and is not kept",
                value.len()
            );
            Verdict::Done {
                outcome: Outcome::Failed(Failure::new(FailureKind::Malformed, message)),
                keep,
            }
        }
        Ok(value) => Verdict::Done {
            outcome: Outcome::Done(value),
            keep,
        },
        Err(error) if error.is_permanent() || policy.max_retries < attempt => {
            let mut failure = error.to_failure();
            failure.run_mut().attempt = Some(attempt);
            Verdict::Bury(failure)
        }
        Err(error) => Verdict::RetryIn(
            error
                .delay()
                .unwrap_or_else(|| policy.backoff.delay(attempt, random)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Backoff;
    use crate::time::secs;

    fn policy(max_retries: u32) -> RetryPolicy {
        RetryPolicy {
            max_retries,
            backoff: Backoff::exponential(secs(1)).jitter(0.0),
        }
    }

    #[test]
    fn a_failure_is_retried_until_its_retries_are_used_up() {
        for (attempt, expected) in [(1, Some(secs(1))), (2, Some(secs(2))), (3, None)] {
            let verdict = verdict(Err(TaskError::new("no")), attempt, &policy(2), 0.0, None);
            match expected {
                Some(delay) => assert_eq!(verdict, Verdict::RetryIn(delay), "attempt {attempt}"),
                None => assert!(matches!(verdict, Verdict::Bury(_)), "attempt {attempt}"),
            }
        }
    }

    #[test]
    fn a_permanent_failure_is_buried_at_once() {
        let error = TaskError::permanent(std::io::Error::other("no such user"));
        let Verdict::Bury(failure) = verdict(Err(error), 1, &policy(9), 0.0, None) else {
            panic!("not buried");
        };
        assert_eq!(failure.message, "no such user");
    }

    #[test]
    fn an_error_may_bring_its_own_delay() {
        let error = TaskError::new("busy").retry_after(secs(42));
        assert_eq!(
            verdict(Err(error), 1, &policy(1), 0.0, None),
            Verdict::RetryIn(secs(42))
        );
    }

    #[test]
    fn a_snooze_is_no_attempt_and_takes_a_moment_at_least() {
        for (asked, span) in [(Duration::ZERO, SNOOZE_MIN), (secs(60), secs(60))] {
            let error = TaskError::new("the shop is closed").snooze(asked);
            // Also where no attempt is left: this was none.
            let verdict = verdict(Err(error), 9, &policy(0), 0.0, None);
            assert_eq!(verdict, Verdict::Snooze(span), "{asked:?}");
        }
    }

    #[test]
    fn a_result_too_large_does_not_run_the_task_again() {
        let value = Bytes::from(vec![0; RESULT_BYTES_MAX + 1]);
        let verdict = verdict(Ok(value), 1, &policy(9), 0.0, Some(secs(1)));
        assert!(
            matches!(
                verdict,
                Verdict::Done {
                    outcome: Outcome::Failed(_),
                    ..
                }
            ),
            "{verdict:?}"
        );
    }
}
