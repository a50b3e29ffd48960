//! What becomes of occurrences, case by case.

use bytes::Bytes;
use lovage_core::{Envelope, QueueName, ScheduleName, TaskName, hours, mins};

use super::*;

/// A multiple of a day.
const T0: u64 = 1_728_000_000_000;

fn at(seconds: u64) -> Millis {
    Millis::new(T0 + 1000 * seconds)
}

fn entry(schedule: Schedule) -> Entry {
    let template = Envelope::new(
        TaskId::from_bytes([0; 16]),
        TaskName::parse("report").unwrap(),
        QueueName::parse("mail").unwrap(),
        Bytes::from_static(b"\x90"),
    );
    let name = ScheduleName::parse("report").unwrap();
    Entry::new(name, schedule, Origin::Runtime, template)
}

fn every(seconds: u64) -> Schedule {
    Schedule::every(secs(seconds)).unwrap()
}

fn begun(entry: &Entry) -> State {
    restate(entry, None, at(0)).state
}

/// Seconds behind the start.
fn seconds(instant: Millis) -> u64 {
    instant.since(at(0)).as_secs()
}

fn fired(plan: &Plan) -> Vec<u64> {
    plan.fire
        .iter()
        .map(|shot| seconds(shot.occurrence))
        .collect()
}

/// The skipped ranges with their count and reason.
fn skipped(plan: &Plan) -> Vec<(u64, u64, Option<u64>, Reason)> {
    let skips = plan.firings.iter().filter_map(|firing| match &firing.fate {
        Fate::Skipped(reason) => Some((
            seconds(firing.first),
            seconds(firing.last),
            firing.count,
            reason.clone(),
        )),
        _ => None,
    });
    skips.collect()
}

#[test]
fn what_is_due_is_fired_once_under_the_id_of_its_occurrence() {
    let entry = entry(every(10));
    let state = begun(&entry);
    assert_eq!(wake(&entry, &state, at(0)), Some(at(10)));
    let early = plan(&entry, &state, at(9), Previous::Ended, FIRE_MAX);
    assert_eq!((early.fire.len(), early.wake), (0, Some(at(10))));
    let first = plan(&entry, &state, at(10), Previous::Ended, FIRE_MAX);
    let id = occurrence::task_id(&entry.name, at(10));
    assert_eq!(
        first.fire,
        [Shot {
            occurrence: at(10),
            id
        }]
    );
    assert_eq!((first.state.runs, first.wake), (1, Some(at(20))));
    let again = plan(&entry, &first.state, at(10), Previous::Ended, FIRE_MAX);
    assert_eq!((again.fire.len(), again.state), (0, first.state));
}

#[test]
fn misfires_go_by_the_policy() {
    // Every ten seconds, and nobody looks for a minute, or for longer.
    for (policy, now, fires, skips) in [
        (Misfire::All, 60, vec![10, 20, 30, 40, 50, 60], vec![]),
        (
            Misfire::Once,
            60,
            vec![60],
            vec![(10, 50, Some(5), Reason::Coalesced)],
        ),
        (Misfire::Once, 15, vec![10], vec![]),
        (
            Misfire::Skip,
            65,
            vec![60],
            vec![(10, 50, Some(5), Reason::Missed)],
        ),
        (
            Misfire::Skip,
            20,
            vec![20],
            vec![(10, 10, Some(1), Reason::Missed)],
        ),
        (
            Misfire::Within(secs(25)),
            60,
            vec![40, 50, 60],
            vec![(10, 30, Some(3), Reason::Missed)],
        ),
        (Misfire::Within(hours(1)), 30, vec![10, 20, 30], vec![]),
    ] {
        let entry = entry(every(10).misfire(policy));
        let plan = plan(&entry, &begun(&entry), at(now), Previous::Ended, FIRE_MAX);
        assert_eq!(fired(&plan), fires, "{policy} at {now}");
        assert_eq!(skipped(&plan), skips, "{policy} at {now}");
        assert_eq!(plan.wake, Some(at(now / 10 * 10 + 10)), "{policy} at {now}");
    }
    let minutely = entry(every(60).misfire(Misfire::Skip));
    let late = plan(
        &minutely,
        &begun(&minutely),
        at(75),
        Previous::Ended,
        FIRE_MAX,
    );
    assert_eq!(fired(&late), [0; 0]);
    assert_eq!(skipped(&late), [(60, 60, Some(1), Reason::Missed)]);
}

#[test]
fn a_week_of_misses_is_dealt_with_in_bounded_steps() {
    let week = 7 * 86_400;
    for policy in [Misfire::Once, Misfire::Skip] {
        let entry = entry(every(1).misfire(policy));
        let plan = plan(&entry, &begun(&entry), at(week), Previous::Ended, FIRE_MAX);
        assert_eq!(fired(&plan), [week], "{policy}");
        assert_eq!(skipped(&plan)[0].2, None, "{policy}: too many to count");
        assert_eq!(plan.wake, Some(at(week + 1)), "{policy}");
    }
    let recent = entry(every(1).misfire(Misfire::Within(secs(150))));
    let first = plan(
        &recent,
        &begun(&recent),
        at(week),
        Previous::Ended,
        FIRE_MAX,
    );
    assert_eq!(fired(&first), (week - 150..week - 50).collect::<Vec<_>>());
    assert!(first.wake.unwrap() <= at(week), "the rest is due at once");
    let rest = plan(&recent, &first.state, at(week), Previous::Ended, FIRE_MAX);
    assert_eq!(fired(&rest), (week - 50..=week).collect::<Vec<_>>());

    let all = entry(every(1).misfire(Misfire::All));
    let (mut state, mut fires) = (begun(&all), Vec::new());
    for _ in 0..4 {
        let plan = plan(&all, &state, at(350), Previous::Ended, FIRE_MAX);
        assert!(plan.fire.len() <= FIRE_MAX);
        fires.extend(fired(&plan));
        state = plan.state;
    }
    assert_eq!(fires, (1..=350).collect::<Vec<_>>());
}

#[test]
fn jitter_never_fires_early_never_overtakes_and_loses_nothing() {
    // More jitter than there is between two occurrences.
    for policy in [Misfire::Once, Misfire::All, Misfire::Skip] {
        let entry = entry(every(10).jitter(mins(1)).misfire(policy));
        let (mut state, mut fires, mut last) = (begun(&entry), Vec::new(), at(0));
        for _ in 0..500 {
            let now = wake(&entry, &state, at(0)).unwrap();
            assert!(last < now, "{policy}");
            last = now;
            let plan = plan(&entry, &state, now, Previous::Ended, FIRE_MAX);
            for shot in &plan.fire {
                let late = now.since(shot.occurrence);
                assert!(
                    shot.occurrence <= now && late <= secs(5),
                    "{policy}: {late:?}"
                );
            }
            fires.extend(fired(&plan));
            assert_eq!(skipped(&plan), [], "{policy}");
            state = plan.state;
        }
        assert_eq!(
            fires,
            (1..=500).map(|n| 10 * n).collect::<Vec<_>>(),
            "{policy}"
        );
    }
}

#[test]
fn overlaps_go_by_the_policy() {
    let live = TaskId::derived(b"before");
    let previous = Previous::Live(live);
    for (policy, fires, skips, waiting) in [
        (Overlap::Allow, vec![10], vec![], None),
        (
            Overlap::Skip,
            vec![],
            vec![(10, 10, Some(1), Reason::Overlapped { live })],
            None,
        ),
        (Overlap::Queue, vec![], vec![], Some(at(10))),
    ] {
        let entry = entry(every(10).overlap(policy));
        let plan = plan(&entry, &begun(&entry), at(10), previous, FIRE_MAX);
        assert_eq!(fired(&plan), fires, "{policy}");
        assert_eq!(skipped(&plan), skips, "{policy}");
        assert_eq!(plan.state.waiting, waiting, "{policy}");
    }
}

#[test]
fn one_occurrence_waits_for_the_end_of_the_run_and_no_more() {
    let entry = entry(every(10).overlap(Overlap::Queue));
    let first = plan(&entry, &begun(&entry), at(10), Previous::Ended, FIRE_MAX);
    let live = first.fire[0].id;
    let waits = plan(&entry, &first.state, at(20), Previous::Live(live), FIRE_MAX);
    assert_eq!((waits.fire.len(), waits.state.waiting), (0, Some(at(20))));
    assert_eq!(waits.firings[0].fate, Fate::Waits { live });
    assert_eq!(
        waits.wake,
        Some(Millis::new(T0 + 22_500)),
        "a quarter of its age"
    );
    let full = plan(&entry, &waits.state, at(30), Previous::Live(live), FIRE_MAX);
    assert_eq!(
        skipped(&full),
        [(30, 30, Some(1), Reason::Overlapped { live })]
    );
    let ended = plan(&entry, &full.state, at(33), Previous::Ended, FIRE_MAX);
    assert_eq!(fired(&ended), [20]);
    assert_eq!((ended.state.waiting, ended.wake), (None, Some(at(40))));
}

#[test]
fn a_schedule_ends_after_its_runs() {
    let entry = entry(every(10).max_runs(2).misfire(Misfire::All));
    let plan = plan(&entry, &begun(&entry), at(60), Previous::Ended, FIRE_MAX);
    assert_eq!(fired(&plan), [10, 20]);
    assert_eq!((plan.state.next, plan.wake), (None, None));
    // More of them, later: it goes on from now.
    let more = super::tests::entry(every(10).max_runs(3).misfire(Misfire::All));
    let record = Record {
        entry,
        state: plan.state,
    };
    let restated = restate(&more, Some(&record), at(95));
    assert_eq!(restated.state.next, Some(at(100)));
}

#[test]
fn what_comes_due_while_paused_is_skipped() {
    let entry = entry(every(10));
    let mut state = begun(&entry);
    state.paused = Some(at(5));
    let paused = plan(&entry, &state, at(60), Previous::Ended, FIRE_MAX);
    assert_eq!((paused.fire.len(), paused.wake), (0, None));
    let firing = resume(&entry, &mut state, at(65)).unwrap();
    assert_eq!(
        (firing.first, firing.last, firing.count),
        (at(10), at(60), Some(6))
    );
    assert_eq!(firing.fate, Fate::Skipped(Reason::Paused));
    assert_eq!((state.paused, state.next), (None, Some(at(70))));
    assert_eq!(resume(&entry, &mut state, at(65)), None);
}

#[test]
fn a_single_occurrence_that_a_client_missed_by_a_little_is_a_misfire() {
    for (policy, fires) in [(Misfire::Once, 1), (Misfire::Skip, 0)] {
        let entry = entry(Schedule::at(at(0)).misfire(policy));
        let state = restate(&entry, None, at(30)).state;
        let plan = plan(&entry, &state, at(30), Previous::Ended, FIRE_MAX);
        assert_eq!(plan.fire.len(), fires, "{policy}");
        assert_eq!(plan.wake, None, "{policy}");
    }
    let of_code = Entry {
        origin: Origin::Code("shop".into()),
        ..entry(Schedule::at(at(0)))
    };
    assert_eq!(restate(&of_code, None, at(30)).state.next, None);
}

#[test]
fn the_same_times_go_on_and_others_begin_anew() {
    let before = entry(every(10).misfire(Misfire::All));
    let plan = plan(&before, &begun(&before), at(30), Previous::Ended, 2);
    let record = Record {
        entry: before,
        state: plan.state,
    };
    let same = restate(
        &entry(every(10).overlap(Overlap::Skip)),
        Some(&record),
        at(35),
    )
    .state;
    assert_eq!(
        (same.next, same.runs, same.changed),
        (Some(at(30)), 2, at(35))
    );
    let other = restate(&entry(every(20)), Some(&record), at(35)).state;
    assert_eq!(
        (other.next, other.runs, other.created),
        (Some(at(40)), 0, at(0))
    );
}

#[test]
fn one_that_waits_has_its_turn_whatever_the_policy_becomes() {
    let queues = entry(every(10).overlap(Overlap::Queue));
    let first = plan(&queues, &begun(&queues), at(10), Previous::Ended, FIRE_MAX);
    let live = Previous::Live(first.fire[0].id);
    let waits = plan(&queues, &first.state, at(20), live, FIRE_MAX);
    let before = Record {
        entry: queues,
        state: waits.state,
    };
    for policy in [Overlap::Skip, Overlap::Queue] {
        let other = entry(every(10).overlap(policy));
        let state = restate(&other, Some(&before), at(21)).state;
        let still = plan(&other, &state, at(25), live, FIRE_MAX);
        assert_eq!(
            (fired(&still), still.state.waiting),
            (vec![], Some(at(20))),
            "{policy}"
        );
        let ended = plan(&other, &state, at(25), Previous::Ended, FIRE_MAX);
        assert_eq!(
            (fired(&ended), ended.state.waiting),
            (vec![20], None),
            "{policy}"
        );
    }
    let allows = entry(every(10));
    let state = restate(&allows, Some(&before), at(21)).state;
    assert_eq!(fired(&plan(&allows, &state, at(22), live, FIRE_MAX)), [20]);
}

#[test]
fn one_that_waits_and_may_not_run_any_more_is_remembered_as_skipped() {
    let queues = entry(every(10).overlap(Overlap::Queue));
    let first = plan(&queues, &begun(&queues), at(10), Previous::Ended, FIRE_MAX);
    let live = Previous::Live(first.fire[0].id);
    let waits = plan(&queues, &first.state, at(20), live, FIRE_MAX);
    let before = Record {
        entry: queues,
        state: waits.state,
    };
    let fewer = entry(every(10).overlap(Overlap::Queue).max_runs(1));
    let state = restate(&fewer, Some(&before), at(21)).state;
    let done = plan(&fewer, &state, at(22), Previous::Ended, FIRE_MAX);
    assert_eq!(skipped(&done), [(20, 20, Some(1), Reason::Changed)]);
    assert_eq!((done.state.waiting, done.wake), (None, None));
    let other = entry(every(20).overlap(Overlap::Queue));
    let change = crate::sources::store(&other, Some((1, before)), at(21)).unwrap();
    let told = Firing::decode(&change.firings[0]).unwrap();
    assert_eq!(
        told,
        Firing::one(at(21), at(20), Fate::Skipped(Reason::Changed))
    );
}

#[test]
fn what_a_plan_leaves_is_due_at_once_and_behind_what_was_due_before() {
    let all = entry(every(1).misfire(Misfire::All));
    let plan = plan(&all, &begun(&all), at(1000), Previous::Ended, FIRE_MAX);
    assert_eq!(plan.wake, Some(at(1000)));
    assert_eq!(plan.state.next, Some(at(101)));
}
