//! Histories with a violation each: what the checker says of it, what is wrong, and the story.

use lovage_core::FailureKind;

use super::{
    ELSEWHERE, HERE, OTHER, Story, WORKER, at, beside, called_back, done_twice, doomed, holder, id,
    killed, story, unheard, unheard_claim,
};
use crate::chaos::ledger::{Answer, Kind};
use crate::chaos::windows::What;
use crate::journal::{Entry, Event, Taken};

type Violation = (&'static str, &'static str, Story);

pub(super) fn all() -> impl Iterator<Item = Violation> {
    let groups = [
        sends(),
        runs(),
        repeated(),
        verdicts(),
        deaths(),
        callbacks(),
        keys(),
    ];
    groups.into_iter().flatten()
}

/// What was sent, and what was not.
fn sends() -> Vec<Violation> {
    vec![
        ("lost: ", "never runs", story(Kind::Quick)),
        ("lost: ", "never ends", killed(Kind::Nap)),
        (
            "lost: ",
            "fails for good, and is no dead letter",
            story(Kind::Doomed)
                .run(1, WORKER, 10)
                .fails(20)
                .is(Taken::Bury, 30),
        ),
        (
            "refused, and stored",
            "refused, and runs",
            story(Kind::Quick)
                .good(1, WORKER, 10)
                .sent(1, Kind::Quick, Answer::Refused, 0..5),
        ),
        (
            "nobody has sent",
            "runs from nowhere",
            story(Kind::Quick).good(1, WORKER, 10).good(50, WORKER, 20),
        ),
        (
            "nobody has sent",
            "dies from nowhere",
            story(Kind::Quick)
                .good(1, WORKER, 10)
                .dies(50, FailureKind::Error, 20),
        ),
        ("too early", "starts before its time", {
            let mut story = story(Kind::Later).good(1, WORKER, 10);
            story.facts.ledger.get_mut(&id(1)).unwrap().not_before = at(11);
            story
        }),
        ("had not begun", "done without a start", {
            let mut story = story(Kind::Nap).good(1, WORKER, 10).good(2, WORKER, 30);
            story = story.sent(2, Kind::Quick, Answer::Unknown, 0..5);
            let is_start = |entry: &Entry| entry.event == Event::Start;
            story
                .entries
                .retain(|entry| entry.id != id(2) || !is_start(entry));
            story
        }),
        ("no acknowledgement", "nothing is heard of any verdict", {
            let mut story = unheard(Kind::Nap).fault(What::Cut, 1..60, None);
            story
                .entries
                .retain(|entry| !matches!(entry.event, Event::Ack(_)));
            story
        }),
    ]
}

/// Runs that have no fault to explain them.
fn runs() -> Vec<Violation> {
    vec![
        (
            "for no reason",
            "runs again without any fault",
            done_twice(Kind::Nap),
        ),
        (
            "for no reason",
            "acknowledged, then its worker is killed",
            done_twice(Kind::Nap).fault(What::Kill, 40..40, HERE),
        ),
        (
            "for no reason",
            "another worker is killed",
            story(Kind::Nap)
                .run(1, WORKER, 10)
                .fault(What::Kill, 15..15, ELSEWHERE)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        (
            "for no reason",
            "the end was never told though all was well, and the worker is killed much later",
            unheard(Kind::Nap)
                .fault(What::Kill, 60_000..60_000, HERE)
                .run(1, OTHER, 62_000)
                .losses(1)
                .ends(62_001)
                .is(Taken::Done, 62_002),
        ),
        (
            "for no reason",
            "frozen for less than a lease can notice",
            story(Kind::Nap)
                .run(1, WORKER, 10)
                .fault(What::Freeze, 12..300, HERE)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        (
            "for no reason",
            "killed, and no loss counted",
            killed(Kind::Nap).good(1, OTHER, 2_000),
        ),
        (
            "for no reason",
            "a failover begins long after the acknowledgement",
            done_twice(Kind::Nap).fault(What::FailOver, 4_000..6_000, None),
        ),
        (
            "for no reason",
            "given back though nobody stopped its worker",
            story(Kind::Nap)
                .run(1, WORKER, 10)
                .is(Taken::Release, 20)
                .good(1, OTHER, 30),
        ),
        (
            "for no reason",
            "a worker that stops in peace loses the verdict",
            unheard(Kind::Nap)
                .fault(What::Stop, 15..40, HERE)
                .good(1, OTHER, 50),
        ),
    ]
}

/// Runs again of what may not run again, or not so: at-most-once tasks, attempts, acknowledged ones.
fn repeated() -> Vec<Violation> {
    vec![
        (
            "for no reason",
            "an at-most-once task runs long before a failover, and after it",
            done_twice(Kind::Once).fault(What::FailOver, 4_000..6_000, None),
        ),
        (
            "for no reason",
            "a quick task with a second attempt",
            unheard(Kind::Quick)
                .is(Taken::Done, 30)
                .run(1, WORKER, 40)
                .attempt(2)
                .ends(41)
                .is(Taken::Done, 42),
        ),
        (
            "for no reason",
            "an at-most-once task in its next attempt",
            story(Kind::Once)
                .run(1, WORKER, 10)
                .fault(What::Kill, 15..15, HERE)
                .run(1, OTHER, 2_000)
                .attempt(2)
                .losses(1)
                .ends(2_001)
                .is(Taken::Done, 2_002),
        ),
        (
            "for no reason",
            "a flaky task that had ended in its second attempt",
            story(Kind::Flaky)
                .run(1, WORKER, 10)
                .fails(11)
                .is(Taken::Retry, 12)
                .run(1, WORKER, 20)
                .attempt(2)
                .ends(21)
                .is(Taken::Done, 22)
                .run(1, WORKER, 30)
                .attempt(3)
                .ends(31)
                .is(Taken::Done, 32),
        ),
        (
            "for no reason",
            "a snooze that began the attempts anew",
            story(Kind::Drowsy)
                .run(1, WORKER, 10)
                .fails(11)
                .is(Taken::Snooze, 12)
                .run(1, WORKER, 30)
                .attempt(2)
                .with(|start| start.snoozes = 1)
                .ends(31)
                .is(Taken::Done, 32),
        ),
        (
            "may run at most once",
            "an at-most-once task of a killed worker",
            killed(Kind::Once).good(1, OTHER, 2_000).losses_of_last(1),
        ),
        (
            "may run at most once",
            "one under an idempotency key",
            killed(Kind::Keyed).good(1, OTHER, 2_000).losses_of_last(1),
        ),
        (
            "for no reason",
            "an at-most-once task that a producer in doubt sent again",
            done_twice(Kind::Once)
                .fault(What::Producer, 2..10_000, Some(&[]))
                .sent(1, Kind::Once, Answer::Accepted, 0..4_000),
        ),
        (
            "for no reason",
            "sent again long before it was acknowledged",
            unheard(Kind::Nap)
                .is(Taken::Done, 60_000)
                .good(1, OTHER, 61_000)
                .fault(What::Producer, 2..2_000, Some(&[])),
        ),
    ]
}

/// Verdicts and losses.
fn verdicts() -> Vec<Violation> {
    vec![
        ("fence", "a fence that does not grow", {
            let mut story = killed(Kind::Nap).good(1, OTHER, 2_000).losses_of_last(1);
            for entry in &mut story.entries {
                entry.fence = 5;
            }
            story
        }),
        (
            "against its body",
            "given back by a worker that stops, though it had ended",
            unheard(Kind::Long)
                .is(Taken::Release, 30)
                .fault(What::Stop, 5..40, HERE)
                .good(1, OTHER, 50),
        ),
        (
            "charged a loss",
            "given back at a stop, and charged a loss",
            story(Kind::Long)
                .run(1, WORKER, 10)
                .fault(What::Stop, 15..40, HERE)
                .is(Taken::Release, 35)
                .good(1, OTHER, 50)
                .losses_of_last(1),
        ),
        (
            "charged a loss",
            "two losses by one kill",
            killed(Kind::Nap).good(1, OTHER, 2_000).losses_of_last(2),
        ),
        (
            "losses of",
            "losses that are forgotten",
            story(Kind::Long)
                .fault(What::Kill, 6..6, ELSEWHERE)
                .run(1, WORKER, 2_000)
                .losses(1)
                .fault(What::Stop, 2_010..2_040, HERE)
                .is(Taken::Release, 2_035)
                .good(1, OTHER, 2_050),
        ),
        (
            "at the same time",
            "a killed worker's body that goes on",
            story(Kind::Nap)
                .run(1, WORKER, 10)
                .ends(4_000)
                .fault(What::Kill, 15..15, HERE)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        ("no verdict", "ended, and never settled", unheard(Kind::Nap)),
        (
            "against its body",
            "an at-most-once task that is buried though it was done",
            unheard(Kind::Once).is(Taken::Bury, 30),
        ),
        (
            "against its body",
            "done without an end",
            story(Kind::Once)
                .run(1, WORKER, 10)
                .is(Taken::Done, 20)
                .good(1, WORKER, 30),
        ),
        (
            "against its body",
            "retried, though it never fails",
            unheard(Kind::Nap).is(Taken::Retry, 30),
        ),
    ]
}

/// Dead letters.
fn deaths() -> Vec<Violation> {
    vec![
        (
            "died for no reason",
            "abandoned by a worker that stopped long after an answer was lost",
            unheard_claim().fault(What::Stop, 1_700..1_900, HERE),
        ),
        (
            "died for no reason",
            "a malformed message that was none",
            story(Kind::Quick)
                .run(1, WORKER, 10)
                .dies(1, FailureKind::Malformed, 20)
                .fault(What::Kill, 15..15, HERE),
        ),
        (
            "died for no reason",
            "an at-least-once task is abandoned",
            killed(Kind::Nap).dies(1, FailureKind::Abandoned, 2_000),
        ),
        (
            "died for no reason",
            "an at-most-once task is abandoned though its worker is well",
            story(Kind::Once)
                .run(1, WORKER, 10)
                .dies(1, FailureKind::Abandoned, 2_000)
                .fault(What::Kill, 15..15, ELSEWHERE),
        ),
        (
            "died for no reason",
            "buried at its first loss",
            killed(Kind::Nap)
                .losses_of_last(1)
                .dies(1, FailureKind::Lost, 2_000),
        ),
        (
            "died for no reason",
            "buried for three losses that nothing explains",
            killed(Kind::Nap)
                .dies(1, FailureKind::Lost, 2_000)
                .losses_of_death(3),
        ),
        (
            "was done, and died",
            "acknowledged, and a dead letter",
            unheard(Kind::Once)
                .is(Taken::Done, 30)
                .fault(What::Kill, 40..40, HERE)
                .dies(1, FailureKind::Abandoned, 2_000),
        ),
    ]
}

/// Callbacks.
fn callbacks() -> Vec<Violation> {
    vec![
        (
            "nobody was called back",
            "a death without a callback",
            doomed(),
        ),
        (
            "for no death",
            "called back twice for one death",
            called_back(called_back(doomed(), 11, 50), 12, 60),
        ),
        ("for no death", "called back for what is not dead", {
            let mut story = called_back(doomed(), 11, 50);
            story.facts.dead.clear();
            story
        }),
        (
            "for no reason",
            "one callback that runs twice without a fault",
            called_back(called_back(doomed(), 11, 50), 11, 12_000),
        ),
        (
            "for no reason",
            "one that runs twice because its sender was killed",
            called_back(called_back(doomed(), 11, 50), 11, 12_000).fault(
                What::Kill,
                52..52,
                ELSEWHERE,
            ),
        ),
    ]
}

/// Unique keys and idempotency keys.
fn keys() -> Vec<Violation> {
    vec![
        (
            "of one key ran at once",
            "two tasks of a key at once",
            beside(holder().is(Taken::Done, 510), 2).good(2, OTHER, 400),
        ),
        (
            "a key was given away",
            "another begins between two runs of one",
            beside(
                story(Kind::Unique(7))
                    .run(1, WORKER, 10)
                    .fault(What::Kill, 15..15, HERE),
                2,
            )
            .good(2, OTHER, 1_000)
            .good(1, OTHER, 2_000)
            .losses_of_last(1),
        ),
        (
            "another key",
            "merged with a task of another key",
            holder()
                .is(Taken::Done, 510)
                .sent(2, Kind::Unique(8), Answer::Existing(id(1)), 20..25),
        ),
        (
            "that was gone",
            "merged with a task that had ended",
            holder().is(Taken::Done, 510).sent(
                2,
                Kind::Unique(7),
                Answer::Existing(id(1)),
                900..905,
            ),
        ),
        (
            "and stored",
            "merged, and run all the same",
            holder().is(Taken::Done, 510).good(2, OTHER, 600).sent(
                2,
                Kind::Unique(7),
                Answer::Existing(id(1)),
                20..25,
            ),
        ),
        (
            "more than once",
            "two sends under an idempotency key that both made the task",
            {
                let mut story = story(Kind::Keyed).good(1, WORKER, 10);
                story.facts.ledger.get_mut(&id(1)).unwrap().made = 2;
                story
            },
        ),
    ]
}
