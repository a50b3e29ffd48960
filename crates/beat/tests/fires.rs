//! Beats on the memory broker with a clock that the test moves: each occurrence becomes one task.

mod stage;

use lovage_beat::{Schedule, task_id};
use lovage_core::{ms, secs};
use stage::{Stage, entry};

#[tokio::test]
async fn an_occurrence_becomes_one_task_with_its_own_id() {
    let stage = Stage::new();
    let schedule = Schedule::every(secs(1)).unwrap();
    stage.add(entry("tick", schedule)).await;
    let beat = stage.beat().await;
    stage.settle(&beat).await;
    let start = stage.now();
    for _ in 0..20 {
        stage.advance(ms(250));
        stage.settle(&beat).await;
    }
    let fired = stage.taken("mail").await;
    let expected: Vec<_> = (1..=5)
        .map(|n| task_id(&stage::name("tick"), start.plus(secs(n))))
        .collect();
    assert_eq!(fired, expected);
    assert_eq!(beat.stats().fired, 5);
    beat.shutdown().await;
}
