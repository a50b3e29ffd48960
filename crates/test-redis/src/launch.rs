//! Finding the server's program, a port, and reaching a process by its id.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The programs that will do, in the order in which they are looked for.
pub const SERVER_NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Names the server's program, for one that is not on `PATH`: another version, Valkey.
pub const SERVER_VARIABLE: &str = "LOVAGE_REDIS_SERVER";

/// Finds a server's program: the one that [`SERVER_VARIABLE`] names, else one on `PATH`.
///
/// # Errors
/// Where none is there; the message says how to get one.
pub fn find_server() -> Result<PathBuf> {
    if let Some(named) = env::var_os(SERVER_VARIABLE) {
        let program = PathBuf::from(named);
        if !program.is_file() {
            bail!(
                "{SERVER_VARIABLE} names {}, which is no file",
                program.display()
            );
        }
        return Ok(program);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    SERVER_NAMES
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
        .context(
            "this test needs redis-server or valkey-server on PATH, and neither is there: run `cargo xtask test`, \
             which installs one, or `apt-get install redis-server`, `dnf install valkey`, `apk add redis`, \
             `brew install redis`",
        )
}

/// Sends `signal` ("KILL", "STOP", "CONT", "TERM" …) to one process.
///
/// # Errors
/// Where the process has ended or is not ours.
pub fn signal(pid: u32, signal: &str) -> Result<()> {
    // The shell's own `kill`: a bare Debian has no program of that name.
    let output = Command::new("sh")
        .args([
            "-c",
            "kill -s \"$1\" \"$2\"",
            "kill",
            signal,
            &pid.to_string(),
        ])
        .output()
        .context("cannot run sh")?;
    if !output.status.success() {
        bail!(
            "cannot send {signal} to process {pid}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// A port that was free a moment ago. Somebody else may take it before its user does.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// A port that was free, below the one on which the nodes of a cluster speak to each other.
pub(crate) fn free_port_with_bus() -> Result<u16> {
    const BUS_ABOVE: u16 = 10_000;
    for _ in 0..100 {
        let port = free_port()?;
        if let Some(bus) = port.checked_add(BUS_ABOVE)
            && TcpListener::bind((Ipv4Addr::LOCALHOST, bus)).is_ok()
        {
            return Ok(port);
        }
    }
    bail!("no free port whose bus, {BUS_ABOVE} above it, is free as well")
}
