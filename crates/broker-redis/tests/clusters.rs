//! What only a cluster can do to a broker: slots that move and nodes that change their part.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as the tests themselves do"
)]

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lovage_broker_redis::{ConnectError, RedisBroker, RedisConfig};
use lovage_core::{
    Awaited, Broker, BrokerError, Claim, Delivery, Encoded, EnqueueError, Enqueued, Envelope,
    Inspect, Membership, Outcome, Partitioning, Partitions, QueueName, Results, Settlement, TaskId,
    TaskName, Verdict, WorkerId, mins, secs,
};
use lovage_test_redis::{Cluster, RedisServer};

/// No spurious failover, however busy the machine is.
const NODE_TIMEOUT: Duration = secs(15);
const LIMIT: Duration = secs(30);
const LEASE: Duration = mins(10);

fn mail() -> QueueName {
    QueueName::parse("mail").expect("it is a name")
}

fn task() -> Encoded {
    let name = TaskName::parse("send_receipt").expect("it is a name");
    let arguments = Bytes::from_static(b"\x80");
    let envelope = Envelope::new(TaskId::random(), name, mail(), arguments);
    envelope.encode().expect("it is small")
}

/// A cluster with a broker, and the slot of its queue with who has it and who might.
struct Scene {
    cluster: Cluster,
    broker: RedisBroker,
    slot: u16,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::start(NODE_TIMEOUT).await;
        let broker = RedisBroker::connect(&RedisConfig::new(cluster.url())).await;
        Self {
            slot: cluster.slot("{lovage:mail}").await,
            broker: broker.expect("the nodes answer"),
            cluster,
        }
    }

    /// A primary that does not have the slot.
    async fn other(&self) -> &RedisServer {
        let owner = self.cluster.owner(self.slot).await.port();
        let mut primaries = self.cluster.nodes()[..3].iter();
        let other = primaries.find(|node| node.port() != owner);
        other.expect("there are three")
    }

    async fn send(&self) -> Result<Vec<Enqueued>, EnqueueError> {
        self.broker.enqueue(&mail(), vec![task()]).await
    }

    async fn claim(&self, worker: WorkerId) -> Vec<Delivery> {
        let max = NonZeroU16::MIN;
        match self.broker.claim(worker, &mail(), max).await {
            Ok(Claim::Granted(batch)) => batch.deliveries,
            other => panic!("{other:?}"),
        }
    }

    async fn finish(&self, worker: WorkerId, delivery: &Delivery) -> Result<(), BrokerError> {
        let verdict = Verdict::Done {
            outcome: Outcome::Done(Bytes::new()),
            keep: None,
        };
        let (id, fence) = (delivery.id, delivery.fence);
        let settlement = Settlement { id, fence, verdict };
        let settled = self
            .broker
            .settle(worker, &mail(), vec![settlement])
            .await?;
        assert_eq!(settled.stale, []);
        Ok(())
    }

    /// The keys that the primaries hold.
    async fn keys(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for node in self.cluster.nodes() {
            if node.is_primary().await {
                for key in node.cli::<Vec<String>>(&["KEYS", "*"]).await.unwrap() {
                    assert!(all.insert(key.clone()), "{key} is there twice");
                }
            }
        }
        all
    }
}

#[tokio::test]
async fn a_call_is_made_whole_or_not_at_all_while_its_slot_moves() {
    let scene = Scene::new().await;
    let worker = WorkerId::random();
    scene.broker.register(worker, &mail(), LEASE).await.unwrap();
    for _ in 0..3 {
        scene.send().await.unwrap();
    }
    let held = scene.claim(worker).await;
    let before = scene.keys().await;

    let moving = scene
        .cluster
        .begin_move(scene.slot, scene.other().await)
        .await;
    loop {
        let sent = scene.send().await;
        assert!(matches!(sent, Err(EnqueueError::Refused(_))), "{sent:?}");
        let finished = scene.finish(worker, &held[0]).await;
        assert!(
            matches!(finished, Err(BrokerError::Refused(_))),
            "{finished:?}"
        );
        assert_eq!(scene.keys().await, before);
        if !moving.keys(1).await {
            break;
        }
    }
    moving.finish().await;
    let counts = scene.broker.counts(&mail()).await.unwrap();
    assert_eq!((counts.ready, counts.active), (2, 1));
    scene.finish(worker, &held[0]).await.unwrap();
    assert_eq!(scene.send().await.unwrap(), [Enqueued::New]);
    assert_eq!(scene.claim(worker).await.len(), 1);
}

#[tokio::test]
async fn a_call_finds_a_slot_that_has_moved_without_an_error() {
    let scene = Scene::new().await;
    for _ in 0..4 {
        scene.send().await.unwrap();
        let moving = scene
            .cluster
            .begin_move(scene.slot, scene.other().await)
            .await;
        moving.finish().await;
        scene.send().await.unwrap();
    }
    scene.cluster.fail_over(scene.slot).await;
    scene.send().await.unwrap();
}

#[tokio::test]
async fn a_bell_is_heard_where_its_slot_has_moved() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        let broker = scene.broker.clone();
        let waiting = tokio::spawn(async move { broker.wait(&mail(), 2 * LIMIT).await });
        // It listens at the old place before the slot moves.
        let owner = scene.cluster.owner(scene.slot).await;
        while owner.info("clients").await["blocked_clients"] == "0" {
            tokio::task::yield_now().await;
        }
        let moving = scene
            .cluster
            .begin_move(scene.slot, scene.other().await)
            .await;
        moving.finish().await;
        scene.send().await.unwrap();
        let rung = tokio::time::timeout(LIMIT, waiting).await;
        rung.expect("it rings").unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_outcome_is_told_to_whoever_waits_at_whichever_node() {
    let scene = Scene::new().await;
    let worker = WorkerId::random();
    scene.broker.register(worker, &mail(), LEASE).await.unwrap();
    for _ in 0..6 {
        scene.send().await.unwrap();
        let held = scene.claim(worker).await;
        // Each handle has a subscription of its own, at some node.
        let config = RedisConfig::new(scene.cluster.url());
        let other = RedisBroker::connect(&config).await.unwrap();
        let id = held[0].id;
        let waiting = tokio::spawn(async move { other.outcome(&mail(), id, LIMIT).await });
        while scene
            .keys()
            .await
            .iter()
            .all(|key| !key.ends_with("waiting"))
        {
            tokio::task::yield_now().await;
        }
        scene.finish(worker, &held[0]).await.unwrap();
        let told = waiting.await.unwrap().unwrap();
        assert!(matches!(told, Awaited::Outcome(_)), "{told:?}");
    }
}

#[tokio::test]
async fn the_user_and_password_of_the_url_are_for_all_nodes() {
    let cluster = Cluster::start(NODE_TIMEOUT).await;
    for node in cluster.nodes() {
        for setting in ["masterauth", "requirepass"] {
            let protect = ["CONFIG", "SET", setting, "secret"];
            node.cli::<()>(&protect).await.unwrap();
        }
    }
    let refused = RedisBroker::connect(&RedisConfig::new(cluster.url())).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(
        matches!(refused, ConnectError::Misconfigured(_)),
        "{refused}"
    );
    let url = cluster.url().replace("://", "://:secret@");
    let broker = RedisBroker::connect(&RedisConfig::new(url)).await.unwrap();
    // Twenty queues have slots at all nodes, for all that matters.
    for number in 0..20 {
        let queue = QueueName::parse(&format!("mail-{number}")).unwrap();
        broker.enqueue(&queue, vec![task()]).await.unwrap();
    }
}

/// One queue, whose tasks more than one node has.
#[tokio::test]
async fn the_partitions_of_a_queue_are_on_several_nodes() {
    let Scene {
        cluster, broker, ..
    } = Scene::new().await;
    let partitions = Partitions::new(8).unwrap();
    broker.partition(&mail(), partitions).await.unwrap();
    let mut owners = BTreeSet::new();
    for number in 1..8 {
        let slot = cluster.slot(&format!("{{lovage:mail#{number}}}")).await;
        owners.insert(cluster.owner(slot).await.port());
    }
    assert!(1 < owners.len(), "{owners:?}");

    let worker = WorkerId::random();
    broker.register(worker, &mail(), LEASE).await.unwrap();
    let sender = RedisBroker::connect(&RedisConfig::new(cluster.url())).await;
    let tasks: Vec<Encoded> = (0..100).map(|_| task()).collect();
    let sent: BTreeSet<TaskId> = tasks.iter().map(Encoded::id).collect();
    let answers = sender.unwrap().enqueue(&mail(), tasks).await.unwrap();
    assert_eq!(answers, [Enqueued::New; 100]);
    broker.wait(&mail(), LIMIT).await.unwrap();
    let max = NonZeroU16::new(200).unwrap();
    let Claim::Granted(batch) = broker.claim(worker, &mail(), max).await.unwrap() else {
        panic!("the lease is good");
    };
    let claimed: BTreeSet<TaskId> = batch.deliveries.iter().map(|one| one.id).collect();
    assert_eq!((claimed, batch.held), (sent, 100));
    assert_eq!(broker.counts(&mail()).await.unwrap().active, 100);
}
