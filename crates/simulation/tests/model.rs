//! All orders of events of the lease protocol, for two tasks of one key and two workers: what holds with all rules, what
//! goes wrong without each, and that the broker which is simulated makes each of its steps as the model does.

#[path = "model/broker.rs"]
mod broker;
#[path = "model/chances.rs"]
mod chances;
#[path = "model/moves.rs"]
mod moves;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/search.rs"]
mod search;

use broker::Steps;
use protocol::{Faults, Rule, Rules};
use search::{Found, search, search_and_see};

const NO_FAULTS: Faults = Faults {
    crashes: 0,
    freezes: 0,
    lapses: 0,
    cancels: 0,
    rewinds: 0,
    claims: 3,
    failures: 0,
    sends: 0,
    revives: 0,
};

/// All rules, and so much that may go wrong; messages may always be late and lost.
const fn all_rules(faults: Faults) -> Rules {
    Rules {
        without: None,
        losses: 0,
        faults,
    }
}

/// What holds in every state, with the simulated broker making each step as well.
#[track_caller]
#[expect(clippy::print_stdout, reason = "how much was searched is to be seen")]
fn is_good(rules: &Rules) {
    let mut steps = Steps::default();
    let found = search_and_see(rules, |state, action, way| steps.see(state, action, way));
    match found {
        // Fewer would mean that hardly anything can happen in the model.
        Found::Good(states) => {
            println!("{states} states");
            assert!(1_000 < states, "only {states} states");
        }
        Found::Bad(text, way) => panic!("{text}: {way:?}"),
        Found::Stuck(way) => panic!("no way leads out: {way:?}"),
    }
    if rules.faults.rewinds == 0 {
        let made = steps.make(rules);
        println!("{made} steps of the broker");
    }
}

#[track_caller]
fn goes_wrong(rules: &Rules, expected: &str) {
    match search(rules) {
        Found::Bad(text, _) if text == expected => {}
        found => panic!("{found:?}"),
    }
}

#[track_caller]
fn strands(rules: &Rules) {
    let found = search(rules);
    assert!(matches!(found, Found::Stuck(_)), "{found:?}");
}

#[test]
fn a_crash_strands_nothing_and_lets_no_run_begin_under_a_live_lease() {
    is_good(&all_rules(Faults {
        crashes: 1,
        claims: 2,
        ..NO_FAULTS
    }));
}

#[test]
fn a_freeze_strands_nothing_and_lets_no_run_begin_under_a_live_lease() {
    is_good(&all_rules(Faults {
        freezes: 1,
        claims: 2,
        ..NO_FAULTS
    }));
}

#[test]
fn a_slow_worker_strands_nothing_and_lets_no_run_begin_under_a_live_lease() {
    is_good(&all_rules(Faults {
        lapses: 1,
        claims: 2,
        ..NO_FAULTS
    }));
}

#[test]
fn a_task_that_is_cancelled_or_fails_while_its_worker_is_slow_ends_once() {
    is_good(&all_rules(Faults {
        lapses: 1,
        cancels: 1,
        failures: 1,
        claims: 2,
        ..NO_FAULTS
    }));
}

#[test]
fn the_third_loss_buries_a_task_and_each_counts_once() {
    is_good(&Rules {
        losses: 2,
        ..all_rules(Faults {
            crashes: 1,
            lapses: 1,
            claims: 1,
            ..NO_FAULTS
        })
    });
}

#[test]
fn a_broker_that_forgets_strands_nothing() {
    is_good(&all_rules(Faults {
        rewinds: 1,
        claims: 1,
        ..NO_FAULTS
    }));
}

#[test]
fn a_key_has_one_live_task_though_its_worker_is_slow_and_answers_late() {
    is_good(&all_rules(Faults {
        lapses: 1,
        sends: 1,
        claims: 2,
        ..NO_FAULTS
    }));
}

#[test]
fn a_key_has_one_live_task_though_its_worker_crashes_and_it_is_buried_and_revived() {
    is_good(&Rules {
        losses: 2,
        ..all_rules(Faults {
            crashes: 1,
            sends: 1,
            revives: 1,
            claims: 1,
            ..NO_FAULTS
        })
    });
}

#[test]
fn a_key_has_one_live_task_though_that_is_cancelled_and_sent_again() {
    is_good(&all_rules(Faults {
        cancels: 1,
        sends: 2,
        claims: 2,
        failures: 1,
        ..NO_FAULTS
    }));
}

#[test]
fn with_a_key_that_is_freed_too_early_two_tasks_of_it_live() {
    let rules = Rules {
        without: Some(Rule::KeysLast),
        ..all_rules(Faults {
            sends: 1,
            ..NO_FAULTS
        })
    };
    goes_wrong(&rules, "two tasks of one key live");
}

#[test]
fn with_a_key_that_is_not_freed_a_key_outlives_its_task() {
    let rules = Rules {
        without: Some(Rule::KeysEnd),
        ..all_rules(NO_FAULTS)
    };
    goes_wrong(&rules, "a key has outlived its task");
}

#[test]
fn without_the_fence_a_late_release_frees_a_running_task() {
    let rules = Rules {
        without: Some(Rule::Fences),
        ..all_rules(NO_FAULTS)
    };
    goes_wrong(&rules, "a verdict frees a task that runs");
}

#[test]
fn with_a_number_alone_for_a_fence_a_verdict_from_before_a_failover_frees_a_running_task() {
    let rules = Rules {
        without: Some(Rule::FencesAreUnique),
        ..all_rules(Faults {
            rewinds: 1,
            ..NO_FAULTS
        })
    };
    goes_wrong(&rules, "a verdict frees a task that runs");
}

#[test]
fn with_claims_by_dead_identities_a_task_is_stranded() {
    strands(&Rules {
        without: Some(Rule::ClaimsNeedALease),
        ..all_rules(Faults {
            lapses: 1,
            claims: 1,
            ..NO_FAULTS
        })
    });
}

#[test]
fn without_the_comparison_a_task_whose_claim_was_never_answered_is_stranded() {
    strands(&Rules {
        without: Some(Rule::Comparison),
        ..all_rules(NO_FAULTS)
    });
}

#[test]
fn without_the_workers_own_deadline_a_thawed_worker_starts_what_another_runs() {
    let rules = Rules {
        without: Some(Rule::Deadline),
        ..all_rules(Faults {
            freezes: 1,
            claims: 2,
            ..NO_FAULTS
        })
    };
    goes_wrong(&rules, "a second run begins under a live lease");
}
