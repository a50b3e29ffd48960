//! `cargo xtask`: the project's own commands.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks to its terminal"
)]

mod ci;
mod install;
mod run;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
cargo xtask test [ARG…]   runs all tests; installs redis-server where it may, hands ARGs to the test runner
cargo xtask ci [STEP…]    runs every check that a change must pass, or only the steps named
cargo xtask chaos [ARG…]  a long run under random faults, and a check that nothing was lost: --minutes N, --help for more
cargo xtask soak [ARG…]   a long run without faults, and what grew in it: --minutes N, --help for more
cargo xtask setup         installs what the checks need and this machine lacks";

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask stands in the workspace")?;
    env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", rest @ ..] => {
            install::what_tests_need()?;
            ci::test(rest)
        }
        ["ci", steps @ ..] => ci::check(steps),
        [program @ ("chaos" | "soak"), rest @ ..] => {
            install::what_tests_need()?;
            ci::trial(program, rest)
        }
        ["setup"] => {
            install::what_tests_need()?;
            install::cargo_tools()
        }
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [other, ..] => bail!("no command {other:?}\n{USAGE}"),
    }
}
