//! A connection that is cut before, within and behind every reply: the finite list of what a broken network can do
//! to one call. After each cut the call is made again, and everything must be as after one call.

mod beat;

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use bytes::Bytes;
use lovage::AnyBroker;
use lovage_core::{
    Broker, BrokerError, Claim, Control, Delivery, Encoded, EnqueueError, Envelope, Membership,
    Outcome, QueueName, Renewal, Settlement, TaskId, TaskName, Verdict, WorkerId, ms, secs,
};
use lovage_integration_tests::{LIMIT, Place, Stage, eventually};
use lovage_test_redis::{Fault, FaultProxy};

use crate::stage;

/// After how many bytes of replies a connection is cut: closer together where a reply has its frame. First it is not
/// cut at all: then Redis knows the scripts, and each later call is one command that takes effect.
const CUTS: [usize; 17] = [
    usize::MAX,
    0,
    1,
    2,
    3,
    4,
    6,
    9,
    14,
    22,
    35,
    57,
    92,
    149,
    241,
    390,
    631,
];
const TASKS: usize = 3;

/// A queue of its own for one cut, with a broker whose connection will be cut and one whose will not.
struct Case {
    queue: QueueName,
    cut: AnyBroker,
    whole: AnyBroker,
    tasks: Vec<Encoded>,
    worker: WorkerId,
}

/// Runs `case` once for each cut.
async fn each_cut(verb: &str, run: impl AsyncFn(&Stage, Case, Cutter)) {
    let stage = stage().await;
    let proxy = FaultProxy::start(&stage.redis).await;
    let whole = AnyBroker::connect(&stage.redis.url()).await.unwrap();
    let cut = AnyBroker::connect(&proxy.url()).await.unwrap();
    for bytes in CUTS {
        let queue = QueueName::parse(&format!("{verb}-{bytes}")).unwrap();
        let case = Case {
            tasks: (0..TASKS).map(|_| task(&queue)).collect(),
            queue,
            cut: cut.clone(),
            whole: whole.clone(),
            worker: WorkerId::random(),
        };
        // A call on the whole connection first, so that the cut meets the call and not the greeting.
        eventually("the connection is back", async || {
            case.cut
                .renew(case.worker, &case.queue, secs(60))
                .await
                .ok()
        })
        .await;
        let cutter = Cutter {
            proxy: &proxy,
            bytes,
        };
        run(&stage, case, cutter).await;
    }
}

/// Cuts the connections of one call.
#[derive(Clone, Copy)]
struct Cutter<'a> {
    proxy: &'a FaultProxy,
    bytes: usize,
}

impl Cutter<'_> {
    /// The answer to a call whose connection is cut; the connections after it are whole.
    async fn over<T>(self, call: impl Future<Output = T>) -> T {
        self.proxy.set(Fault::CutAfter(self.bytes));
        let answer = tokio::time::timeout(LIMIT, call).await;
        self.proxy.set(Fault::Pass);
        answer.unwrap_or_else(|_| panic!("no end after a cut at byte {}", self.bytes))
    }
}

impl Case {
    fn ids(&self) -> BTreeSet<TaskId> {
        self.tasks.iter().map(Encoded::id).collect()
    }

    /// Enqueued, and claimed by a registered worker.
    async fn claimed(&self) -> Vec<Delivery> {
        self.whole
            .enqueue(&self.queue, self.tasks.clone())
            .await
            .unwrap();
        self.registered().await;
        self.claim().await
    }

    async fn registered(&self) {
        self.whole
            .register(self.worker, &self.queue, secs(60))
            .await
            .unwrap();
    }

    async fn claim(&self) -> Vec<Delivery> {
        granted(
            self.whole
                .claim(self.worker, &self.queue, all())
                .await
                .unwrap(),
        )
    }

    /// How many tasks the worker holds by the queue's account.
    async fn held(&self) -> usize {
        let held = self.whole.holdings(self.worker, &self.queue).await;
        held.unwrap().len()
    }

    async fn holds(&self, stage: &Stage, place: Place, what: &str) {
        let audit = stage.audit_of(self.queue.as_str()).await;
        audit.check();
        assert_eq!(
            audit.ids(place),
            self.ids(),
            "{what} of {}: {audit:?}",
            self.queue
        );
    }

    async fn is_empty(&self, stage: &Stage) {
        let audit = stage.audit_of(self.queue.as_str()).await;
        audit.check();
        assert!(
            audit.ids(Place::Stored).is_empty(),
            "{}: {audit:?}",
            self.queue
        );
    }
}

fn task(queue: &QueueName) -> Encoded {
    let name = TaskName::parse("some.task").unwrap();
    let args = Bytes::from_static(b"\x80");
    let task = Envelope::new(TaskId::random(), name, queue.clone(), args);
    task.encode().unwrap()
}

fn all() -> NonZeroU16 {
    NonZeroU16::new(100).unwrap()
}

fn granted(claim: Claim) -> Vec<Delivery> {
    match claim {
        Claim::Granted(batch) => batch.deliveries,
        Claim::NoLease => panic!("the worker is registered"),
    }
}

fn verdicts(deliveries: &[Delivery], verdict: &Verdict) -> Vec<Settlement> {
    let settle = |delivery: &Delivery| Settlement {
        id: delivery.id,
        fence: delivery.fence,
        verdict: verdict.clone(),
    };
    deliveries.iter().map(settle).collect()
}

/// A lost answer is told as such: the call took effect.
fn only_unknown<T: std::fmt::Debug>(answer: &Result<T, BrokerError>) {
    assert!(
        matches!(answer, Ok(_) | Err(BrokerError::Unknown(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_enqueue_that_is_cut_and_repeated_stores_each_task_once() {
    each_cut("enqueue", async |stage, case, cutter| {
        let answer = cutter
            .over(case.cut.enqueue(&case.queue, case.tasks.clone()))
            .await;
        assert!(
            matches!(answer, Ok(_) | Err(EnqueueError::Unknown(_))),
            "{answer:?}"
        );
        case.holds(stage, Place::Ready, "after the cut").await;
        eventually("the connection is back", async || {
            case.cut.enqueue(&case.queue, case.tasks.clone()).await.ok()
        })
        .await;
        case.holds(stage, Place::Ready, "after the repetition")
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_is_cut_shows_in_the_holdings_and_can_be_given_back() {
    each_cut("claim", async |stage, case, cutter| {
        case.whole
            .enqueue(&case.queue, case.tasks.clone())
            .await
            .unwrap();
        case.registered().await;
        let answer = cutter
            .over(case.cut.claim(case.worker, &case.queue, all()))
            .await;
        only_unknown(&answer);
        case.holds(stage, Place::Active, "after the cut").await;

        let held = case.whole.holdings(case.worker, &case.queue).await.unwrap();
        let release = |(id, fence)| Settlement {
            id,
            fence,
            verdict: Verdict::Release,
        };
        let settlements = held.into_iter().map(release).collect();
        let settled = case
            .whole
            .settle(case.worker, &case.queue, settlements)
            .await
            .unwrap();
        assert_eq!(settled.stale, []);
        assert_eq!(case.held().await, 0);
        case.holds(stage, Place::Ready, "after the release").await;
        assert_eq!(case.claim().await.len(), TASKS);
    })
    .await;
}

#[tokio::test]
async fn a_settle_that_is_cut_and_repeated_counts_one_attempt() {
    each_cut("settle", async |stage, case, cutter| {
        let deliveries = case.claimed().await;
        let retry = verdicts(&deliveries, &Verdict::RetryIn(ms(0)));
        let answer = cutter
            .over(case.cut.settle(case.worker, &case.queue, retry.clone()))
            .await;
        only_unknown(&answer);
        case.holds(stage, Place::Scheduled, "after the cut").await;
        let again = eventually("the connection is back", async || {
            case.cut
                .settle(case.worker, &case.queue, retry.clone())
                .await
                .ok()
        })
        .await;
        assert_eq!(again.stale.len(), TASKS);
        case.holds(stage, Place::Scheduled, "after the repetition")
            .await;

        let again = eventually("they are due", async || {
            let claimed = case.claim().await;
            (!claimed.is_empty()).then_some(claimed)
        })
        .await;
        assert_eq!(again.len(), TASKS);
        for delivery in &again {
            assert_eq!(Envelope::decode(&delivery.bytes).unwrap().attempts, 1);
        }
        // A late repetition of the first answer changes nothing for the second run.
        let late = case
            .whole
            .settle(case.worker, &case.queue, retry)
            .await
            .unwrap();
        assert_eq!(late.stale.len(), TASKS);
        assert_eq!(case.held().await, TASKS);

        let done = Verdict::Done {
            outcome: Outcome::Done(Bytes::from_static(b"\xc0")),
            keep: None,
        };
        let done = verdicts(&again, &done);
        let answer = cutter
            .over(case.cut.settle(case.worker, &case.queue, done))
            .await;
        only_unknown(&answer);
        case.is_empty(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_renewal_that_is_cut_holds_the_lease() {
    each_cut("renew", async |stage, case, cutter| {
        case.claimed().await;
        let renewal = case.cut.renew(case.worker, &case.queue, secs(60));
        only_unknown(&cutter.over(renewal).await);
        let renewal = eventually("the connection is back", async || {
            case.cut
                .renew(case.worker, &case.queue, secs(60))
                .await
                .ok()
        })
        .await;
        assert!(matches!(renewal, Renewal::Held { .. }), "{renewal:?}");
        case.holds(stage, Place::Active, "after the repetition")
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_recovery_that_is_cut_and_repeated_counts_one_loss() {
    each_cut("recover", async |stage, case, cutter| {
        case.claimed().await;
        // A renewal never shortens a lease; to register once more does. Over at once, and looked at without patience.
        case.whole
            .register(case.worker, &case.queue, ms(1))
            .await
            .unwrap();
        eventually("the lease has ended", async || {
            let claim = case
                .whole
                .claim(case.worker, &case.queue, all())
                .await
                .unwrap();
            matches!(claim, Claim::NoLease).then_some(())
        })
        .await;
        case.whole.recover(&case.queue, ms(0)).await.unwrap();
        only_unknown(&cutter.over(case.cut.recover(&case.queue, ms(0))).await);
        eventually("all is taken back", async || {
            let recovered = case.cut.recover(&case.queue, ms(0)).await.ok()?;
            (!recovered.more).then_some(())
        })
        .await;
        case.holds(stage, Place::Ready, "after the recovery").await;

        let next = WorkerId::random();
        case.whole
            .register(next, &case.queue, secs(60))
            .await
            .unwrap();
        let claim = case.whole.claim(next, &case.queue, all()).await.unwrap();
        for delivery in granted(claim) {
            assert_eq!(delivery.losses, 1, "{delivery:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancellation_that_is_cut_and_repeated_is_one() {
    each_cut("cancel", async |stage, case, cutter| {
        case.whole
            .enqueue(&case.queue, case.tasks.clone())
            .await
            .unwrap();
        for id in case.ids() {
            only_unknown(&cutter.over(case.cut.cancel(&case.queue, id)).await);
            eventually("the connection is back", async || {
                case.cut.cancel(&case.queue, id).await.ok()
            })
            .await;
        }
        case.is_empty(stage).await;
        case.registered().await;
        assert_eq!(case.claim().await, []);
        let audit = stage.audit_of(case.queue.as_str()).await;
        assert!(audit.at_rest().is_ok(), "{audit:?}");
    })
    .await;
}
