//! Thousands of seeds, and the promises hold in each, whatever went wrong.
//!
//! `LOVAGE_SEED=7` runs that one alone and tells its history; `LOVAGE_SEEDS=100000` runs so many.

use std::fmt::Write;
use std::ops::Range;

use lovage_simulation::flaw::Flaw;
use lovage_simulation::run::run;

/// The seeds of the gate: what two cores do in about a minute, without optimisations.
const SEEDS: u64 = 2_000;
/// Each part is a test of its own, so that they run side by side.
const PARTS: u64 = 4;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, it must be a number")),
    )
}

fn seeds_of(part: u64) -> Range<u64> {
    match setting("LOVAGE_SEED") {
        Some(seed) if part == 0 => seed..seed + 1,
        Some(_) => 0..0,
        None => {
            let each = setting("LOVAGE_SEEDS").unwrap_or(SEEDS).div_ceil(PARTS);
            part * each..(part + 1) * each
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a seed that is run alone is to be looked at"
)]
fn the_promises_hold(part: u64) {
    let alone = setting("LOVAGE_SEED").is_some();
    for seed in seeds_of(part) {
        let report = run(seed, Flaw::None);
        if let Some(story) = report.story() {
            panic!("{story}");
        }
        if alone {
            let mut history = String::new();
            for event in &report.events {
                let _ = writeln!(history, "{event}");
            }
            println!("{history}");
        }
    }
}

#[test]
fn the_promises_hold_in_each_seed_of_the_first_part() {
    the_promises_hold(0);
}

#[test]
fn the_promises_hold_in_each_seed_of_the_second_part() {
    the_promises_hold(1);
}

#[test]
fn the_promises_hold_in_each_seed_of_the_third_part() {
    the_promises_hold(2);
}

#[test]
fn the_promises_hold_in_each_seed_of_the_fourth_part() {
    the_promises_hold(3);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| run(seed, Flaw::None).events);
        let differ = one.iter().zip(&other).find(|(one, other)| one != other);
        if let Some((one, other)) = differ {
            panic!("seed {seed} is\n{one}\nand the next time\n{other}");
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
