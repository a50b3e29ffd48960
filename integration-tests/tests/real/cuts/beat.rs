//! The same cuts for what beats ask of Redis.

use lovage_core::{
    Amended, Amendment, BeatId, Change, Inspect as _, Lead, Millis, Rescheduled, ScheduleName,
    Schedules, When,
};

use super::*;

/// Makes a schedule of the queue's name, with a task for each of the case.
fn amendment(case: &Case) -> Amendment {
    Amendment {
        name: ScheduleName::parse(case.queue.as_str()).unwrap(),
        expected: None,
        change: Change::Store {
            record: Bytes::from_static(b"a record"),
            wake: None,
        },
        sends: case
            .tasks
            .iter()
            .map(|task| (case.queue.clone(), task.clone()))
            .collect(),
        firings: vec![Bytes::from_static(b"a firing")],
    }
}

async fn in_outbox(case: &Case) -> usize {
    case.whole.outbox(&case.queue, all()).await.unwrap().len()
}

/// Everything of `case` that is ready runs to its end.
async fn run_all(case: &Case) -> usize {
    let claimed = case.claim().await;
    let done = Verdict::Done {
        outcome: Outcome::Done(Bytes::new()),
        keep: None,
    };
    let settlements = verdicts(&claimed, &done);
    let settled = case
        .whole
        .settle(case.worker, &case.queue, settlements)
        .await;
    assert_eq!(settled.unwrap().stale, []);
    claimed.len()
}

#[tokio::test]
async fn an_amendment_that_is_cut_and_repeated_is_made_once() {
    each_cut("amend", async |_, case, cutter| {
        let amendment = amendment(&case);
        let answer = cutter
            .over(case.cut.amend(None, vec![amendment.clone()]))
            .await;
        only_unknown(&answer);
        assert_eq!(in_outbox(&case).await, TASKS, "after the cut");
        let again = eventually("the connection is back", async || {
            case.cut.amend(None, vec![amendment.clone()]).await.ok()
        })
        .await;
        assert_eq!(again, [Amended::Conflict]);
        assert_eq!(in_outbox(&case).await, TASKS, "after the repetition");
        let firings = case.whole.firings(&amendment.name, 9).await.unwrap();
        assert_eq!(firings.len(), 1);
    })
    .await;
}

/// Also where the tasks have run and are gone by the time of the repetition: their ids are free by then.
#[tokio::test]
async fn a_forwarding_that_is_cut_and_repeated_brings_each_task_once() {
    each_cut("forward", async |_, case, cutter| {
        case.registered().await;
        let made = case.whole.amend(None, vec![amendment(&case)]).await;
        assert!(matches!(made.unwrap()[..], [Amended::Done(_)]));
        let outgoing = case.whole.outbox(&case.queue, all()).await.unwrap();
        let answer = cutter
            .over(case.cut.forward(&case.queue, outgoing.clone()))
            .await;
        assert!(
            matches!(answer, Ok(_) | Err(EnqueueError::Unknown(_))),
            "{answer:?}"
        );
        assert_eq!(run_all(&case).await, TASKS, "after the cut");
        let again = eventually("the connection is back", async || {
            let outgoing = outgoing.clone();
            case.cut.forward(&case.queue, outgoing).await.ok()
        })
        .await;
        assert_eq!((again.stored, again.known), (0, TASKS));
        assert_eq!(run_all(&case).await, 0, "after the repetition");
    })
    .await;
}

#[tokio::test]
async fn an_outbox_loses_nothing_by_a_cut() {
    each_cut("forwarded", async |_, case, cutter| {
        case.whole
            .amend(None, vec![amendment(&case)])
            .await
            .unwrap();
        let read = cutter.over(case.cut.outbox(&case.queue, all())).await;
        only_unknown(&read);
        assert_eq!(in_outbox(&case).await, TASKS);
        let outgoing = case.whole.outbox(&case.queue, all()).await.unwrap();
        case.whole
            .forward(&case.queue, outgoing[..1].to_vec())
            .await
            .unwrap();
        let up_to = outgoing[0].number;
        eventually("the connection is back", async || {
            case.cut.outbox(&case.queue, all()).await.ok()
        })
        .await;
        only_unknown(&cutter.over(case.cut.forwarded(&case.queue, up_to)).await);
        assert_eq!(in_outbox(&case).await, TASKS - 1, "after the cut");
        eventually("the connection is back", async || {
            case.cut.forwarded(&case.queue, up_to).await.ok()
        })
        .await;
        assert_eq!(in_outbox(&case).await, TASKS - 1, "after the repetition");
    })
    .await;
}

#[tokio::test]
async fn a_lead_that_is_cut_is_held_and_can_be_given_up() {
    each_cut("lead", async |_, case, cutter| {
        let beat = BeatId::random();
        let lease = secs(60);
        only_unknown(&cutter.over(case.cut.lead(beat, lease, all())).await);
        let leader = case.whole.leader().await.unwrap().unwrap();
        assert_eq!(leader.beat, beat);
        let again = eventually("the connection is back", async || {
            case.cut.lead(beat, lease, all()).await.ok()
        })
        .await;
        let Lead::Held(tick) = again else {
            panic!("it leads: {again:?}");
        };
        assert_eq!(tick.epoch, leader.epoch);
        only_unknown(&cutter.over(case.cut.resign(beat)).await);
        assert_eq!(case.whole.leader().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_new_time_that_is_cut_and_repeated_is_one() {
    each_cut("reschedule", async |_, case, cutter| {
        let far = Millis::new(4_000_000_000_000);
        let mut envelope = Envelope::decode(case.tasks[0].bytes()).unwrap();
        envelope.start = Some(When::At(far));
        let id = envelope.id;
        case.whole
            .enqueue(&case.queue, vec![envelope.encode().unwrap()])
            .await
            .unwrap();
        let nearer = Millis::new(3_900_000_000_000);
        let call = case.cut.reschedule(&case.queue, id, When::At(nearer));
        only_unknown(&cutter.over(call).await);
        let again = eventually("the connection is back", async || {
            let call = case.cut.reschedule(&case.queue, id, When::At(nearer));
            call.await.ok()
        })
        .await;
        assert_eq!(again, Rescheduled::Moved(nearer));
        let waiting = case.whole.scheduled(&case.queue, 0, 9).await.unwrap();
        let dues: Vec<_> = waiting.iter().map(|task| (task.id, task.due)).collect();
        assert_eq!(dues, [(id, nearer)]);
    })
    .await;
}
