//! The laws of a broker, on Redis, where every queue has four partitions and each task is in another one than the one
//! before it. What holds within a partition only is named here, and runs with all its tasks in one.

use std::sync::atomic::{AtomicU8, Ordering};

use lovage_broker_redis::{RedisBroker, RedisConfig};
use lovage_conformance::{Harness, QUEUES, TAIL};
use lovage_core::{Clock, Partitioned, Partitioning, Partitions, TaskId};
use lovage_test_redis::RedisServer;

/// Laws of the order in which tasks come, or of their priorities: between partitions there is none.
const ORDER: [&str; 31] = [
    "a_loss_without_a_report_is_recorded_all_the_same",
    "every_loss_is_recorded",
    "the_ledger_of_losses_is_bounded",
    "a_callback_is_owed_whoever_buries_the_task",
    "callbacks_are_shown_those_first_that_have_waited_longest",
    "a_dead_letter_can_be_revived_with_another_envelope",
    "dead_letters_are_cut_at_their_age_by_recovery",
    "dead_letters_of_an_age_are_purged_and_no_others",
    "many_dead_letters_are_revived_in_one_call",
    "many_large_dead_letters_are_revived_in_one_call",
    "more_old_dead_letters_than_a_call_takes_are_purged_by_several",
    "a_batch_that_was_stored_in_part_is_completed",
    "a_claim_takes_no_more_than_it_asks_for",
    "a_due_task_overtakes_lower_priorities_only",
    "a_full_batch_is_accepted_in_its_order",
    "a_released_task_comes_first_and_counts_no_attempt",
    "a_start_that_has_passed_is_at_once",
    "a_renewal_names_the_cancelled_tasks_that_are_held",
    "an_id_sent_again_after_a_cancellation_is_a_new_task",
    "concurrent_forwards_store_each_task_once",
    "dead_letters_come_oldest_first_in_pages",
    "due_tasks_come_behind_what_is_ready",
    "forwarding_twice_stores_once",
    "higher_priorities_are_claimed_first_on_all_ten_levels",
    "many_waits_on_one_handle_each_get_their_own_outcome",
    "only_a_scheduled_task_can_be_given_another_time",
    "recovered_tasks_come_first_in_the_order_of_their_claims",
    "released_tasks_keep_the_order_they_are_given_in",
    "the_oldest_task_is_claimed_first",
    "thousands_of_cancelled_tasks_hide_nothing",
    "what_was_sent_arrives_once_and_in_its_order",
];
/// Laws of the bound, of which each partition has a share, and which refuses what goes to one of them as a whole.
const BOUND: [&str; 3] = [
    "a_full_queue_refuses_a_forward_whole_and_it_can_be_done_again",
    "a_full_queue_refuses_the_whole_batch",
    "tasks_count_towards_the_bound_wherever_they_are",
];
/// Laws of numbers that each partition counts by itself: fences, and the work of one call.
const NUMBERS: [&str; 3] = [
    "a_fence_only_grows",
    "a_large_recovery_takes_several_calls",
    "fences_grow_with_every_claim",
];

/// Laws of how many dead letters are kept, exactly: of what is limited each partition has a share. Their queues are not
/// divided.
const RETENTION: [&str; 8] = [
    "retention_keeps_a_letter_until_it_was_called_back_for",
    "a_batch_beyond_the_retention_is_cut_in_its_own_call",
    "a_queue_keeps_all_its_dead_letters_unless_told_otherwise",
    "a_retention_can_be_taken_away",
    "dead_letters_are_cut_down_to_their_bytes",
    "recovery_cuts_a_bounded_number_a_call",
    "retention_cuts_only_what_it_counts",
    "whatever_leaves_the_dead_is_counted_no_more",
];

/// A server for each law.
#[derive(Default)]
struct PartitionedHarness {
    server: Option<RedisServer>,
    in_one: bool,
    undivided: bool,
    tasks: AtomicU8,
}

impl Harness for PartitionedHarness {
    type Broker = RedisBroker;

    async fn start(&mut self, clock: Clock) -> RedisBroker {
        let server = RedisServer::start().await;
        let config = RedisConfig::new(server.url()).clock(clock);
        self.server = Some(server);
        // By another handle than the one under test, which learns of it by itself.
        let divider = RedisBroker::connect(&config)
            .await
            .expect("the server answers");
        let queues = QUEUES.iter().filter(|_| !self.undivided);
        for queue in queues {
            let queue = queue.parse().expect("it is a name");
            let answer = divider.partition(&queue, self.partitions()).await;
            assert_eq!(answer.expect("it is answered"), Partitioned::Done);
        }
        RedisBroker::connect(&config)
            .await
            .expect("the server answers")
    }

    fn partitions(&self) -> Partitions {
        Partitions::new(4).expect("it is one to 64")
    }

    fn of_law(mut self, law: &str) -> Self {
        self.undivided = RETENTION.contains(&law);
        self.in_one = [&ORDER[..], &BOUND, &NUMBERS].concat().contains(&law);
        self
    }

    fn id(&self) -> TaskId {
        let partition = if self.in_one {
            u8::try_from(TAIL).expect("it is one of four")
        } else {
            // Not in the order in which they are asked.
            self.tasks.fetch_sub(1, Ordering::Relaxed)
        };
        self.partitions().id_in(partition, TaskId::random())
    }
}

lovage_conformance::suite!(PartitionedHarness::default());
