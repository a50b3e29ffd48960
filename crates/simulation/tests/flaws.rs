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
