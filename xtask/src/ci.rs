//! The checks that a change must pass, in the order in which they fail fastest.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::install::{self, has_cargo};
use crate::run::{cargo, run, succeeds};

/// How a step ended that did not fail.
enum Done {
    Passed,
    /// It could not be checked here, for this reason.
    Unchecked(&'static str),
}

type Step = (&'static str, fn() -> Result<Done>);

const STEPS: &[Step] = &[
    ("fmt", || command(&["fmt", "--all", "--check"])),
    ("clippy", || {
        command(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("features", features),
    ("machete", || command(&["machete"])),
    ("deny", || {
        command(&["deny", "check", "licenses", "bans", "sources"])
    }),
    ("advisories", advisories),
    ("doc", doc),
    ("test", || {
        command(&["nextest", "run", "--workspace", "--profile", "ci"])
    }),
    ("doctest", || command(&["test", "--doc", "--workspace"])),
    ("fuzz", || {
        command(&[
            "check",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--no-default-features",
            "--target-dir",
            "target/fuzz",
        ])
    }),
    ("quickstart", || {
        command(&["run", "--package", "quickstart"])
    }),
];

/// Runs the steps named, or all; stops at the first that fails.
pub(crate) fn check(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| STEPS.iter().all(|(step, _)| step != *name))
    {
        let steps: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
        bail!("no step {unknown:?}; the steps are {}", steps.join(" "));
    }
    install::what_tests_need()?;
    install::cargo_tools()?;
    let mut summary = String::new();
    for (name, step) in STEPS
        .iter()
        .filter(|(name, _)| names.is_empty() || names.contains(name))
    {
        println!("\n== {name}");
        let started = Instant::now();
        let done = step();
        let seconds = started.elapsed().as_secs_f64();
        let done = done.with_context(|| format!("step {name} failed after {seconds:.1} s"))?;
        let line = match done {
            Done::Passed => format!("\n{name:12} {seconds:7.1} s  passed"),
            Done::Unchecked(reason) => {
                format!("\n{name:12} {seconds:7.1} s  NOT CHECKED: {reason}")
            }
        };
        println!("{}", line.trim_start());
        summary.push_str(&line);
    }
    println!("\n== all steps{summary}");
    Ok(())
}

/// Runs all tests, and with no `arguments` those in the docs as well.
pub(crate) fn test(arguments: &[&str]) -> Result<()> {
    let runner: &[&str] = if has_cargo("nextest") {
        &["nextest", "run"]
    } else {
        &["test", "--all-targets"]
    };
    run(cargo(
        runner.iter().chain(&["--workspace"]).chain(arguments),
    ))?;
    if arguments.is_empty() {
        command(&["test", "--doc", "--workspace"])?;
    }
    Ok(())
}

/// Runs a program of the integration tests, and builds those that it starts. As the tests do, without optimizations:
/// a run is about faults and not about speed, and most of it is waiting.
pub(crate) fn trial(program: &str, arguments: &[&str]) -> Result<()> {
    let package = ["--package", "lovage-integration-tests"];
    run(cargo([&["build"], &package[..], &["--bins"]].concat()))?;
    let start = [&["run"], &package[..], &["--bin", program, "--"], arguments];
    run(cargo(start.concat()))
}

fn command(words: &[&str]) -> Result<Done> {
    run(cargo(words))?;
    Ok(Done::Passed)
}

/// Builds the crate that users depend on with none of its features, and with each alone.
fn features() -> Result<Done> {
    let manifest =
        fs::read_to_string("crates/lovage/Cargo.toml").context("cannot read lovage's manifest")?;
    let alone = ["check", "--package", "lovage", "--no-default-features"];
    command(&alone)?;
    for feature in feature_names(&manifest).filter(|name| *name != "default") {
        println!("-- {feature} alone");
        command(&[&alone[..], &["--features", feature]].concat())?;
    }
    Ok(Done::Passed)
}

/// The keys of the table `[features]`, one a line as everywhere in this workspace.
fn feature_names(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[features]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim())
}

/// Checks for known vulnerabilities, where their list can be had: it is fetched from the network.
fn advisories() -> Result<Done> {
    if !succeeds(cargo(["deny", "fetch", "db"])) {
        return Ok(Done::Unchecked(
            "the advisory database cannot be fetched from here",
        ));
    }
    command(&["deny", "check", "advisories"])
}

fn doc() -> Result<Done> {
    let mut doc = cargo(["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc)?;
    Ok(Done::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_their_table_alone() {
        let manifest = "[package]\nname = \"x\"\n[features]\ndefault = [\"a\"]\na = []\n\n[dependencies]\nb = \"1\"\n";
        assert_eq!(
            feature_names(manifest).collect::<Vec<_>>(),
            ["default", "a"]
        );
    }
}
