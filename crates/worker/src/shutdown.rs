//! Quiet, drain, release: how a worker ends, and how long each step may take.

use std::time::Duration;

use lovage_core::{ms, secs};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long bodies may still react to their token when the drain's grace is over.
const LAST_WORDS: Duration = secs(1);
/// The same when everything is to be released at once.
const LAST_WORDS_NOW: Duration = ms(200);
/// How long the broker may take to hear what is released. What it has not heard returns when the lease ends.
const RELEASE_MAX: Duration = secs(1);
/// How long leaving the queues may take.
pub(crate) const RETIRE_MAX: Duration = ms(500);

/// How a worker is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Claim no more, let runs end for this long, release the rest.
    Drain(Duration),
    /// Release everything now.
    Now,
}

/// The strongest command so far. Nothing is lost that a pump on a blocked runtime has not heard yet.
pub(crate) type Commander = watch::Sender<Option<Command>>;

/// Asks a worker to end, unless the same or more was asked before.
pub(crate) fn command(commander: &Commander, command: Command) {
    commander.send_if_modified(|strongest| {
        let is_new = match (*strongest, command) {
            (None, _) => true,
            (Some(before), Command::Now) => before != Command::Now,
            (Some(_), Command::Drain(_)) => false,
        };
        if is_new {
            *strongest = Some(command);
        }
        is_new
    });
}

/// How far a worker's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It works.
    Working,
    /// Quiet: runs may end by themselves until then.
    Draining(Instant),
    /// Tokens are cancelled: bodies may react until then.
    Interrupted(Instant),
    /// Runs are aborted: what is released may reach the broker until then.
    Releasing(Instant),
    /// Nothing is held, or nothing more can be done.
    Ended,
}

/// What a step asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Stay,
    /// Give back what has not started.
    ReleaseWaiting,
    /// Cancel the tokens of all runs.
    Interrupt,
    /// Abort all runs, but for bodies that have begun on threads, which nothing stops.
    Abort,
}

impl Stage {
    pub(crate) fn is_quiet(self) -> bool {
        self != Self::Working
    }

    /// When the present step ends at the latest.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Working | Self::Ended => None,
            Self::Draining(until) | Self::Interrupted(until) | Self::Releasing(until) => {
                Some(until)
            }
        }
    }

    pub(crate) fn command(&mut self, command: Command, now: Instant) -> Step {
        match (*self, command) {
            (Self::Working, Command::Drain(grace)) => {
                *self = Self::Draining(now + grace);
                Step::ReleaseWaiting
            }
            (Self::Working | Self::Draining(_), Command::Now) => {
                *self = Self::Interrupted(now + LAST_WORDS_NOW);
                Step::Interrupt
            }
            (Self::Interrupted(until), Command::Now) => {
                *self = Self::Interrupted(until.min(now + LAST_WORDS_NOW));
                Step::Stay
            }
            _ => Step::Stay,
        }
    }

    /// Goes on where the time of a step is over, or where nothing is held any more.
    pub(crate) fn advance(&mut self, now: Instant, holds_nothing: bool) -> Step {
        if self.is_quiet() && holds_nothing {
            *self = Self::Ended;
            return Step::Stay;
        }
        let over = self.deadline().is_some_and(|until| until <= now);
        match *self {
            Self::Draining(_) if over => {
                *self = Self::Interrupted(now + LAST_WORDS);
                Step::Interrupt
            }
            Self::Interrupted(_) if over => {
                *self = Self::Releasing(now + RELEASE_MAX);
                Step::Abort
            }
            Self::Releasing(_) if over => {
                *self = Self::Ended;
                Step::Stay
            }
            _ => Step::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_ends_in_bounded_time_even_if_nothing_lets_go() {
        let start = Instant::now();
        let mut stage = Stage::Working;
        assert_eq!(
            stage.command(Command::Drain(secs(25)), start),
            Step::ReleaseWaiting
        );
        assert_eq!(stage.advance(start + secs(24), false), Step::Stay);
        assert_eq!(stage.advance(start + secs(25), false), Step::Interrupt);
        assert_eq!(stage.advance(start + secs(26), false), Step::Abort);
        assert_eq!(stage.advance(start + secs(27), false), Step::Stay);
        assert_eq!(stage, Stage::Ended);
    }

    #[test]
    fn a_second_request_ends_within_two_seconds() {
        let start = Instant::now();
        let mut stage = Stage::Working;
        stage.command(Command::Drain(secs(25)), start);
        assert_eq!(stage.command(Command::Now, start), Step::Interrupt);
        assert_eq!(stage.advance(start + LAST_WORDS_NOW, false), Step::Abort);
        stage.advance(start + LAST_WORDS_NOW + RELEASE_MAX, false);
        assert_eq!(stage, Stage::Ended);
        assert!(LAST_WORDS_NOW + RELEASE_MAX + RETIRE_MAX < secs(2));
    }

    #[test]
    fn a_drain_ends_as_soon_as_nothing_is_held() {
        let mut stage = Stage::Working;
        stage.command(Command::Drain(secs(25)), Instant::now());
        stage.advance(Instant::now(), true);
        assert_eq!(stage, Stage::Ended);
    }
}
