//! Histories without a violation: why something ran again, if anything did, what happened, and the story.

use lovage_core::FailureKind;

use super::{
    ELSEWHERE, HERE, OTHER, Story, WORKER, at, beside, called_back, done_twice, doomed, holder, id,
    killed, story, unheard, unheard_claim,
};
use crate::chaos::checker::Reason;
use crate::chaos::ledger::{Answer, Kind};
use crate::chaos::windows::What;
use crate::journal::Taken;

type Excuse = (Option<Reason>, &'static str, Story);

pub(super) fn all() -> impl Iterator<Item = Excuse> {
    let groups = [ends(), repeats(), sendings(), deaths(), keys()];
    groups.into_iter().flatten()
}

/// Nothing ran again but what its body asked for.
fn ends() -> Vec<Excuse> {
    vec![
        (None, "each ends", story(Kind::Quick).good(1, WORKER, 10)),
        (
            None,
            "in doubt, and never stored",
            story(Kind::Nap).sent(1, Kind::Nap, Answer::Unknown, 0..4_000),
        ),
        (
            None,
            "retried once",
            story(Kind::Flaky)
                .run(1, WORKER, 10)
                .fails(11)
                .is(Taken::Retry, 12)
                .run(1, OTHER, 20)
                .attempt(2)
                .ends(21)
                .is(Taken::Done, 22),
        ),
        (
            None,
            "snoozed once, and its worker is killed before it hears so",
            story(Kind::Drowsy)
                .run(1, WORKER, 10)
                .fails(11)
                .fault(What::Kill, 12..12, HERE)
                .run(1, OTHER, 30)
                .with(|start| start.snoozes = 1)
                .ends(31)
                .is(Taken::Done, 32),
        ),
    ]
}

/// Runs again of what a worker was lost with.
fn repeats() -> Vec<Excuse> {
    vec![
        (
            Some(Reason::WorkerKilled),
            "killed while the body ran",
            killed(Kind::Nap).good(1, OTHER, 2_000).losses_of_last(1),
        ),
        (
            Some(Reason::WorkerKilled),
            "killed before the end was told",
            unheard(Kind::Child)
                .fault(What::Kill, 30..30, HERE)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        (
            Some(Reason::WorkerStopped),
            "given back by a worker that stops",
            story(Kind::Long)
                .run(1, WORKER, 10)
                .fault(What::Stop, 15..40, HERE)
                .is(Taken::Release, 35)
                .good(1, OTHER, 50),
        ),
        (
            Some(Reason::WorkerStopped),
            "given back by a worker that is cut off as it stops",
            story(Kind::Long)
                .run(1, WORKER, 10)
                .fault(What::Cut, 12..14, HERE)
                .fault(What::Stop, 13..40, HERE)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        (
            Some(Reason::WorkerFrozen),
            "frozen for longer than the lease, and goes on beside the second run",
            story(Kind::Nap)
                .run(1, WORKER, 10)
                .fault(What::Freeze, 12..3_000, HERE)
                .ends(3_005)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        (
            Some(Reason::WorkerCutOff),
            "cut off for longer than the lease",
            unheard(Kind::Nap)
                .fault(What::Silence, 15..3_000, HERE)
                .good(1, OTHER, 2_000)
                .losses_of_last(1),
        ),
        (
            Some(Reason::StoreAway),
            "Redis is away for longer than the lease",
            unheard(Kind::Nap)
                .fault(What::Restart, 15..2_000, None)
                .good(1, OTHER, 4_000)
                .losses_of_last(1),
        ),
    ]
}

/// Runs again since something was sent again, or a write was lost.
fn sendings() -> Vec<Excuse> {
    vec![
        (
            Some(Reason::SentAgain),
            "sent again after an answer that was lost",
            unheard(Kind::Nap)
                .is(Taken::Done, 30)
                .good(1, OTHER, 2_500)
                .fault(What::Producer, 2..2_000, Some(&[]))
                .sent(1, Kind::Nap, Answer::Accepted, 0..2_400),
        ),
        (
            Some(Reason::SentAgain),
            "a flaky one that begins anew",
            story(Kind::Flaky)
                .run(1, WORKER, 10)
                .fails(11)
                .is(Taken::Retry, 12)
                .run(1, WORKER, 20)
                .attempt(2)
                .ends(21)
                .is(Taken::Done, 22)
                .run(1, OTHER, 2_500)
                .fails(2_501)
                .is(Taken::Retry, 2_502)
                .run(1, OTHER, 2_600)
                .attempt(2)
                .ends(2_601)
                .is(Taken::Done, 2_602)
                .fault(What::Restart, 2..2_000, None)
                .sent(1, Kind::Flaky, Answer::Accepted, 0..2_400),
        ),
        (
            Some(Reason::FailOver),
            "the acknowledgement is lost with its primary",
            done_twice(Kind::Once).fault(What::FailOver, 20..3_000, None),
        ),
    ]
}

/// Dead letters and callbacks.
fn deaths() -> Vec<Excuse> {
    vec![
        (None, "called back once", called_back(doomed(), 11, 50)),
        (
            None,
            "a callback that a failover has lost",
            doomed().fault(What::FailOver, 1_000..3_000, None),
        ),
        (
            None,
            "abandoned with its worker",
            killed(Kind::Once).dies(1, FailureKind::Abandoned, 2_000),
        ),
        (None, "abandoned before it had begun", {
            let mut story = killed(Kind::Once).dies(1, FailureKind::Abandoned, 2_000);
            story.entries.retain(|entry| entry.id != id(1));
            story
        }),
        (
            None,
            "abandoned by a worker that stopped before it knew of it, as the answer of its claim was lost",
            unheard_claim().fault(What::Stop, 1_000..1_200, HERE),
        ),
        (
            None,
            "abandoned by a claim that arrived when its worker was dead",
            {
                let mut story = killed(Kind::Once).dies(1, FailureKind::Abandoned, 2_000);
                story.facts.dead.get_mut(&id(1)).unwrap().claimed_at = Some(at(40));
                story
            },
        ),
        (
            None,
            "abandoned by a worker that stops",
            story(Kind::Once)
                .run(1, WORKER, 10)
                .fault(What::Stop, 15..40, HERE)
                .is(Taken::Bury, 35)
                .dies(1, FailureKind::Abandoned, 34),
        ),
        (
            None,
            "lost with three workers",
            killed(Kind::Nap)
                .fault(What::Kill, 2_000..2_000, ELSEWHERE)
                .fault(What::Freeze, 3_000..6_000, ELSEWHERE)
                .dies(1, FailureKind::Lost, 8_000)
                .losses_of_death(3),
        ),
    ]
}

/// Unique keys.
fn keys() -> Vec<Excuse> {
    vec![
        (
            None,
            "two of a key, one after the other, and a third that is told of the first",
            beside(holder().is(Taken::Done, 510), 2)
                .good(2, OTHER, 520)
                .sent(3, Kind::Unique(7), Answer::Existing(id(1)), 20..25),
        ),
        (
            Some(Reason::WorkerFrozen),
            "a frozen holder of a key wakes up beside the next one",
            beside(
                story(Kind::Unique(7))
                    .run(1, WORKER, 10)
                    .fault(What::Freeze, 12..3_000, HERE)
                    .ends(3_005)
                    .good(1, OTHER, 2_000)
                    .losses_of_last(1),
                2,
            )
            .good(2, OTHER, 3_002),
        ),
        (
            None,
            "the repeated send of one that had ended meets another of its key",
            holder()
                .is(Taken::Done, 510)
                .good(2, OTHER, 1_000)
                .sent(2, Kind::Unique(7), Answer::Accepted, 900..1_500)
                .fault(What::Producer, 2..1_200, Some(&[]))
                .sent(1, Kind::Unique(7), Answer::Existing(id(2)), 0..1_400),
        ),
    ]
}
