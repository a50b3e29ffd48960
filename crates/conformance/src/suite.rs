//! The list of all laws, and the macro that makes a test of each.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Makes one test of each law for the broker that `$harness` makes, in a module a verb.
///
/// ```text
/// lovage_conformance::suite!(MemoryHarness);
/// ```
///
/// As an expression, `suite!(all: MemoryHarness)` is a future in which all laws are held, one after the other: for a
/// harness whose start takes long.
#[macro_export]
macro_rules! suite {
    ($harness:expr) => {
        $crate::suite!($harness, each_law);
    };
    (all: $harness:expr) => {
        $crate::suite!($harness, all_laws)
    };
    ($harness:expr, $make:ident) => {
        $crate::$make! { $harness;
            amend {
                a_schedule_is_changed_only_as_it_was_read
                a_version_never_comes_twice
                a_change_made_again_is_a_conflict
                a_change_of_a_leader_names_its_epoch
                a_leader_changes_schedules_until_another_epoch_begins
                a_deposed_leader_changes_nothing
                an_amendment_is_made_whole_or_not_at_all
                one_conflict_does_not_hinder_the_others
                amendments_are_made_in_their_order
                no_amendments_are_nothing
                more_amendments_than_a_batch_are_refused_whole
                more_tasks_than_a_batch_are_refused_whole
                a_full_outbox_refuses_only_its_own_queue
                a_removed_schedule_loses_its_history_and_its_tasks_go_on
                a_schedule_may_be_removed_with_its_last_task
                an_amendment_touches_no_queue
            }
            callbacks {
                a_buried_task_owes_its_callback_until_it_was_called_back
                only_a_task_that_names_a_callback_and_has_died_owes_one
                of_what_was_shown_only_what_was_called_back_is_owed_no_more
                what_one_was_shown_is_shown_to_others_after_a_while
                a_callback_is_owed_whoever_buries_the_task
                a_task_that_was_revived_or_cancelled_owes_no_callback
                a_late_note_does_not_settle_another_death
                callbacks_are_shown_those_first_that_have_waited_longest
                retention_keeps_a_letter_until_it_was_called_back_for
            }
            cancel {
                a_cancelled_ready_task_is_never_claimed
                a_cancelled_scheduled_task_is_never_claimed
                a_cancelled_dead_letter_is_gone
                what_the_queue_does_not_hold_cannot_be_cancelled
                a_cancelled_active_task_may_still_be_done
                a_cancelled_active_task_does_not_run_again
                a_mark_ends_with_its_task
                an_id_sent_again_after_a_cancellation_is_a_new_task
                an_id_sent_again_at_another_priority_is_a_new_task
                thousands_of_cancelled_tasks_hide_nothing
                a_revived_task_starts_from_the_beginning
                a_revived_task_comes_last_in_its_level
                only_a_dead_letter_can_be_revived
                settling_a_cancelled_task_is_not_stale
            }
            claim {
                the_oldest_task_is_claimed_first
                a_claim_takes_no_more_than_it_asks_for
                a_full_batch_is_claimed_at_once_and_no_more
                a_claimed_task_is_active
                a_claim_by_an_unknown_identity_is_refused_and_moves_nothing
                a_claim_past_the_lease_is_refused_and_moves_nothing
                fences_grow_with_every_claim
                a_fence_only_grows
                a_delivery_brings_the_envelope_that_was_sent
                a_batch_says_how_much_the_worker_holds_and_when_it_was_claimed
                a_batch_says_how_long_until_the_next_task_is_due
                no_task_is_held_by_two_workers
                a_task_claimed_again_has_a_new_fence
            }
            checkup {
                whatever_verbs_have_done_is_in_order
            }
            dead_letters {
                a_dead_letter_is_found_by_its_id
                many_dead_letters_are_revived_in_one_call
                many_large_dead_letters_are_revived_in_one_call
                a_dead_letter_can_be_revived_with_another_envelope
                an_edit_of_an_earlier_death_changes_nothing
                an_edited_task_may_start_later
                an_edited_task_wakes_an_idle_worker
                a_purged_dead_letter_is_gone_and_its_id_is_free
                dead_letters_of_an_age_are_purged_and_no_others
                more_old_dead_letters_than_a_call_takes_are_purged_by_several
                a_queue_keeps_all_its_dead_letters_unless_told_otherwise
                retention_cuts_only_what_it_counts
                a_batch_beyond_the_retention_is_cut_in_its_own_call
                dead_letters_are_cut_at_their_age_by_recovery
                dead_letters_are_cut_where_no_worker_is_known_any_more
                dead_letters_are_cut_down_to_their_bytes
                recovery_cuts_a_bounded_number_a_call
                a_retention_can_be_taken_away
                lost_tasks_count_towards_the_bytes
                whatever_leaves_the_dead_is_counted_no_more
            }
            durable {
                a_confirmed_task_is_stored_as_any_other
                nothing_is_confirmed_of_a_batch_that_is_refused
                a_confirmed_send_of_a_living_id_is_a_duplicate
            }
            enqueue {
                an_accepted_task_is_ready
                answers_come_in_the_order_of_the_tasks
                resending_the_same_id_is_one_task
                resending_is_a_duplicate_wherever_the_task_is
                a_duplicate_changes_nothing_of_the_stored_task
                a_gone_id_is_free_again
                concurrent_sends_of_one_id_are_one_task
                an_empty_batch_is_nothing
                a_full_batch_is_accepted_in_its_order
                one_task_more_than_a_batch_is_refused_whole
                a_full_queue_refuses_the_whole_batch
                tasks_count_towards_the_bound_wherever_they_are
                resending_to_a_full_queue_is_a_duplicate
                a_bound_can_be_taken_away
                queues_do_not_see_each_other
            }
            forward {
                what_is_sent_waits_in_its_outbox_in_order
                each_queue_has_its_own_outbox
                numbers_grow_over_all_outboxes
                a_number_is_above_those_of_earlier_instants
                a_forwarded_task_is_ready_in_its_queue
                forwarding_twice_stores_once
                forwarding_again_after_the_task_is_gone_stores_nothing
                a_late_forward_of_an_old_batch_stores_nothing
                a_batch_that_was_stored_in_part_is_completed
                concurrent_forwards_store_each_task_once
                a_task_that_lives_already_is_known
                a_full_queue_refuses_a_forward_whole_and_it_can_be_done_again
                forwarded_tasks_start_at_their_time
                a_forwarded_task_wakes_an_idle_worker
                forwarded_takes_out_only_what_was_forwarded
                a_full_batch_is_forwarded_at_once_and_no_more
                what_was_sent_arrives_once_and_in_its_order
                each_queue_knows_its_own_numbers
            }
            inspect {
                counts_tell_how_many_tasks_are_in_each_place
                a_task_is_in_exactly_one_place
                dead_letters_come_oldest_first_in_pages
                scheduled_tasks_come_earliest_first_in_pages
                waiting_retries_are_among_the_scheduled_tasks
                a_rescheduled_task_is_listed_with_its_present_time
            }
            lead {
                one_beat_leads_at_a_time
                of_many_that_ask_at_once_one_leads
                a_leader_keeps_its_epoch_by_renewing
                a_lease_that_has_ended_is_for_the_first_who_asks
                a_lapsed_lease_is_kept_if_nobody_took_it
                a_new_leader_has_a_higher_epoch
                a_lease_lasts_as_long_as_was_asked_for
                a_resigned_lead_is_free_at_once
                nobody_resigns_for_another
                who_leads_can_be_asked
            }
            lease {
                a_renewed_lease_lasts_from_the_renewal_on
                a_renewed_lease_lasts_from_the_renewal_on_though_the_clock_was_set_back
                a_lapsed_lease_may_be_renewed_until_recovery
                an_identity_that_was_never_registered_is_lost
                a_recovered_identity_is_dead_for_good
                a_retired_identity_is_known_no_more
                an_identity_that_holds_tasks_does_not_retire
                a_lease_is_good_in_its_queue_alone
                a_renewal_names_the_cancelled_tasks_that_are_held
                a_renewal_names_at_most_a_hundred_tasks
                holdings_are_what_was_claimed_and_not_settled
                a_separate_handle_sees_the_same_data
            }
            once {
                an_idempotency_key_outlives_its_task
                sends_of_one_idempotency_key_are_one_task_whatever_keys_they_hold
                two_remembered_sends_whose_ids_share_twelve_bytes_are_two_tasks
                an_idempotency_key_is_remembered_for_its_span_only
                a_task_that_lives_longer_than_its_key_is_one_task
                a_cancelled_task_is_remembered
                concurrent_sends_under_one_idempotency_key_are_one_task
                one_call_under_one_idempotency_key_is_one_task
                a_full_batch_is_remembered_at_once
                a_refused_send_is_not_remembered
                a_queue_remembers_its_own_sends
                an_idempotent_send_that_met_a_held_key_gets_the_same_answer_again
            }
            partition {
                a_queue_is_divided_once_and_for_all
                a_queue_that_holds_tasks_is_not_divided
                a_queue_that_remembers_sends_is_not_divided
                a_queue_where_a_dead_letter_took_a_key_for_its_span_is_not_divided
                a_partitioned_queue_is_one_queue
                a_stale_partition_count_misplaces_nothing
                a_worker_of_before_a_division_serves_all_of_the_queue
                a_partitioned_queue_is_bounded_as_one
            }
            priorities {
                higher_priorities_are_claimed_first_on_all_ten_levels
                a_higher_priority_overtakes_what_waits_already
                a_task_keeps_its_priority_whatever_becomes_of_it
                a_due_task_overtakes_lower_priorities_only
            }
            recover {
                a_task_of_a_lost_worker_is_claimed_again
                a_live_lease_is_never_taken_from
                one_look_takes_nothing_however_late
                looks_less_than_the_patience_apart_take_nothing
                a_stall_of_the_broker_evicts_nobody
                a_renewal_between_the_looks_starts_them_over
                recovered_tasks_come_first_in_the_order_of_their_claims
                a_poison_task_is_buried_after_three_losses
                losses_and_attempts_are_counted_apart
                an_at_most_once_task_never_starts_twice
                a_cancelled_task_of_a_lost_worker_is_gone
                every_lost_worker_is_taken_from
                a_clock_that_was_set_back_strands_no_lost_worker
                a_clock_that_was_set_back_between_the_looks_starts_them_over
                a_clock_that_was_set_back_keeps_no_worker_from_its_turn
                a_large_recovery_takes_several_calls
                recovery_of_an_empty_queue_does_nothing
                concurrent_recoveries_count_each_loss_once
            }
            replace {
                a_replaced_task_keeps_its_id_and_place_and_has_the_new_arguments
                a_replaced_task_moves_to_where_the_new_one_belongs
                a_running_task_is_not_replaced
                a_replaced_retry_begins_anew
                a_dead_letter_is_not_replaced
                the_last_of_one_call_replaces_those_before_it
                replacing_takes_no_room
                a_debounced_task_starts_its_span_after_the_last_send
                a_debounced_task_starts_after_its_longest_wait
                a_throttled_key_lets_one_in_a_span
                a_throttled_task_cancelled_before_a_worker_took_it_does_not_count
            }
            reports {
                a_report_is_shown_beside_its_worker
                workers_come_in_pages
                a_report_ends_with_its_identity
                a_report_has_a_limit
                every_loss_is_recorded
                a_loss_without_a_report_is_recorded_all_the_same
                a_task_that_is_lost_again_is_recorded_again
                the_ledger_of_losses_is_bounded
            }
            reschedule {
                a_task_can_be_due_earlier_or_later
                the_last_change_of_a_time_counts
                a_time_that_has_passed_is_at_once
                a_time_in_a_far_century_is_at_most_the_last
                a_time_is_kept_to_the_millisecond
                only_a_scheduled_task_can_be_given_another_time
                a_task_of_another_queue_is_left_as_it_is
                a_waiting_retry_can_be_given_another_time
                the_envelope_keeps_the_start_it_was_sent_with
                a_task_with_another_time_is_the_same_task
                an_earlier_time_ends_a_workers_wait
            }
            results {
                a_kept_outcome_is_there_afterwards
                an_outcome_wakes_whoever_waits
                an_outcome_that_is_not_kept_still_reaches_whoever_waits
                an_unknown_task_has_no_outcome
                a_task_that_has_not_ended_has_no_outcome_yet
                an_outcome_is_kept_for_its_span_only
                many_waits_on_one_handle_each_get_their_own_outcome
                several_may_wait_for_one_task
                a_wait_given_up_does_not_hinder_the_next
                cancelling_wakes_whoever_waits
                a_marked_task_wakes_whoever_waits_once_it_ends
                a_dead_letter_answers_with_its_reason_while_it_is_dead
                a_revived_task_has_no_outcome_of_its_former_life
                an_id_sent_again_has_no_outcome_of_its_former_life
                losing_its_workers_wakes_whoever_waits
                an_expired_task_answers_so
            }
            schedules {
                a_schedule_is_kept_as_it_was_stored
                a_schedule_of_another_name_is_not_found
                looks_tell_their_instant
                schedules_come_by_name_in_pages
                history_is_bounded_and_newest_first
                of_a_history_no_more_is_answered_than_asked_for
                each_schedule_has_its_own_history
                a_change_without_firings_keeps_the_history
            }
            settle {
                a_done_task_is_gone
                a_retry_waits_its_span_and_counts_an_attempt
                a_released_task_comes_first_and_counts_no_attempt
                released_tasks_keep_the_order_they_are_given_in
                a_parked_task_remembers_since_when_and_how_often
                a_buried_task_is_kept_with_its_reason
                a_stale_worker_cannot_settle
                a_fence_of_an_earlier_claim_is_stale
                a_fence_with_another_instant_is_stale
                another_workers_task_cannot_be_settled
                a_second_verdict_on_one_delivery_is_stale
                a_stale_verdict_does_not_hinder_the_others_of_its_call
                each_task_of_a_call_gets_its_own_verdict
                a_verdict_past_the_lease_counts_until_recovery
                a_full_batch_is_settled_at_once
                settling_nothing_leaves_everything_held
            }
            snooze {
                snoozing_counts_no_attempt
                attempts_losses_parks_and_snoozes_are_counted_apart
                a_snoozed_task_wakes_an_idle_worker_in_time
                a_cancelled_task_does_not_snooze
                a_snooze_may_lead_past_the_expiry
                an_at_most_once_task_may_be_snoozed
                a_late_snooze_changes_nothing
                a_revived_task_has_no_snoozes
            }
            tick {
                a_leader_of_nothing_reads_nothing
                a_schedule_is_due_at_its_wake_and_not_before
                due_schedules_come_earliest_first_and_no_more_than_asked_for
                schedules_that_are_due_at_once_come_by_name
                a_look_changes_nothing
                the_next_wake_is_told
                a_schedule_without_a_wake_is_never_due
                a_removed_schedule_is_never_due
                a_wake_in_a_far_century_waits_and_harms_nothing
                queues_with_something_to_forward_are_named
                a_thousand_due_schedules_are_read_in_one_look
            }
            time {
                nothing_starts_before_its_time
                a_countdown_begins_when_the_task_is_accepted
                a_start_that_has_passed_is_at_once
                due_tasks_are_claimed_in_the_order_of_their_times
                due_tasks_come_behind_what_is_ready
                three_thousand_tasks_due_at_once_are_all_claimed
                what_is_due_beyond_one_claims_work_is_due_at_once
                a_start_in_a_far_century_waits_and_harms_nothing
                a_retry_may_wait_for_longer_than_a_lease
            }
            turn {
                a_turn_comes_when_told_at_the_latest
                an_earlier_wake_wakes_the_leader
                a_change_while_something_is_due_wakes_the_leader
                a_schedule_that_is_due_at_once_wakes_the_leader
                something_to_forward_wakes_the_leader
                a_turn_before_the_wait_is_not_missed
                a_resigned_lead_wakes_one_who_stands_by
                a_dropped_turn_is_passed_on
                a_turn_is_for_its_role
            }
            unique {
                a_unique_key_has_one_live_task
                a_task_that_is_not_stored_leaves_no_trace
                a_unique_task_sent_again_by_its_id_is_a_duplicate
                keys_do_not_hinder_each_other
                one_call_gives_a_key_to_its_first_task
                concurrent_sends_of_one_key_are_one_task
                every_end_frees_the_key
                a_cancelled_task_frees_its_key
                a_lost_worker_leaves_no_key_behind
                a_stale_verdict_frees_no_key
                a_dead_letter_takes_its_key_again_when_it_is_revived
                a_dead_letter_holds_the_key_of_its_new_envelope
                an_edited_dead_letter_holds_its_key_from_its_start_on
                a_cancelled_dead_letter_frees_nobodys_key
                a_key_until_the_start_is_free_once_a_worker_has_the_task
                a_key_with_an_end_is_free_after_it
                a_key_without_an_end_is_held_however_long_its_task_lives
                a_refused_send_holds_no_key
                a_forwarded_task_holds_its_key
            }
            wait {
                a_wait_ends_when_told_at_the_latest
                a_task_that_arrives_wakes_an_idle_worker
                a_ring_before_the_wait_is_not_missed
                one_batch_wakes_as_many_workers_as_it_has_tasks
                a_released_task_wakes_an_idle_worker
                a_recovered_task_wakes_an_idle_worker
                a_revived_task_wakes_an_idle_worker
                a_nearer_due_time_ends_a_wait
                a_retry_that_is_due_first_ends_a_wait
                a_dropped_wait_does_not_swallow_a_ring
                a_worker_that_waits_as_told_meets_the_due_task
            }
        }
    };
}

/// One test a law; [`suite!`] has the list.
#[doc(hidden)]
#[macro_export]
macro_rules! each_law {
    ($harness:expr; $($verb:ident { $($law:ident)* })*) => {
        $(
            mod $verb {
                use super::*;

                $(
                    #[::tokio::test]
                    async fn $law() {
                        let harness = $crate::Harness::of_law($harness, stringify!($law));
                        $crate::laws::$verb::$law(harness).await;
                    }
                )*
            }
        )*
    };
}

/// One future for all laws; [`suite!`] has the list.
#[doc(hidden)]
#[macro_export]
macro_rules! all_laws {
    ($harness:expr; $($verb:ident { $($law:ident)* })*) => {
        $crate::hold(vec![
            $($((
                concat!(stringify!($verb), "::", stringify!($law)),
                $crate::law(|| $crate::laws::$verb::$law($harness)),
            ),)*)*
        ])
    };
}

/// A law, to be held.
#[doc(hidden)]
pub type Law<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A law, put into its box in a frame of its own: side by side in one they are more than a stack holds.
#[doc(hidden)]
pub fn law<'a, F: Future<Output = ()> + 'a>(make: impl FnOnce() -> F + 'a) -> Law<'a> {
    Box::pin(async move { make().await })
}

/// Holds all laws, also those behind one that is broken.
///
/// # Panics
/// With the names of all that are broken.
#[doc(hidden)]
pub async fn hold(laws: Vec<(&str, Law<'_>)>) {
    let mut broken = Vec::new();
    for (name, mut law) in laws {
        let held = poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| law.as_mut().poll(context)));
            match polled {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(true),
                Err(_) => Poll::Ready(false),
            }
        });
        if !held.await {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "broken: {broken:?}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_law_is_in_the_suite() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let list = std::fs::read_to_string(root.join("suite.rs")).unwrap();
        for file in std::fs::read_dir(root.join("laws")).unwrap() {
            let path = file.unwrap().path();
            let verb = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let (_, rest) = list.split_once(&format!("{verb} {{\n")).unwrap();
            let (listed, _) = rest.split_once('}').unwrap();
            let listed: Vec<&str> = listed.split_whitespace().collect();
            let laws = text.lines().filter_map(|line| {
                let (name, _) = line.strip_prefix("pub async fn ")?.split_once('(')?;
                Some(name)
            });
            assert_eq!(laws.collect::<Vec<_>>(), listed, "{verb}");
        }
    }
}
