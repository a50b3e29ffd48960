//! Installing what a bare machine lacks, where that is allowed.

use std::env;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, program, run, succeeds};

/// The programs that the tests take as a server, in the order of `lovage-test-redis`.
const SERVERS: [&str; 2] = ["redis-server", "valkey-server"];

/// What `cargo xtask ci` calls beside cargo itself, by the name of the subcommand.
const CARGO_TOOLS: [&str; 3] = ["nextest", "deny", "machete"];

/// Debian starts a service when its package is installed, unless `policy-rc.d` says no. One that is there already
/// is the machine's own business.
const APT: &str = "\
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod 755 $policy
fi
apt-get update
apt-get install --yes --no-install-recommends redis-server";

/// The package managers, each with the command that installs a server.
const MANAGERS: [(&str, &[&str]); 4] = [
    ("apt-get", &["sh", "-c", APT]),
    ("dnf", &["dnf", "install", "--assumeyes", "valkey"]),
    ("apk", &["apk", "add", "redis"]),
    ("brew", &["brew", "install", "redis"]),
];

/// Sees to it that a redis-server is on `PATH`; installs one where this user may.
///
/// No service is started: each test starts a server of its own.
///
/// # Errors
/// Where none is there and none can be installed; the message says what to do.
pub(crate) fn redis_server() -> Result<()> {
    if SERVERS.iter().any(|name| on_path(name)) {
        return Ok(());
    }
    let by_hand = "install redis-server (6.2 or newer) or valkey-server by hand and put it on PATH";
    let Some((manager, install)) = MANAGERS.iter().find(|(manager, _)| on_path(manager)) else {
        bail!("no redis-server on PATH, and no package manager that this program knows: {by_hand}");
    };
    // Homebrew refuses to run as root; the others need it.
    let prefix: &[&str] = if *manager == "brew" || is_root() {
        &[]
    } else if succeeds(program("sudo", ["-n", "true"])) {
        &["sudo", "-n"]
    } else {
        bail!("no redis-server on PATH, and this user may not run {manager}: {by_hand}");
    };
    println!("no redis-server on PATH: installing one with {manager}");
    let mut words = prefix.iter().chain(*install);
    let name = words.next().context("a command has a name")?;
    run(program(name, words))?;
    if !SERVERS.iter().any(|name| on_path(name)) {
        bail!("{manager} has installed no redis-server on PATH: {by_hand}");
    }
    Ok(())
}

/// Installs the cargo subcommands of the checks that are not there yet.
pub(crate) fn cargo_tools() -> Result<()> {
    for tool in CARGO_TOOLS {
        if !has_cargo(tool) {
            println!("no cargo-{tool}: installing it");
            run(cargo(["install", "--locked", &format!("cargo-{tool}")]))?;
        }
    }
    Ok(())
}

/// Whether cargo has the subcommand `tool`.
pub(crate) fn has_cargo(tool: &str) -> bool {
    succeeds(cargo([tool, "--version"]))
}

fn on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn is_root() -> bool {
    program("id", ["-u"])
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
