//! On a broker whose calls end when the test lets them.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Broker, BrokerError, Claim, Confirmed, Envelope, Recovered, Renewal, Settled, Settlement,
    TaskId, TaskName, WorkerId, secs,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;

type Answer = Result<(), EnqueueError>;

/// Shows each call, and answers it when it is told how.
#[derive(Clone)]
struct Gated {
    calls: mpsc::UnboundedSender<usize>,
    answers: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Answer>>>,
}

struct Gate {
    gather: Arc<Gather<Gated>>,
    calls: mpsc::UnboundedReceiver<usize>,
    answers: mpsc::UnboundedSender<Answer>,
}

fn gate() -> Gate {
    let (calls_in, calls) = mpsc::unbounded_channel();
    let (answers, answers_out) = mpsc::unbounded_channel();
    let broker = Gated {
        calls: calls_in,
        answers: Arc::new(tokio::sync::Mutex::new(answers_out)),
    };
    let gather = Gather::new(broker, QueueName::parse("q").unwrap(), Durability::NONE);
    Gate {
        gather,
        calls,
        answers,
    }
}

impl Gate {
    fn send(&self, sends: &mut JoinSet<Result<Receipt, EnqueueError>>, within: Duration) {
        let gather = Arc::clone(&self.gather);
        let deadline = Instant::now() + within;
        sends.spawn(async move { gather.send(task(), deadline).await });
    }

    /// The size of the next call, once it has been made.
    async fn call(&mut self) -> usize {
        let call = tokio::time::timeout(secs(3600), self.calls.recv());
        call.await.expect("no call was made").unwrap()
    }

    /// Lets `n` more senders wait behind the call that travels.
    async fn waiting(&self, n: usize) {
        while self.gather.line().waiting.len() < n {
            tokio::task::yield_now().await;
        }
    }
}

fn task() -> Encoded {
    let (name, queue) = (
        TaskName::parse("t").unwrap(),
        QueueName::parse("q").unwrap(),
    );
    let nothing = Bytes::from_static(b"\x90");
    Envelope::new(TaskId::random(), name, queue, nothing)
        .encode()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn sends_behind_a_call_go_as_one() {
    let mut gate = gate();
    let mut sends = JoinSet::new();
    gate.send(&mut sends, secs(2));
    assert_eq!(gate.call().await, 1);
    for _ in 0..7 {
        gate.send(&mut sends, secs(2));
    }
    gate.waiting(7).await;
    gate.answers.send(Ok(())).unwrap();
    assert_eq!(gate.call().await, 7);
    gate.answers.send(Ok(())).unwrap();
    for answer in sends.join_all().await {
        assert_eq!(answer.unwrap().enqueued, Enqueued::New);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_carries_no_more_than_a_thousand() {
    let mut gate = gate();
    let mut sends = JoinSet::new();
    gate.send(&mut sends, secs(2));
    assert_eq!(gate.call().await, 1);
    for _ in 0..1500 {
        gate.send(&mut sends, secs(2));
    }
    gate.waiting(1500).await;
    for size in [1000, 500] {
        gate.answers.send(Ok(())).unwrap();
        assert_eq!(gate.call().await, size);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_no_other_send_with_it() {
    let mut gate = gate();
    let mut lone = JoinSet::new();
    gate.send(&mut lone, secs(2));
    assert_eq!(gate.call().await, 1);
    let mut others = JoinSet::new();
    gate.send(&mut others, secs(2));
    gate.send(&mut others, secs(2));
    gate.waiting(2).await;

    lone.shutdown().await;
    assert_eq!(gate.call().await, 2);
    gate.answers.send(Ok(())).unwrap();
    assert!(others.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_it_waits_is_not_sent() {
    let mut gate = gate();
    let mut sends = JoinSet::new();
    gate.send(&mut sends, secs(2));
    assert_eq!(gate.call().await, 1);
    let mut gone = JoinSet::new();
    gate.send(&mut gone, secs(2));
    gate.waiting(1).await;
    gone.shutdown().await;
    gate.send(&mut sends, secs(2));
    gate.waiting(1).await;

    gate.answers.send(Ok(())).unwrap();
    assert_eq!(gate.call().await, 1);
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_a_send_that_travels_is_unknown_and_one_that_waits_is_refused() {
    let mut gate = gate();
    let mut travels = JoinSet::new();
    gate.send(&mut travels, secs(2));
    assert_eq!(gate.call().await, 1);
    let mut waits = JoinSet::new();
    gate.send(&mut waits, secs(1));
    gate.waiting(1).await;

    let waited = waits.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(matches!(waited, EnqueueError::Refused(_)), "{waited:?}");
    let travelled = travels.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(
        matches!(travelled, EnqueueError::Unknown(_)),
        "{travelled:?}"
    );
    assert!(!gate.gather.line().busy);
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_everyone_in_the_batch() {
    let mut gate = gate();
    let mut sends = JoinSet::new();
    gate.send(&mut sends, secs(2));
    assert_eq!(gate.call().await, 1);
    for _ in 0..3 {
        gate.send(&mut sends, secs(2));
    }
    gate.waiting(3).await;
    for _ in 0..2 {
        let error = EnqueueError::Refused(TransportError::new("loading"));
        gate.answers.send(Err(error)).unwrap();
    }
    for answer in sends.join_all().await {
        assert!(
            matches!(answer, Err(EnqueueError::Refused(_))),
            "{answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_batch_exceeds_the_bound_those_that_fit_go() {
    let mut gate = gate();
    let mut sends = JoinSet::new();
    gate.send(&mut sends, secs(2));
    assert_eq!(gate.call().await, 1);
    for _ in 0..5 {
        gate.send(&mut sends, secs(2));
    }
    gate.waiting(5).await;
    gate.answers.send(Ok(())).unwrap();
    assert_eq!(gate.call().await, 5);
    let full = EnqueueError::QueueFull {
        queue: QueueName::parse("q").unwrap(),
        len: 7,
        bound: 10,
    };
    gate.answers.send(Err(full)).unwrap();
    assert_eq!(gate.call().await, 3);
    gate.answers.send(Ok(())).unwrap();
    let answers = sends.join_all().await;
    let full = |answer: &&Result<Receipt, _>| {
        matches!(answer, Err(EnqueueError::QueueFull { len: 10, .. }))
    };
    assert_eq!(answers.iter().filter(full).count(), 2);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4);
}

#[test]
fn a_call_carries_no_more_bytes_than_allowed_unless_one_task_does() {
    let half = BATCH_BYTES_MAX / 2;
    for (sizes, expected) in [
        (vec![], 0),
        (vec![1; 2000], BATCH_MAX),
        (vec![half, half, 1], 2),
        (vec![BATCH_BYTES_MAX + 1, 1], 1),
        (vec![1, BATCH_BYTES_MAX], 1),
    ] {
        assert_eq!(
            batch_len(sizes.iter().copied()),
            expected,
            "{:?}",
            sizes.first()
        );
    }
}

impl Broker for Gated {
    async fn enqueue(
        &self,
        _: &QueueName,
        tasks: Vec<Encoded>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        self.calls.send(tasks.len()).unwrap();
        let answer = self.answers.lock().await.recv().await;
        answer.unwrap().map(|()| vec![Enqueued::New; tasks.len()])
    }

    async fn claim(&self, _: WorkerId, _: &QueueName, _: NonZeroU16) -> Result<Claim, BrokerError> {
        unreachable!("a sender does not claim")
    }

    async fn settle(
        &self,
        _: WorkerId,
        _: &QueueName,
        _: Vec<Settlement>,
    ) -> Result<Settled, BrokerError> {
        unreachable!("a sender does not settle")
    }

    async fn wait(&self, _: &QueueName, _: Duration) -> Result<(), BrokerError> {
        unreachable!("a sender does not wait for tasks")
    }

    async fn renew(&self, _: WorkerId, _: &QueueName, _: Duration) -> Result<Renewal, BrokerError> {
        unreachable!("a sender has no lease")
    }

    async fn recover(&self, _: &QueueName, _: Duration) -> Result<Recovered, BrokerError> {
        unreachable!("a sender does not recover")
    }
}

impl Durable for Gated {
    async fn enqueue_confirmed(
        &self,
        _: &QueueName,
        _: Vec<Encoded>,
        _: Durability,
    ) -> Result<Confirmed, EnqueueError> {
        unreachable!("nobody asks for a confirmation here")
    }
}
