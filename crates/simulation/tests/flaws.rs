//! The checker sees what it is there to see: brokers that are broken on purpose are caught.

use lovage_simulation::flaw::Flaw;
use lovage_simulation::run::run;

/// Runs seeds until the broken broker is caught, for one of these reasons.
fn is_caught(flaw: Flaw, reasons: &[&str]) {
    const SEEDS: u64 = 200;
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        let Some(violation) = run(seed, flaw).violation else {
            continue;
        };
        let text = violation.to_string();
        if reasons.iter().any(|reason| text.contains(reason)) {
            return;
        }
        others.push(text);
    }
    panic!("{flaw:?} is not caught in {SEEDS} seeds; what was: {others:?}");
}

#[test]
fn a_broker_without_fences_is_caught() {
    is_caught(
        Flaw::NoFence,
        &["was settled while its body runs", "no body has succeeded"],
    );
}

#[test]
fn a_broker_that_gives_short_leases_is_caught() {
    is_caught(Flaw::ShortLeases, &["whose lease lasts until"]);
}

#[test]
fn a_broker_that_loses_tasks_is_caught() {
    is_caught(Flaw::LosesTasks, &["it was accepted and has not ended"]);
}

#[test]
fn a_broker_that_loses_verdicts_is_caught() {
    is_caught(
        Flaw::LosesVerdicts,
        &["its body has succeeded, and its worker says something else"],
    );
}

#[test]
fn a_broker_that_loses_firings_is_caught() {
    is_caught(Flaw::LosesFirings, &["fired 0 times"]);
}

#[test]
fn a_broker_that_frees_keys_early_is_caught() {
    is_caught(Flaw::FreesKeysEarly, &["holds its key"]);
}

#[test]
fn a_broker_that_keeps_keys_is_caught() {
    is_caught(Flaw::KeepsKeys, &["holds its key: that is free"]);
}

#[test]
fn a_broker_that_keeps_the_old_arguments_is_caught() {
    is_caught(
        Flaw::KeepsOldArguments,
        &["begins as attempt, snoozes and message"],
    );
}

#[test]
fn a_broker_that_forgets_sends_is_caught() {
    is_caught(
        Flaw::ForgetsSends,
        &["stored a second time, while it lives or is remembered"],
    );
}

#[test]
fn a_broker_that_counts_snoozes_as_attempts_is_caught() {
    is_caught(
        Flaw::CountsSnoozes,
        &[
            "begins as attempt, snoozes and message",
            "losses and snoozes",
        ],
    );
}

#[test]
fn a_broker_that_retries_at_once_is_caught() {
    is_caught(Flaw::RetriesAtOnce, &["claimed before its time"]);
}

#[test]
fn a_broker_that_buries_nothing_is_caught() {
    is_caught(
        Flaw::BuriesNothing,
        &["Claim cannot happen to it, it is Dead"],
    );
}

#[test]
fn a_broker_whose_fences_fall_is_caught() {
    is_caught(Flaw::FallingFences, &["claimed by fence"]);
}

#[test]
fn a_broker_that_forgets_cancellations_is_caught() {
    is_caught(
        Flaw::ForgetsCancels,
        &["Claim cannot happen to it, it is Gone", "while it lives"],
    );
}

#[test]
fn a_broker_that_brings_back_what_may_run_at_most_once_is_caught() {
    is_caught(
        Flaw::BringsBackAtMostOnce,
        &["recovery has made it Ready, it should be Dead"],
    );
}

#[test]
fn a_broker_that_loses_callbacks_is_caught() {
    is_caught(
        Flaw::LosesCallbacks,
        &["deaths owe a callback", "nobody was called back"],
    );
}
