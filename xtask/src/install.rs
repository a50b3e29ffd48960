//! Installing what a bare machine lacks, where that is allowed.

use std::env;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, program, run, succeeds};

/// The programs that the tests take as a server, in the order of `lovage-test-redis`.
const SERVERS: [&str; 2] = ["redis-server", "valkey-server"];
/// Names another one, likewise.
const SERVER_VARIABLE: &str = "LOVAGE_REDIS_SERVER";

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
apt-get install --yes --no-install-recommends \"$1\"";

/// The package managers, each with the command that installs a package.
const MANAGERS: [(&str, &[&str]); 4] = [
    ("apt-get", &["sh", "-c", APT, "install"]),
    ("dnf", &["dnf", "install", "--assumeyes"]),
    ("apk", &["apk", "add"]),
    ("brew", &["brew", "install"]),
];

/// A package that the tests need, by its names in the order of [`MANAGERS`].
struct Package {
    what: &'static str,
    names: [&'static str; 4],
    by_hand: &'static str,
    is_there: fn() -> bool,
}

const SERVER: Package = Package {
    what: "redis-server",
    names: ["redis-server", "valkey", "redis", "redis"],
    by_hand: "install redis-server (6.2 or newer) or valkey-server by hand and put it on PATH",
    is_there: || env::var_os(SERVER_VARIABLE).is_some() || SERVERS.iter().any(|name| on_path(name)),
};

/// By which tests give a process a wrong clock.
const FAKETIME: Package = Package {
    what: "libfaketime",
    names: ["libfaketime", "libfaketime", "libfaketime", "libfaketime"],
    by_hand: "install libfaketime by hand",
    is_there: || {
        ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
            .into_iter()
            .flat_map(|root| {
                let inner = std::fs::read_dir(root).into_iter().flatten().flatten();
                inner.map(|entry| entry.path()).chain([root.into()])
            })
            .flat_map(|folder| [folder.join("faketime"), folder])
            .any(|folder| folder.join("libfaketimeMT.so.1").is_file())
    },
};

/// Sees to it that what the tests need beside Rust is there: a redis-server on `PATH` and, on Linux, libfaketime.
/// Installs it where this user may.
///
/// No service is started: each test starts a server of its own.
///
/// # Errors
/// Where something is absent and cannot be installed; the message says what to do.
pub(crate) fn what_tests_need() -> Result<()> {
    SERVER.ensure()?;
    if cfg!(target_os = "linux") {
        FAKETIME.ensure()?;
    }
    Ok(())
}

impl Package {
    fn ensure(&self) -> Result<()> {
        if (self.is_there)() {
            return Ok(());
        }
        let Self { what, by_hand, .. } = self;
        let managers = MANAGERS.iter().zip(self.names);
        let Some(((manager, install), package)) = managers
            .into_iter()
            .find(|((manager, _), _)| on_path(manager))
        else {
            bail!("there is no {what}, and no package manager that this program knows: {by_hand}");
        };
        // Homebrew refuses to run as root; the others need it.
        let prefix: &[&str] = if *manager == "brew" || is_root() {
            &[]
        } else if succeeds(program("sudo", ["-n", "true"])) {
            &["sudo", "-n"]
        } else {
            bail!("there is no {what}, and this user may not run {manager}: {by_hand}");
        };
        println!("there is no {what}: installing it with {manager}");
        let mut words = prefix.iter().chain(*install).chain([&package]);
        let name = words.next().context("a command has a name")?;
        run(program(name, words))?;
        if !(self.is_there)() {
            bail!("{manager} has installed no {what} where it is looked for: {by_hand}");
        }
        Ok(())
    }
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
