//! Running programs, and saying which one failed.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The cargo that runs this program, so that the toolchain stays the same.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    program(
        env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        arguments,
    )
}

/// A program with nothing to read: one that asks a question must fail, not wait.
pub(crate) fn program<S: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null());
    // What `cargo run` says of this package is not true of what is run from here: cargo-machete reads its arguments
    // in another way when it finds itself inside a package.
    for (variable, _) in env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs a command with its output in the terminal.
///
/// # Errors
/// Where it cannot be started or ends with another status than 0; the message has the whole command.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let text = format!("`{}`", words.join(" "));
    let status = command
        .status()
        .with_context(|| format!("cannot run {text}"))?;
    if !status.success() {
        bail!("{text} ended with {status}");
    }
    Ok(())
}

/// Whether a command can be run and ends with status 0; its output is not shown.
pub(crate) fn succeeds(mut command: Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
